"""Rounded factors of any backend beside NumPy's rounding, on odd sizes and poisoned outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.records import Dropout, LayerBelow, LayerScratch, LossScale
from gpu_mlp.backends.reference import allocate_philox
from gpu_mlp.backends.reference.precisions import GROWTH_STEPS, LARGEST_SCALE, SMALLEST_SCALE
from tests.backends.guards import GuardedMemory

__all__ = [
    "check_ends",
    "check_growth",
    "check_layers",
    "check_loss_scale",
    "check_rows",
    "check_stored_rounded",
    "check_to_factors",
    "loss_scale",
]

# Around packs of 4 and 8, one row, one column, primes, and enough rows for sums in parts.
SHAPES = ((1, 1), (3, 8), (31, 16), (33, 12), (2, 127), (129, 1), (300, 8))
SIZES = (1, 3, 4, 31, 1024, 5000)
# NaN with all bits set, of which rounding up would make a zero.
FULL_NAN = np.array(0x7FFFFFFF, np.uint32).view(np.float32)


class Side:
    """One backend in one precision, with its memory."""

    def __init__(self, ops: Ops, precision: str) -> None:
        self.ops = ops.in_precision(precision)
        self.guarded = GuardedMemory(ops.xp)
        self.factor_dtype = self.ops.factor_dtype or np.float32

    def factors(self, values: Array) -> Array:
        """The values rounded, on the device."""
        out = self.guarded(*values.shape, dtype=self.factor_dtype)
        values = self.ops.to_device(values.astype(np.float32))
        if self.ops.factor_dtype is None:
            out[...] = values
        else:
            self.ops.to_factors(values, None, out)
        return out

    def out(self, *shape: int, dtype: Any = None) -> Array:
        """Memory full of NaN, for factors unless a type is given."""
        return self.guarded(*shape, dtype=dtype or self.factor_dtype)

    def host(self, array: Array) -> Array:
        """In float64."""
        return self.ops.to_host(array).astype(np.float64)


def _layer(side: Side, values: Sequence[Array], name: str, *, dropped: bool, in_place: bool) -> list[Array]:
    """A layer forward, the one above it backward, its own parameters' gradients, and dL/dh where it is traced."""
    xp = side.ops.xp
    h, omega, beta, dl_df_above, omega_above = (side.factors(each) for each in values)
    batch, width = len(h), len(omega)
    f = side.out(batch, width)
    h_next = f if in_place else side.out(batch, width)

    def scratch(columns: int) -> LayerScratch:
        sums = side.out(batch, columns, dtype=np.float32)
        return LayerScratch(sums, side.guarded(batch, columns, dtype=bool), xp.ones(batch, np.float32))

    dropout = None
    if dropped:
        kept, multiplier = side.out(batch, width), side.out(batch, width)
        philox = allocate_philox(xp, batch * width, first=4 * width)
        dropout = Dropout(0.25, (7, 2**31), 1, kept=kept, multiplier=multiplier, scratch=philox, step=3)
    side.ops.layer_forward(h, omega, beta, name, f, h_next, scratch(width), dropout)
    kept = h_next if dropout is None else dropout.kept
    dl_df = side.out(batch, width)
    dl_dh = dl_df if in_place else side.out(batch, width)
    below = LayerBelow(f, h_next, name, dl_dh, dl_df, scratch(width), dropout, traced=not in_place)
    above = side.out(3, width, dtype=np.float32), side.out(3, dtype=np.float32)
    own = side.out(width, 5, dtype=np.float32), side.out(width, dtype=np.float32)
    side.ops.layer_backward(dl_df_above, kept, omega_above, scratch(3), *above, below)
    side.ops.layer_backward(dl_df, h, omega, scratch(width), *own, None)
    side.guarded.check()
    return [side.host(each) for each in (f, h_next, kept, dl_df, *above, *own, dl_dh)]


def check_layers(ops: Ops, precision: str, activations: Sequence[str], shapes: Any = SHAPES) -> None:
    """Whole numbers to the bit for relu and identity; others to a unit of the precision."""
    unit = 2.0 ** -{"tf32": 10, "bf16": 7, "fp16": 10}[precision]
    names = ("f", "h", "kept", "dl_df", "dl_domega above", "dl_dbeta above", "dl_domega", "dl_dbeta")
    for (batch, width), name, dropped in product(shapes, activations, (False, True)):
        rng = np.random.default_rng([batch, width])
        exact = name in ("identity", "relu")
        values = [
            rng.integers(-3, 4, shape) + 0.0 if exact else rng.normal(size=shape)
            for shape in ((batch, 5), (width, 5), (width,), (batch, 3), (3, width))
        ]
        if exact and not dropped:
            values[3] += 100.0  # whole numbers of 8 bits, whose sums are none
        if exact and dropped:
            values[3] *= 3.0  # so that nothing is rounded by the 4/3 of the units that are kept
            values[0], values[2] = 3.0 * values[0], 3.0 * values[2]
        for in_place in [False, True] if exact else [False]:
            what = {"dropped": dropped, "in_place": in_place}
            actual, expected = (
                _layer(Side(each, precision), values, name, **what)[:-1] for each in (ops, numpy_ops())
            )
            for each, one, other in zip(names, actual, expected, strict=True):
                message = f"{each}: {name}, {batch} x {width}, {precision}, {what}"
                if exact:
                    np.testing.assert_array_equal(one, other, err_msg=message)
                else:
                    largest = max(1.0, float(abs(other).max()))
                    if each not in names[:4]:  # a sum over the batch, of values rounded one by one
                        largest *= max(1.0, batch**0.5 / 2)
                    np.testing.assert_allclose(
                        one, other, rtol=2 * unit, atol=2 * unit * largest, err_msg=message
                    )


