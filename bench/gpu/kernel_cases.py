"""Every kernel of `cuda/` at work through gpu_mlp's own primitives, and the fewest bytes each must move.

A primitive that also multiplies matrices is handed products that do nothing, so that its kernels are timed alone. In a
half type there are cases of the kernels that read or write factors; all others work on float32 there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gpu.cases import Case, held, moved_bytes
from gpu.ceilings import scattered
from gpu.idle_products import IdleProducts
from gpu.precisions import Types, in_precision, types_of
from gpu.update_cases import update_cases
from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.records import Dropout, LayerBelow, LayerScratch, PhiloxBuffers

__all__ = ["kernel_cases"]


def kernel_cases(
    ops: Ops, products: IdleProducts, rows: int, width: int, precision: str
) -> Iterator[Callable[[], Case]]:
    """What makes the cases of one size, one at a time: each takes its memory when it is made."""
    types = types_of(precision)
    yield from _factor_cases(in_precision(ops, precision), products, rows, width, types)
    if types.factors == types.results:
        if precision == "float32":
            yield partial(_to_factors_case, ops, rows, width)
        yield from update_cases(ops, rows, width, precision)
        yield from _clock_cases(ops, precision)


def _factor_cases(
    ops: Ops, products: IdleProducts, rows: int, width: int, types: Types
) -> Iterator[Callable[[], Case]]:
    """The kernels beside the products."""
    for activation in ("relu", "gelu"):
        for dropped in (False, True):
            yield partial(_forward_case, ops, rows, width, types.factors, activation, dropped)
            yield partial(_gradient_case, ops, rows, width, types, products, activation, dropped)
    yield partial(_bias_gradient_case, ops, rows, width, types)
    yield partial(_gather_case, ops, rows, width, types)
    yield partial(_gather_batch_case, ops, rows, width, types)


def _clock_cases(ops: Ops, dtype: str) -> Iterator[Callable[[], Case]]:
    """The kernels that count the steps of a captured graph."""
    for clock in (_set_clock_case, _load_clock_case, _end_step_case):
        yield partial(clock, ops, dtype)


def _layer_scratch(ops: Ops, rows: int, width: int, dtype: Any) -> LayerScratch:
    xp = ops.xp
    return LayerScratch(xp.empty((rows, width), dtype), xp.empty((0, width), bool), xp.ones(rows, dtype))


def _dropout(ops: Ops, like: Array) -> Dropout:
    """Dropout whose masks the kernels draw, without the memory in which the reference draws them."""
    xp = ops.xp
    none = xp.empty(0, xp.uint64)
    philox = PhiloxBuffers(0, none, [none] * 4, [none] * 2, xp.empty((0, 4), xp.uint32))
    return Dropout(0.3, (1, 2), 0, kept=xp.empty_like(like), multiplier=none, scratch=philox)


def _forward_case(ops: Ops, rows: int, width: int, dtype: Any, activation: str, dropped: bool) -> Case:
    """relu in the memory of f, as a step runs it; gelu keeps f."""
    xp = ops.xp
    f = scattered(xp, (rows, width), dtype)
    h_next = f if activation == "relu" else xp.empty_like(f)
    beta, h = xp.zeros(width, dtype), xp.empty((rows, 1), dtype)
    dropout = _dropout(ops, f) if dropped else None
    scratch = LayerScratch(f, f, h)
    omega = xp.empty((width, 1), dtype)

    def work() -> None:
        ops.layer_forward(h, omega, beta, activation, f, h_next, scratch, dropout)

    moved = [beta, f, h_next] + ([] if h_next is f else [f]) + ([dropout.kept] if dropout else [])
    kernel = "bias_activation_dropout" if dropped else "bias_activation"
    return Case(f"{kernel} {activation}", (kernel,), held(ops, work), moved_bytes(*moved))


def _backward(
    ops: Ops, dl_df: Array, results: Any, width: int, below: LayerBelow | None, scratch: LayerScratch
) -> Any:
    xp = ops.xp
    h, omega = xp.empty((len(dl_df), 1), dl_df.dtype), xp.empty((width, 1), dl_df.dtype)
    dl_domega, dl_dbeta = xp.empty((width, 1), results), xp.empty(width, results)
    return partial(ops.layer_backward, dl_df, h, omega, scratch, dl_domega, dl_dbeta, below)


def _gradient_case(
    ops: Ops, rows: int, width: int, types: Types, products: IdleProducts, activation: str, dropped: bool
) -> Case:
    """relu in the memory of dL/df, as a step runs it."""
    xp, dtype = ops.xp, types.factors
    x, dl_dh = scattered(xp, (rows, width), dtype), scattered(xp, (rows, width), dtype, 1)
    dl_df = dl_dh if activation == "relu" else xp.empty_like(x)
    dropout = _dropout(ops, x[:0]) if dropped else None
    scratch = _layer_scratch(ops, 1, 1, types.results)
    below = LayerBelow(x, x, activation, dl_dh, dl_df, scratch, dropout)
    above = _backward(ops, xp.empty((1, 1), dtype), types.results, 1, below, scratch)

    def work() -> None:
        products.adds_up = True
        above()
        products.adds_up = False

    written_too = [dl_dh] if dropped and dl_df is not dl_dh else []
    kernel = "activation_gradient_dropout" if dropped else "activation_gradient"
    moved = moved_bytes(x, dl_dh, dl_df, *written_too)
    return Case(f"{kernel} {activation}", (kernel,), held(ops, work), moved)


def _bias_gradient_case(ops: Ops, rows: int, width: int, types: Types) -> Case:
    dl_df = scattered(ops.xp, (rows, width), types.factors)
    scratch = _layer_scratch(ops, rows, width, types.results)
    work = _backward(ops, dl_df, types.results, width, None, scratch)
    return Case("column_sums", ("column_sums",), work, dl_df.nbytes + width * types.results.itemsize)


def _to_factors_case(ops: Ops, rows: int, width: int) -> Case:
    in_half = ops.in_precision("fp16")
    values = scattered(ops.xp, (rows, width), "float32")
    out = ops.xp.empty(values.shape, in_half.factor_dtype)
    return Case(
        "to_factors",
        ("to_factors",),
        partial(in_half.to_factors, values, None, out),
        moved_bytes(values, out),
    )


def _index(ops: Ops, rows: int) -> Array:
    """All rows in an order with nothing beside its neighbour."""
    index: Array = ops.xp.arange(rows, dtype=ops.xp.int64) * 7919 % rows
    return index


def _gather_case(ops: Ops, rows: int, width: int, types: Types) -> Case:
    """From a table of the parameters' type, rounded on the way."""
    table, index = scattered(ops.xp, (rows, width), types.results), _index(ops, rows)
    out = ops.xp.empty(table.shape, types.factors)
    moved = moved_bytes(table, index, out)
    return Case("gather_rows", ("gather_rows",), lambda: ops.gather_factors(table, index, out), moved)


