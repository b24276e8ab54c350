"""Every loss in two launches: the rows with their gradients, then the mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gpu_mlp.backends.base import LOSS_NAMES, Array, LossPrimitive
from gpu_mlp.backends.cuda_kernels import FLOATS, KernelLibrary, c_type
from gpu_mlp.backends.fused.geometry import THREADS, by_groups, one_block, power_of_two
from gpu_mlp.backends.records import LossScratch

__all__ = ["INSTANTIATIONS", "fused_loss"]

SUMMED = tuple(name for name in LOSS_NAMES if name != "softmax_cross_entropy")
# A row of more outputs has a block to itself.
WIDEST_FOR_A_GROUP = 1024

INSTANTIATIONS = {
    "loss.cu": (
        *(
            f"summed_loss<{float_type}, loss::{name}, {wide}>"
            for float_type in FLOATS
            for name in SUMMED
            for wide in ("false", "true")
        ),
        *(
            f"{kernel}<{float_type}, {wide}>"
            for kernel in ("softmax_of_labels", "softmax_of_probabilities")
            for float_type in FLOATS
            for wide in ("false", "true")
        ),
        *(f"mean_loss<{float_type}>" for float_type in FLOATS),
    )
}


def fused_loss(kernels: KernelLibrary, name: str) -> LossPrimitive:
    """A loss of `reference.losses` by its name."""
    if name == "softmax_cross_entropy":
        return partial(_loss, kernels, _softmax_name)
    return partial(_loss, kernels, partial(_summed_name, name))


def _summed_name(loss: str, float_type: str, wide: str, y: Array) -> str:
    return f"summed_loss<{float_type}, loss::{loss}, {wide}>"


def _softmax_name(float_type: str, wide: str, y: Array) -> str:
    what = "labels" if y.ndim == 1 else "probabilities"
    return f"softmax_of_{what}<{float_type}, {wide}>"


def _loss(
    kernels: KernelLibrary,
    name: Callable[[str, str, Array], str],
    f: Array,
    y: Array,
    share: Array,
    loss: Array,
    dl_df: Array,
    scratch: LossScratch,
    **parameters: float,
) -> None:
    """The one constant of a loss, if it has one, is a Huber delta, a quantile or a label smoothing."""
    rows, outputs = f.shape
    (constant,) = parameters.values() or (0.0,)
    wide = outputs > WIDEST_FOR_A_GROUP
    group = THREADS if wide else power_of_two(outputs, 32)
    kernel = kernels.get("loss.cu", name(c_type(f), "true" if wide else "false", y))
    geometry = by_groups(rows, group, kernels.multiprocessors)
    kernel(*geometry, f, y, share, scratch.row_sum, dl_df, constant, group)
    kernels.get("loss.cu", f"mean_loss<{c_type(f)}>")(*one_block(rows), scratch.row_sum, share, loss)
