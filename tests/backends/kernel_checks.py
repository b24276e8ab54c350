"""Every kernel of `cuda/` against the NumPy reference in float64, on odd sizes, poisoned outputs and whole arrays.

One function for each file of kernels, so that a planted bug in it is looked for by what looks for real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.backends.records import Dropout, LayerBelow, LayerScratch, LossScratch
from gpu_mlp.backends.reference import allocate_philox
from tests.backends.guards import GuardedMemory

__all__ = [
    "CHECKS",
    "SHAPES",
    "check_layers",
    "check_losses",
    "check_norm",
    "check_optimizers",
    "check_penalty",
    "check_rows",
]

# Batch and width: one row, one column, around a warp and a block of four, primes, wider than a group of a loss takes.
SHAPES = ((1, 1), (1, 33), (129, 1), (31, 4), (32, 31), (33, 32), (7, 127), (127, 128), (2, 129), (300, 10))
WIDE_SHAPES = ((3, 1031), (1, 1032), (40, 1025))
SIZES = (1, 16, 31, 1009, 5120)


@dataclass(frozen=True)
class Tolerance:
    """What is allowed beside the reference: a share of the result, and of the largest result."""

    relative: float
    absolute: float

    def check(self, what: str, actual: Array, expected: Array) -> None:
        """Fail with the place and both values."""
        scale = float(np.abs(expected).max(initial=0.0))
        np.testing.assert_allclose(
            actual, expected, rtol=self.relative, atol=self.absolute * max(scale, 1e-30), err_msg=what
        )


TOLERANCES = {"float32": Tolerance(2e-5, 2e-6), "float64": Tolerance(1e-13, 1e-13)}


class Memory:
    """The arrays of a check, on the device in one type and on the host in float64."""

    def __init__(self, ops: Ops, dtype: str) -> None:
        self.ops, self.dtype = ops, dtype
        self.guarded = GuardedMemory(ops.xp)
        self.tolerance = TOLERANCES[dtype]

    def given(self, values: Array) -> tuple[Array, Array]:
        """The values on the device, and what they are there in float64."""
        kept = values if values.dtype.kind == "i" else values.astype(self.dtype)
        device = self.guarded(*kept.shape, dtype=kept.dtype)
        device[...] = self.ops.to_device(kept)
        return device, kept if kept.dtype.kind == "i" else kept.astype(np.float64)

    def out(self, *shape: int) -> Array:
        """Memory full of NaN."""
        return self.guarded(*shape, dtype=self.dtype)

    def check(self, what: str, actual: Array, expected: Array) -> None:
        """Fail where the result is another than expected."""
        self.tolerance.check(what, self.ops.to_host(actual).astype(np.float64), np.asarray(expected))


def _layer_scratch(memory: Memory, batch: int, width: int) -> LayerScratch:
    return LayerScratch(
        memory.out(batch, width),
        memory.guarded(batch, width, dtype=bool),
        memory.ops.xp.ones(batch, memory.dtype),
    )


def _dropout(memory: Memory, batch: int, width: int, *, first: int = 0) -> Dropout:
    return Dropout(
        rate=0.3,
        key=(0x12345678, 0x9ABCDEF0),
        layer=2,
        kept=memory.out(batch, width),
        multiplier=memory.out(batch, width),
        scratch=allocate_philox(np, batch * width, first=first),
        step=2**31 + 5,
    )


def check_layers(
    ops: Ops, dtype: str, activations: Sequence[str] = ("relu", "gelu"), shapes: Any = SHAPES
) -> None:
    """layer_forward and layer_backward, with and without dropout, traced and with shared memory."""
    for (batch, width), name, dropped in product(shapes, activations, (False, True)):
        shared = [False, True] if name == "relu" else [False]
        for in_place in shared:
            _check_layer(ops, dtype, batch, width, name, dropped=dropped, in_place=in_place)


def _check_layer(
    ops: Ops, dtype: str, batch: int, width: int, name: str, *, dropped: bool, in_place: bool
) -> None:
    what = f"{name}, {batch} x {width}, {dtype}, dropout {dropped}, in place {in_place}"
    rng = np.random.default_rng([batch, width])
    memory, exact = Memory(ops, dtype), Memory(numpy_ops(), "float64")
    values = [rng.normal(size=shape) for shape in ((batch, 5), (width, 5), (width,), (batch, 3), (3, width))]
    pairs = [memory.given(each) for each in values]
    outputs = []
    for side, at in ((memory, 0), (exact, 1)):
        h, omega, beta, dl_df_above, omega_above = (pair[at] for pair in pairs)
        f = side.out(batch, width)
        h_next = f if in_place else side.out(batch, width)
        dropout = _dropout(side, batch, width, first=4 * width) if dropped else None
        scratch = _layer_scratch(side, batch, width)
        side.ops.layer_forward(h, omega, beta, name, f, h_next, scratch, dropout)
        kept = h_next if dropout is None else dropout.kept
        dl_df = side.out(batch, width)
        dl_dh = dl_df if in_place else side.out(batch, width)
        below = LayerBelow(f, h_next, name, dl_dh, dl_df, scratch, dropout, traced=not in_place)
        dl_domega, dl_dbeta = side.out(3, width), side.out(3)
        above = _layer_scratch(side, batch, 3)
        side.ops.layer_backward(dl_df_above, kept, omega_above, above, dl_domega, dl_dbeta, below)
        # Once more for the gradients of the layer itself, whose width is the odd one.
        own = side.out(width, 5), side.out(width)
        side.ops.layer_backward(dl_df, h, omega, scratch, *own, None)
        outputs.append((f, h_next, kept, dl_domega, dl_dbeta, dl_dh, dl_df, *own))
        side.guarded.check()
    names = ("f", "h", "kept", "dl_domega above", "dl_dbeta above", "dl_dh", "dl_df", "dl_domega", "dl_dbeta")
    for each, actual, expected in zip(names, *outputs, strict=True):
        memory.check(f"{each}: {what}", actual, expected)


LOSSES: tuple[tuple[str, dict[str, float]], ...] = (
    ("squared_error", {}),
    ("absolute_error", {}),
    ("huber", {"delta": 0.7}),
    ("quantile", {"quantile": 0.2}),
    ("poisson", {}),
    ("binary_cross_entropy", {}),
    ("softmax_cross_entropy", {"label_smoothing": 0.0}),
    ("softmax_cross_entropy", {"label_smoothing": 0.1}),
)


def _targets(rng: np.random.Generator, name: str, batch: int, outputs: int) -> Iterator[Array]:
    if name == "softmax_cross_entropy":
        yield rng.integers(0, outputs, batch)
        yield rng.dirichlet(np.ones(outputs), batch)
    elif name == "poisson":
        yield rng.poisson(2.0, (batch, outputs)).astype(np.float64)
    else:
        yield rng.random((batch, outputs))


def check_losses(
    ops: Ops, dtype: str, losses: Sequence[tuple[str, dict[str, float]]] = LOSSES, shapes: Any = None
) -> None:
    """Every loss with weighted rows, a row of weight zero among them."""
    for (name, parameters), (batch, outputs) in product(losses, shapes or (*SHAPES, *WIDE_SHAPES)):
        rng = np.random.default_rng([batch, outputs])
        for y in _targets(rng, name, batch, outputs):
            share = rng.random(batch)
            share[batch // 2] = 0.0 if batch > 1 else 1.0
            _check_loss(
                ops, dtype, name, parameters, 3 * rng.normal(size=(batch, outputs)), y, share / share.sum()
            )


def _check_loss(
    ops: Ops, dtype: str, name: str, parameters: dict[str, float], f: Array, y: Array, share: Array
) -> None:
    memory, exact = Memory(ops, dtype), Memory(numpy_ops(), "float64")
    pairs = [memory.given(each) for each in (f, y, share)]
    outputs = []
    for side, at in ((memory, 0), (exact, 1)):
        given = [pair[at] for pair in pairs]
        loss, dl_df = side.out(), side.out(*f.shape)
        getattr(side.ops, name)(*given, loss, dl_df, _loss_scratch(side, *f.shape), **parameters)
        outputs.append((loss, dl_df))
        side.guarded.check()
    for each, actual, expected in zip(("loss", "dl_df"), *outputs, strict=True):
        memory.check(f"{each}: {name} {parameters}, {f.shape}, {dtype}", actual, expected)


def _loss_scratch(memory: Memory, batch: int, outputs: int) -> LossScratch:
    xp = memory.ops.xp
    return LossScratch(
        values=memory.out(batch, outputs),
        targets=memory.out(batch, outputs),
        row=memory.out(batch, 1),
        row_sum=memory.out(batch),
        ones=xp.ones(outputs, memory.dtype),
        classes=xp.arange(outputs, dtype=xp.int64)[None, :],
    )


DECAYS = (
    {"weight_decay": 0.0, "decoupled": 0.0},
    {"weight_decay": 0.3, "decoupled": 0.0},
    {"weight_decay": 0.3, "decoupled": 1.0},
)
SGD = {"momentum": 0.0, "dampening": 0.0, "nesterov": 0.0}
OPTIMIZERS: tuple[tuple[str, int, dict[str, float]], ...] = (
    ("sgd", 0, SGD),
    ("sgd", 1, SGD | {"momentum": 0.8, "dampening": 0.4}),
    ("sgd", 1, SGD | {"momentum": 0.8, "nesterov": 1.0}),
    ("rmsprop", 1, {"alpha": 0.7, "epsilon": 1e-3, "momentum": 0.0}),
    ("rmsprop", 2, {"alpha": 0.7, "epsilon": 1e-3, "momentum": 0.6}),
    ("adagrad", 1, {"learning_rate_decay": 0.2, "epsilon": 1e-3}),
    ("adam", 2, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "epsilon_hat": 0.0}),
    ("adam", 2, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "epsilon_hat": 1.0}),
    ("lion", 1, {"beta1": 0.75, "beta2": 0.5}),
)


def check_optimizers(
    ops: Ops,
    dtype: str,
    optimizers: Sequence[tuple[str, int, dict[str, float]]] = OPTIMIZERS,
    sizes: Sequence[int] = SIZES,
) -> None:
    """Three steps of every optimizer with every kind of weight decay."""
    for (name, states, constants), decay, size in product(optimizers, DECAYS, sizes):
        memory, exact = Memory(ops, dtype), Memory(numpy_ops(), "float64")
        rng = np.random.default_rng(size)
        # Halves, and constants of Lion without rounding: the sign that it takes of a sum that is 0 is 0 in every type.
        parameters = memory.given(rng.integers(-8, 9, size) / 2)
        gradients = [memory.given(rng.integers(-8, 9, size) / 2) for _ in range(3)]
        outputs = []
        for side, at in ((memory, 0), (exact, 1)):
            state = [side.out(size) for _ in range(states)]
            for array in state:
                array[...] = 0.0
            scratch = side.out(size)
            for step, gradient in enumerate(gradients, 1):
                rate = 0.01 * step
                given = gradient[at].copy()
                getattr(side.ops, name)(
                    parameters[at], given, state, scratch, learning_rate=rate, step=step, **constants, **decay
                )
            outputs.append((parameters[at], *state))
            side.guarded.check()
        for number, (actual, expected) in enumerate(zip(*outputs, strict=True)):
            memory.check(f"array {number} of {name} {constants} {decay}, {size}, {dtype}", actual, expected)


def check_penalty(ops: Ops, dtype: str) -> None:
    """An L2 penalty of whole numbers, which is exact, added to a loss and to gradients."""
    for size in SIZES:
        memory, exact = Memory(ops, dtype), Memory(numpy_ops(), "float64")
        rng = np.random.default_rng(size)
        weights, gradients = (memory.given(rng.integers(-4, 5, size) + 0.0) for _ in range(2))
        outputs = []
        for side, at in ((memory, 0), (exact, 1)):
            total, loss = side.out(), side.out()
            total[...], loss[...] = 8.0, 3.0
            side.ops.l2_penalty(0.5, weights[at], gradients[at], total, loss, side.out(size + 16))
            outputs.append((loss, gradients[at], weights[at]))
            side.guarded.check()
        for each, actual, expected in zip(("loss", "gradients", "weights"), *outputs, strict=True):
            memory.check(f"{each}: {size}, {dtype}", actual, expected)


def check_norm(ops: Ops, dtype: str) -> None:
    """Clipping that clips and clipping that does not, with whole numbers whose norm is exact."""
    for size, largest in product(SIZES, (0.5, 1e6)):
        memory, exact = Memory(ops, dtype), Memory(numpy_ops(), "float64")
        gradients = memory.given(np.random.default_rng(size).integers(-4, 5, size) + 0.0)
        outputs = []
        for side, at in ((memory, 0), (exact, 1)):
            norm, coefficient = side.out(), side.out()
            side.ops.clip_global_norm(largest, gradients[at], norm, coefficient, side.out(size))
            outputs.append((norm, coefficient, gradients[at]))
            side.guarded.check()
        for each, actual, expected in zip(("norm", "coefficient", "gradients"), *outputs, strict=True):
            memory.check(f"{each}: {size} below {largest}, {dtype}", actual, expected)


def check_rows(ops: Ops, dtype: str) -> None:
    """Rows by index in any order, one of them twice, and their shares."""
    for batch, width in SHAPES:
        memory = Memory(ops, dtype)
        rng = np.random.default_rng([batch, width])
        index = rng.integers(0, 50, batch)
        index[-1] = index[0]
        for table in (rng.normal(size=(50, width)), rng.normal(size=50), rng.integers(0, 9, 50)):
            rows, kept = memory.given(table)
            out = memory.guarded(batch, *table.shape[1:], dtype=rows.dtype)
            ops.gather_rows(rows, ops.to_device(index), out)
            np.testing.assert_array_equal(ops.to_host(out), kept[index])
        _check_shares(memory, rng.integers(0, 4, batch) + 0.0)
        _check_shares(memory, np.zeros(batch))
        memory.guarded.check()


def _check_shares(memory: Memory, weights: Array) -> None:
    given, kept = memory.given(weights)
    total, share = memory.out(), memory.out(len(weights))
    memory.ops.row_shares(given, total, share)
    memory.check("share", share, kept / max(kept.sum(), 1e-30))
    memory.check("total", total, np.array(kept.sum() or np.inf))


CHECKS: dict[str, Callable[[Ops, str], None]] = {
    "activation.cu": check_layers,
    "bias_gradient.cu": check_layers,
    "loss.cu": check_losses,
    "optimizer.cu": check_optimizers,
    "norm.cu": check_norm,
    "rows.cu": check_rows,
}