def _gather_batch_case(ops: Ops, rows: int, width: int, types: Types) -> Case:
    assert ops.graphs is not None
    table, index = scattered(ops.xp, (rows, width), types.results), _index(ops, rows)
    out, position = ops.xp.empty(table.shape, types.factors), ops.xp.zeros((), ops.xp.int64)
    work = partial(ops.graphs.gather_batch, table, index, position, out, rows)
    return Case("gather_batch", ("gather_batch",), work, moved_bytes(table, index, position, out))


def _set_clock_case(ops: Ops, dtype: str) -> Case:
    assert ops.graphs is not None
    return Case("set_clock", ("set_clock",), partial(ops.graphs.set_clock, [0.0] * 8), 64)


def _load_clock_case(ops: Ops, dtype: str) -> Case:
    assert ops.graphs is not None
    table, position = ops.xp.zeros((16, 8)), ops.xp.zeros((), ops.xp.int64)
    return Case("load_clock", ("load_clock",), partial(ops.graphs.load_clock, table, position), 136)


def _end_step_case(ops: Ops, dtype: str) -> Case:
    """The position moves on with every launch: room for all of them."""
    assert ops.graphs is not None
    loss, losses = ops.xp.zeros((), dtype), ops.xp.zeros(1 << 20, dtype)
    work = partial(ops.graphs.end_step, loss, losses, ops.xp.zeros((), ops.xp.int64))
    return Case("end_step", ("end_step",), work, 2 * loss.itemsize + 16)
