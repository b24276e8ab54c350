"""The parameters as products read them: in the network's own type, or a copy that is rounded to another precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpu_mlp.backends.base import ROUNDED_PRECISIONS, Array, Ops
from gpu_mlp.config import check_precision
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["Factors"]


class Factors:
    """weights[k] (D_{k+1}, D_k) and biases[k] (D_{k+1},) for every layer, and the backend that multiplies them.

    Args:
        ops: the network's backend.
        parameters: what the factors are, or are a rounded copy of.
        precision: "auto" for the parameters' own type, or a name of `PRECISION_NAMES`.

    `dtype` is the type of their memory. Raises ConfigError where the precision does not go with the type of the
    parameters, DeviceError where the device does not have it.
    """

    def __init__(self, ops: Ops, parameters: ParameterBuffer, precision: str = "auto") -> None:
        check_precision(precision, str(parameters.flat.dtype))
        self.ops = ops.in_precision(precision) if precision in ROUNDED_PRECISIONS else ops
        self.weights: Sequence[Array] = parameters.weights
        self.biases: Sequence[Array] = parameters.biases
        self.dtype: Any = parameters.flat.dtype if self.ops.factor_dtype is None else self.ops.factor_dtype
        self._parameters = parameters
        self._copy: ParameterBuffer | None = None
        if self.ops.factor_dtype is not None:
            self._copy = ParameterBuffer(ops, parameters.layout, self.dtype)
            self.weights = self._copy.weights
            # The last layer's output is not rounded, and neither is what is added to it.
            self.biases = (*tuple(self._copy.biases)[:-1], parameters.biases[-1])

    def refresh(self) -> None:
        """Read the parameters as they are now, before a forward pass."""
        if self._copy is not None:
            self.ops.to_factors(self._parameters.flat, None, self._copy.flat)

    def inputs(self, x: Array, memory: Array | None = None) -> Array:
        """x (B, D_0) as the first product reads it, in `memory` of that shape where it is rounded and given."""
        if self.ops.factor_dtype is None:
            return x
        if memory is None:
            memory = self.ops.xp.empty(x.shape, self.dtype)
        self.ops.to_factors(x, None, memory)
        return memory
