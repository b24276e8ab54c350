"""The kernels beside the layers: losses, the norm and the penalty of gradients, and the updates of optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from gpu.cases import Case, held, moved_bytes
from gpu.ceilings import scattered
from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.records import LossScale, LossScratch

__all__ = ["update_cases"]


def update_cases(ops: Ops, rows: int, width: int, dtype: str) -> Iterator[Callable[[], Case]]:
    """They work on float32 and float64 alone."""
    for loss in ("squared_error", "binary_cross_entropy", "labels", "probabilities"):
        yield partial(_loss_case, ops, rows, width, dtype, loss)
    for optimizer in _OPTIMIZERS:
        yield partial(_optimizer_case, ops, rows, width, dtype, optimizer)
    yield partial(_clip_case, ops, rows, width, dtype)
    yield partial(_penalty_case, ops, rows, width, dtype)
    if dtype == "float32":
        yield partial(_unscale_case, ops, rows, width)
    yield partial(_shares_case, ops, rows, width, dtype)


def _loss_case(ops: Ops, rows: int, width: int, dtype: str, what: str) -> Case:
    xp = ops.xp
    f, dl_df = scattered(xp, (rows, width), dtype), xp.empty((rows, width), dtype)
    share, loss = xp.full(rows, 1 / rows, dtype), xp.empty((), dtype)
    softmax = what in ("labels", "probabilities")
    y = (
        xp.arange(rows, dtype=xp.int64) % width
        if what == "labels"
        else xp.full((rows, width), 1 / width, dtype)
    )
    none = xp.empty((0, width), dtype)
    row = xp.empty(rows, dtype)
    scratch = LossScratch(none, none, none, row, none, none)
    primitive = ops.softmax_cross_entropy if softmax else getattr(ops, what)
    parameters = {"label_smoothing": 0.0} if softmax else {}
    kernel = f"softmax_of_{what}" if softmax else "summed_loss"
    return Case(
        kernel if softmax else f"{kernel} {what}",
        (kernel, "mean_loss"),
        lambda: primitive(f, y, share, loss, dl_df, scratch, **parameters),
        moved_bytes(f, y, share, row, dl_df) + moved_bytes(row, share, loss),
    )


# Kernel: primitive, number of state arrays, constants.
_SGD = {"momentum": 0.0, "dampening": 0.0, "nesterov": 0.0}
_RMSPROP = {"alpha": 0.99, "epsilon": 1e-8, "momentum": 0.0}
_OPTIMIZERS: dict[str, tuple[str, int, dict[str, float]]] = {
    "sgd": ("sgd", 0, _SGD),
    "sgd_momentum": ("sgd", 1, _SGD | {"momentum": 0.9}),
    "rmsprop": ("rmsprop", 1, _RMSPROP),
    "rmsprop_momentum": ("rmsprop", 2, _RMSPROP | {"momentum": 0.9}),
    "adagrad": ("adagrad", 1, {"learning_rate_decay": 0.0, "epsilon": 1e-10}),
    "adam": ("adam", 2, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epsilon_hat": 0.0}),
    "lion": ("lion", 1, {"beta1": 0.9, "beta2": 0.99}),
}


def _optimizer_case(ops: Ops, rows: int, width: int, dtype: str, kernel: str) -> Case:
    primitive, states, constants = _OPTIMIZERS[kernel]
    xp, size = ops.xp, rows * width
    p, g = scattered(xp, (size,), dtype), scattered(xp, (size,), dtype, 1)
    state = [xp.zeros(size, dtype) for _ in range(states)]
    what = dict(learning_rate=1e-3, step=1, weight_decay=0.0, decoupled=0.0, **constants)
    update = partial(getattr(ops, primitive), p, g, state, xp.empty(0, dtype), **what)
    update()  # sets the clock
    return Case(kernel, (kernel,), held(ops, update), moved_bytes(p, p, g, *state, *state) + 64)


def _clip_case(ops: Ops, rows: int, width: int, dtype: str) -> Case:
    xp = ops.xp
    g = scattered(xp, (rows * width,), dtype)
    norm, coefficient, scratch = (xp.empty(shape, dtype) for shape in ((), (), g.size))
    return Case(
        "clip_global_norm",
        ("squares", "clip_coefficient", "scale"),
        lambda: ops.clip_global_norm(1e30, g, norm, coefficient, scratch),
        moved_bytes(g, g, g, norm, coefficient, coefficient),
    )


def _penalty_case(ops: Ops, rows: int, width: int, dtype: str) -> Case:
    xp = ops.xp
    w, g = scattered(xp, (rows * width,), dtype), scattered(xp, (rows * width,), dtype, 1)
    total, loss, scratch = xp.ones((), dtype), xp.zeros((), dtype), xp.empty(w.size, dtype)
    work = partial(ops.l2_penalty, 1e-30, w, g, total, loss, scratch)
    return Case("l2_penalty", ("penalize", "add_penalty"), work, moved_bytes(w, g, g))


def _unscale_case(ops: Ops, rows: int, width: int) -> Case:
    xp = ops.xp
    g, scratch = scattered(xp, (rows * width,), "float32"), xp.empty(rows * width, "float32")
    state = LossScale(xp.ones((), "float32"), *(xp.zeros((), xp.int32) for _ in range(3)))
    work = partial(ops.unscale_gradients, g, state, scratch)
    return Case("unscale_gradients", ("unscale", "adjust_scale"), work, moved_bytes(g, g))


def _shares_case(ops: Ops, rows: int, width: int, dtype: str) -> Case:
    weights, total, share = (ops.xp.ones(shape, dtype) for shape in (rows, (), rows))
    moved = moved_bytes(weights, total, share)
    return Case("row_shares", ("row_shares",), lambda: ops.row_shares(weights, total, share), moved)
