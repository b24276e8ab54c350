"""The array-module interface: `Ops`, a frozen record with one typed field per primitive.

Every primitive writes into the arrays it is handed and allocates nothing, so a training step owns all of
its memory. A backend is one `Ops`; `reference_ops(xp)` fills every field for any array module and other
backends replace fields by name.

Shapes use B for the batch, D for the width of a layer, O and I for the width of its output and input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACTIVATION_NAMES",
    "GRADIENT_FROM_H",
    "LOSS_NAMES",
    "PRECISION_NAMES",
    "ROUNDED_PRECISIONS",
    "Array",
    "Captured",
    "Copies",
    "Dropout",
    "Graphs",
    "LayerBelow",
    "LayerScratch",
    "LossPrimitive",
    "LossScale",
    "LossScratch",
    "Mark",
    "Ops",
    "OptimizerPrimitive",
    "PhiloxBuffers",
]

# An array of the backend's module; CuPy's arrays follow the same interface.
Array: TypeAlias = NDArray[Any]

ACTIVATION_NAMES = (
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "softplus",
)

# Those whose gradient is a function of h alone. Their f may lie in the memory of h, and dL/dh in that of dL/df: every
# primitive of a backend allows it, and a step that shows no trace makes use of it.
GRADIENT_FROM_H = ("identity", "relu", "leaky_relu", "elu", "sigmoid", "tanh")

LOSS_NAMES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "poisson",
    "binary_cross_entropy",
    "softmax_cross_entropy",
)

# What products round their factors to, beside a network's own type: TF32 has float32's range and 10 bits after the
# leading one, bfloat16 the same range and 7 bits, IEEE half precision 10 bits and a largest number of 65504.
ROUNDED_PRECISIONS = ("tf32", "bf16", "fp16")
PRECISION_NAMES = ("float32", "float64", *ROUNDED_PRECISIONS)


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


class LossPrimitive(Protocol):
    """Mean loss over the batch and dL/df_K.

    `share` (B,) holds every row's share of the mean, w_b / sum(w), which is 1 / B without weights.
    """

    def __call__(
        self,
        f: Array,
        y: Array,
        share: Array,
        loss: Array,
        dl_df: Array,
        scratch: LossScratch,
        **parameters: float,
    ) -> None: ...


@dataclass(slots=True)
class LossScale:
    """What the loss is scaled with so that its gradients do not vanish in half precision; all on the device."""

    scale: Array  # (), float32, a power of 2
    steps: Array  # (), int32, how many steps went well since it changed
    skip: Array  # (), int32, 1 where a gradient was not finite
    skipped: Array  # (), int32, how many steps were skipped since somebody set it to 0


class OptimizerPrimitive(Protocol):
    """One update of the whole flat parameter buffer, (P,); `step` counts from 1.

    Where `skip` () int32 is given and not 0, nothing is changed.
    """

    def __call__(
        self,
        parameters: Array,
        gradients: Array,
        state: Sequence[Array],
        scratch: Array,
        *,
        learning_rate: float,
        step: int,
        skip: Array | None = None,
        **constants: float,
    ) -> None: ...


# Launches what was captured.
Captured: TypeAlias = Callable[[], None]


class Graphs(Protocol):
    """What a backend that can capture a step gives `learning.steps.cuda_graph`.

    The clock is the backend's own device memory that tells its kernels which step it is: the step of the dropout masks,
    from 0, and seven numbers made of the learning rate and the optimizer's constants.
    """

    def clock_row(self, optimizer: str, learning_rate: float, step: int, **constants: float) -> list[float]:
        """The eight numbers of step `step`, which counts from 1."""

    def set_clock(self, row: Sequence[float]) -> None:
        """Show the numbers of the step that is launched next."""

    def held_clock(self) -> AbstractContextManager[None]:
        """Inside, primitives leave the clock as it is."""

    def load_clock(self, table: Array, position: Array) -> None:
        """The clock <- table[position]: table (S, 8) float64, position () int64."""

    def gather_batch(self, rows: Array, order: Array, position: Array, out: Array, batch: int) -> None:
        """out_b = rows[order[position batch + b]]: rows (N, D) or (N,), order (S batch,), out (B, D) or (B,)."""

    def end_step(self, loss: Array, losses: Array, position: Array) -> None:
        """losses[position] = loss, then position + 1."""

    def capture(self, work: Callable[[], None]) -> Captured:
        """Record the launches of `work`, which are not run; raises what the driver raises where one cannot be."""


# A point in a stream's work, an event: reached when all that was asked for before it is done.
Mark: TypeAlias = Any


class Copies(Protocol):
    """Copies from the host that run beside the computing, in order on a stream of their own.

    Nothing here waits but `wait_here`. Whoever starts a copy keeps both its arrays, and leaves the host's as it is
    until the copy's mark is reached.
    """

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Host memory that the device reads while the host goes on: page-locked."""

    def start(self, pairs: Sequence[tuple[np.ndarray[Any, Any], Array]], after: Mark) -> Mark:
        """Copy every host array into its device array once `after` is reached; the mark of the last one's end."""

    def computed(self) -> Mark:
        """The end of all computing that was launched so far."""

    def hold_computing(self, until: Mark) -> None:
        """Computing that is launched from now on begins once `until` is reached."""

    def wait_here(self, until: Mark) -> None:
        """The host goes on once `until` is reached."""


