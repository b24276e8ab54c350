"""The array-module interface: `Ops`, a frozen record with one typed field per primitive.

Every primitive writes into the arrays it is handed and allocates nothing, so a training step owns all of its memory;
only NumPy's rounding to another precision takes some on the way. A backend is one `Ops`; `reference_ops(xp)` fills
every field for any array module and other backends replace fields by name.

What primitives are handed beside arrays is in `records`, where the letters of shapes are explained too; captured steps
and copies that run beside the computing are in `graphs_and_copies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gpu_mlp.backends.graphs_and_copies import Copies, Graphs
from gpu_mlp.backends.records import Array, Dropout, LayerBelow, LayerScratch, LossScale, LossScratch

__all__ = [
    "ACTIVATION_NAMES",
    "COMPILED_ACTIVATIONS",
    "GRADIENT_FROM_H",
    "LOSS_NAMES",
    "PRECISION_NAMES",
    "ROUNDED_PRECISIONS",
    "Array",
    "LossPrimitive",
    "Ops",
    "OptimizerPrimitive",
]

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

# Those that Numba makes vectors of for the processor; the others need the C library's functions.
COMPILED_ACTIVATIONS = ("identity", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "gelu_tanh", "silu")

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
