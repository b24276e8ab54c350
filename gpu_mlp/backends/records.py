"""What primitives are handed beside plain arrays: the memory they may overwrite, and what belongs together.

Shapes use B for the batch, D for the width of a layer, O and I for the width of its output and input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Array", "Dropout", "LayerBelow", "LayerScratch", "LossScale", "LossScratch", "PhiloxBuffers"]

# An array of the backend's module; CuPy's arrays follow the same interface.
Array: TypeAlias = NDArray[Any]


@dataclass(slots=True)
class LayerScratch:
    """Memory that a layer's primitives may overwrite, beside one constant."""

    values: Array  # (B, D), the compute type
    mask: Array  # (B, D), bool
    ones: Array  # (B,), constant 1: a sum over the batch is a product with it
    # (B, bytes), uint8: a bit for each f > 0, which a product that ends in ReLU may leave for the backward pass; where
    # None, it leaves nothing. `signs_left` says whether the last forward pass did.
    signs: Array | None = None
    signs_left: bool = False


@dataclass(slots=True)
class LossScratch:
    """Memory that a loss may overwrite, beside two constants, for B rows and O outputs."""

    values: Array  # (B, O), the compute type
    targets: Array  # (B, O), the compute type
    row: Array  # (B, 1), the compute type
    row_sum: Array  # (B,), the compute type
    ones: Array  # (O,), constant 1
    classes: Array  # (1, O), constant 0..O-1, int64


@dataclass(slots=True)
class PhiloxBuffers:
    """Memory for n random 32-bit numbers drawn four at a time."""

    first: int  # the number of the stream that is drawn first, a multiple of 4
    blocks: Array  # (ceil(n/4),), uint64, constant 0, 1, 2, ... or from a later one on
    counters: Sequence[Array]  # four of (ceil(n/4),), uint64
    products: Sequence[Array]  # two of (ceil(n/4),), uint64
    bits: Array  # (ceil(n/4), 4), uint32


@dataclass(slots=True)
class Dropout:
    """Inverted dropout of one layer: which numbers decide, and where the result goes.

    The mask is a function of (key, step, layer, position) alone, so that every backend draws the same one
    and a backward pass can draw it again. `drawn_step` lets a backend that keeps the multiplier see that it
    still belongs to this step.
    """

    rate: float
    key: tuple[int, int]
    layer: int
    kept: Array  # (B, D), h with dropped units set to 0 and the others scaled by 1 / (1 - rate)
    multiplier: Array  # (B, D), 0 or 1 / (1 - rate)
    scratch: PhiloxBuffers
    step: int = 0
    drawn_step: int = -1


@dataclass(slots=True)
class LayerBelow:
    """What the backward pass of layer k needs to go on to layer k - 1."""

    f: Array  # f_{k-1}, (B, I); may be the memory of h for `GRADIENT_FROM_H`
    h: Array  # h_k = a[f_{k-1}], before dropout, (B, I)
    activation: str
    dl_dh: Array  # dL/dh_k, (B, I): needed only when traced; may be the memory of dl_df for `GRADIENT_FROM_H`
    dl_df: Array  # dL/df_{k-1}, (B, I)
    scratch: LayerScratch
    dropout: Dropout | None = None
    traced: bool = False


@dataclass(slots=True)
class LossScale:
    """What the loss is scaled with so that its gradients do not vanish in half precision; all on the device."""

    scale: Array  # (), float32, a power of 2
    steps: Array  # (), int32, how many steps went well since it changed
    skip: Array  # (), int32, 1 where a gradient was not finite
    skipped: Array  # (), int32, how many steps were skipped since somebody set it to 0