@dataclass(frozen=True)
class Ops:
    """One backend: an array module and every primitive written for it."""

    name: str
    device: str
    xp: Any
    # How many elements a chain of elementwise passes takes at once, to find them in the cache again.
    elements_at_once: int

    layer_forward: Callable[
        [Array, Array, Array, str, Array, Array | None, LayerScratch, Dropout | None], None
    ]
    layer_backward: Callable[[Array, Array, Array, LayerScratch, Array, Array, LayerBelow | None], None]

    squared_error: LossPrimitive
    absolute_error: LossPrimitive
    huber: LossPrimitive
    quantile: LossPrimitive
    poisson: LossPrimitive
    binary_cross_entropy: LossPrimitive
    softmax_cross_entropy: LossPrimitive

    sgd: OptimizerPrimitive
    rmsprop: OptimizerPrimitive
    adagrad: OptimizerPrimitive
    adam: OptimizerPrimitive
    lion: OptimizerPrimitive
    clip_global_norm: Callable[[float, Array, Array, Array, Array], None]

    # alpha / 2 |w|^2 / total to the loss, and its gradient; see `reference.optimizers.l2_penalty`.
    l2_penalty: Callable[[float, Array, Array, Array, Array, Array], None]
    # g / scale in place, and whether to skip the update; see `reference.precisions.unscale_gradients`.
    unscale_gradients: Callable[[Array, LossScale, Array], None]

    gather_rows: Callable[[Array, Array, Array], None]
    # The same for the rows of x, which are factors.
    gather_factors: Callable[[Array, Array, Array], None]
    row_shares: Callable[[Array, Array, Array], None]

    # Between the host and the device. `as_array` leaves what is on the host there; like `to_device` it makes the
    # device the current one.
    as_array: Callable[[Any], Array]
    to_device: Callable[[Any], Array]
    to_host: Callable[[Array], np.ndarray[Any, Any]]
    synchronize: Callable[[], None]
    open_copies: Callable[[], Copies]
    # Bytes of the device's memory that nobody uses; None where it is the host's.
    free_memory: Callable[[], int | None]

    # Precisions. The factors of products are x, h, dL/df and the parameters; to_factors(values, scale, out) rounds
    # scale * values, or values where scale is None. factor_dtype is None where they have the network's own type, and
    # are then not copied.
    to_factors: Callable[[Array, Array | None, Array], None]
    # This backend with products in a precision of ROUNDED_PRECISIONS; raises DeviceError where it does not have it.
    in_precision: Callable[[str], Ops]
    factor_dtype: Any = None

    # Whether a layer may leave the signs of f for its backward pass.
    leaves_signs: bool = False
    # Whether dropout masks are drawn where they are needed, without memory for them.
    draws_masks: bool = False

    # Only where a step can be captured.
    graphs: Graphs | None = None
