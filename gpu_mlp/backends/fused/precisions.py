"""The backend in another precision: what products multiply is stored rounded, or rounded by the products themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.cuda_kernels import HALVES, KernelLibrary, c_type, numpy_type
from gpu_mlp.backends.fused.geometry import by_elements, packed
from gpu_mlp.backends.fused.layers import FusedLayers
from gpu_mlp.backends.fused.products import Products

__all__ = ["INSTANTIATIONS", "precision_chooser", "to_factors"]

INSTANTIATIONS = {"factors.cu": tuple(f"to_factors<{half}>" for half in HALVES)}


def to_factors(kernels: KernelLibrary, one: Array, values: Array, scale: Array | None, out: Array) -> None:
    """As `reference.precisions.to_factors`, from float32 to a half type; `one` is the scale () where none is given."""
    values, out = values.reshape(-1), out.reshape(-1)
    geometry = by_elements(values.size, packed(values.itemsize), kernels.multiprocessors)
    kernel = kernels.get("factors.cu", f"to_factors<{c_type(out)}>")
    kernel(*geometry, values, one if scale is None else scale, out)


def precision_chooser(
    ops: Callable[[], Ops], products: Products, layers: Callable[[Products], FusedLayers]
) -> Callable[[str], Ops]:
    """`Ops.in_precision` of the backend that `ops` gives, whose layers are made of products."""

    def in_precision(precision: str) -> Ops:
        in_it = layers(products.in_precision(precision))
        # Tensor cores read float32 as TF32: there is nothing to be stored rounded.
        factor_dtype = None if precision == "tf32" else numpy_type(precision).type
        return replace(
            ops(), layer_forward=in_it.forward, layer_backward=in_it.backward, factor_dtype=factor_dtype
        )

    return in_precision
