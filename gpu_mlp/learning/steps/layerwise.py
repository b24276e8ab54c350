"""One training step as one call per layer: the plainest room of this floor, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.backends.blas_threads import products_of
from gpu_mlp.config import Loss
from gpu_mlp.learning.optimizers import OptimizerState
from gpu_mlp.learning.randomness import allocate_dropouts
from gpu_mlp.learning.steps.finish import Finish
from gpu_mlp.network.backward import allocate_gradients, backward
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.forward import allocate_trace, forward
from gpu_mlp.network.losses import allocate_loss_scratch
from gpu_mlp.network.network import Network
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["LayerwiseStep"]

# NumPy copies a broadcast operand into a buffer that it allocates in each call; its default of 8192 elements
# makes 128 KB of a softmax's labels. Smaller ones cost no time (measured from 64x4 to 2048x512).
UFUNC_BUFFER_ELEMENTS = 2048


class LayerwiseStep:
    """All memory for steps of exactly `rows` rows, and the step: nothing is allocated after construction.

    The rows may be those of a larger batch from its row `first_row` on, a multiple of 4: their dropout masks are
    then the batch's, and their shares of the mean loss sum to less than 1. Gradients come out multiplied by the
    `loss_scale` () where there is one.

    `products` is the context in which `run` computes; who enters it for several steps saves time, and no bit changes.
    """

    def __init__(
        self,
        network: Network,
        factors: Factors,
        loss: Loss,
        gradients: ParameterBuffer,
        rows: int,
        *,
        dropout: float,
        seed: int,
        first_row: int = 0,
        loss_scale: Array | None = None,
        beside_reader: bool = False,
    ) -> None:
        ops, sizes, dtype = factors.ops, network.layer_sizes, network.dtype
        self.network = network
        self._factors = factors
        self._loss_scale = loss_scale
        self.dropouts = allocate_dropouts(
            ops, sizes, rows, factors.dtype, rate=dropout, seed=seed, first_row=first_row
        )
        shared = network.activations
        self.trace = allocate_trace(
            ops, sizes, rows, dtype, dropouts=self.dropouts, shared=shared, backward=True
        )
        self.gradients = allocate_gradients(ops, gradients, rows, dtype, shared=shared)
        # dL/df_K before it is rounded.
        self._dl_df = self.gradients.dl_df[-1]
        if ops.factor_dtype is not None:
            self._dl_df = ops.xp.empty((rows, sizes[-1]), dtype)
        self.loss: Array = ops.xp.zeros((), dtype)
        self._loss_primitive: Callable[..., None] = getattr(ops, loss.name)
        self._loss_parameters = loss.parameters
        self.products: AbstractContextManager[None] = nullcontext()
        if network.device == "cpu":
            largest = rows * max(i * o for i, o in pairwise(sizes))
            self.products = products_of(
                largest, 3 * rows * network.parameter_count, beside_reader=beside_reader
            )
        # In half precision overflow is nothing unusual: it lowers the loss's scale.
        self._quiet: Callable[[], AbstractContextManager[None]] = (
            nullcontext if loss_scale is None else partial(np.errstate, over="ignore", invalid="ignore")
        )
        self._loss_scratch = allocate_loss_scratch(ops, rows, sizes[-1], dtype)

    def compute_gradients(self, x: Array, y: Array, share: Array, step: int) -> None:
        """Forward, loss and backward: fills `loss` and the gradient buffer."""
        factors, activations = self._factors, self.network.activations
        ops = factors.ops
        for dropout in self.dropouts:
            if dropout is not None:
                dropout.step = step
        trace, gradients = self.trace, self.gradients
        trace.h[0] = x
        factors.refresh()
        forward(ops, factors, activations, trace)
        self._loss_primitive(
            trace.f[-1], y, share, self.loss, self._dl_df, self._loss_scratch, **self._loss_parameters
        )
        if self._dl_df is not gradients.dl_df[-1]:
            ops.to_factors(self._dl_df, self._loss_scale, gradients.dl_df[-1])
        backward(ops, factors, activations, trace, gradients)

    def run(
        self,
        x: Array,
        y: Array,
        share: Array,
        optimizer: OptimizerState,
        learning_rate: float,
        finish: Finish | None,
    ) -> None:
        """The whole step: gradients, what finishes them, update."""
        previous = np.setbufsize(UFUNC_BUFFER_ELEMENTS)
        try:
            with self.products, self._quiet():
                self.compute_gradients(x, y, share, optimizer.step)
                if finish is not None:
                    finish(self.gradients.flat, self.loss)
            optimizer.update(self.gradients.flat, learning_rate)
        finally:
            np.setbufsize(previous)

    def finite_layers(self) -> list[bool]:
        """For every layer k, whether the last step's f_k, or the h_{k+1} in its memory, were all finite.

        An infinite f_k that the activation brought back, as relu does -inf, went no further.
        """
        return [bool(self.network.ops.xp.isfinite(f).all()) for f in self.trace.f]