def check_stored_rounded(ops: Ops, precision: str, rounded: Callable[[Array], None]) -> None:
    """What a product will read is what rounding makes of it, everything in memory of its own."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape) for shape in ((33, 5), (12, 5), (12,), (33, 3), (3, 12))]
    for dropped in (False, True):
        f, h, kept, dl_df, *_, dl_dh = _layer(
            Side(ops, precision), values, "tanh", dropped=dropped, in_place=False
        )
        stored = {"f": f, "h": h, "kept": kept, "dl_df": dl_df}
        if not dropped:  # dropout's multiplier comes after the rounding of dL/dh, and before that of dL/df
            stored["dl_dh"] = dl_dh
        for name, array in stored.items():
            once = array.astype(np.float32)
            rounded(once)
            np.testing.assert_array_equal(once, array, err_msg=name)


def check_rows(ops: Ops, precision: str, *, reference: Ops | None = None) -> None:
    """The rows of x by index, rounded on the way."""
    for batch, width in SHAPES:
        rng = np.random.default_rng([batch, width])
        table, index = rng.normal(size=(50, width)).astype(np.float32), rng.integers(0, 50, batch)
        table[::7, 0] = FULL_NAN
        results = []
        for side in (Side(ops, precision), Side(reference or numpy_ops(), precision)):
            out = side.out(batch, width)
            rows = side.ops.to_device(table)
            gather = side.ops.gather_rows if side.ops is reference else side.ops.gather_factors
            gather(rows, side.ops.to_device(index), out)
            side.guarded.check()
            results.append(side.host(out))
        if reference is not None:
            results[1] = table[index].astype(np.float64)
        if precision == "tf32" and ops.in_precision(precision).factor_dtype is None:
            results[1] = table[index].astype(np.float64)  # which the products round
        np.testing.assert_array_equal(*results)


def check_to_factors(ops: Ops, precision: str, *, reference: Ops | None = None) -> None:
    """Any shape, with a scale and without."""
    if ops.in_precision(precision).factor_dtype is None:
        return
    for size, scale in product(SIZES, (None, 1024.0)):
        values = np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32)
        values[:, 1:] = 1.0 + np.outer(np.arange(size), (2.0**-8, 2.0**-11))  # halfway between two neighbours
        values[-1, 0] = FULL_NAN
        results = []
        for side in (Side(ops, precision), Side(numpy_ops(), precision)):
            out = side.out(size, 3)
            by = None if scale is None else side.ops.xp.full((), scale, np.float32)
            side.ops.to_factors(side.ops.to_device(values), by, out)
            side.guarded.check()
            results.append(side.host(out))
        if reference is not None:
            results[1] = values.astype(np.float64) * (scale or 1.0)
        np.testing.assert_array_equal(*results)


def loss_scale(ops: Ops, scale: float, steps: int = 0) -> LossScale:
    """A scale after so many good steps; what is written and not read holds 9."""
    counts = (ops.xp.full((), count, np.int32) for count in (steps, 9, 0))
    return LossScale(ops.xp.full((), scale, np.float32), *counts)


def check_growth(ops: Ops) -> None:
    """The scale is doubled with the last of many good steps, and the count begins anew."""
    xp = ops.xp
    state = loss_scale(ops, 2.0, GROWTH_STEPS - 2)
    g, scratch = xp.ones(3, np.float32), xp.empty(3, np.float32)
    seen = []
    for _ in range(3):
        ops.unscale_gradients(g, state, scratch)
        seen.append((float(state.scale), int(state.steps), int(state.skip)))
    assert seen == [(2.0, GROWTH_STEPS - 1, 0), (4.0, 0, 0), (4.0, 1, 0)]


def check_ends(ops: Ops) -> None:
    """The scale neither falls to 0 nor grows to infinity, whatever the gradients are, and bad steps are counted."""
    scratch = ops.xp.empty(3, np.float32)
    for first, end, value, steps in (
        (4 * SMALLEST_SCALE, SMALLEST_SCALE, math.nan, 0),
        (LARGEST_SCALE / 4, LARGEST_SCALE, 0.0, GROWTH_STEPS - 1),
    ):
        state, seen = loss_scale(ops, first), []
        for _ in range(4):
            state.steps[...] = steps
            ops.unscale_gradients(ops.xp.full(3, value, np.float32), state, scratch)
            seen.append(float(state.scale))
        assert seen == [(first * end) ** 0.5, end, end, end]
        assert int(state.skipped) == (4 if math.isnan(value) else 0)


def check_loss_scale(ops: Ops, dtype: str) -> None:
    """Gradients over the scale and what becomes of it, with whole numbers and with one that is not finite."""
    for size, bad in product(SIZES, (None, np.inf, np.nan)):
        gradients = 32.0 * np.random.default_rng(size).integers(-4, 5, size)
        if bad is not None:
            gradients[-1] = bad
        results = []
        for each in (ops, numpy_ops()):
            guarded = GuardedMemory(each.xp)
            g = guarded(size, dtype=dtype)
            g[...] = each.to_device(gradients.astype(dtype))
            state = loss_scale(each, 16.0, 5)
            with np.errstate(invalid="ignore"):
                each.unscale_gradients(g, state, guarded(size, dtype=dtype))
            guarded.check()
            arrays = (g, state.scale, state.steps, state.skip, state.skipped)
            results.append([each.to_host(array) for array in arrays])
        for actual, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(actual, expected, err_msg=f"{size}, {bad}")
