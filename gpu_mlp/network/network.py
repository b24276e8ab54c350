"""A multi-layer perceptron: its parameters on a device, a forward and a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, cast

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.backends.numpy_compiled import can_compile
from gpu_mlp.backends.select import device_ops
from gpu_mlp.config import NetworkConfig
from gpu_mlp.errors import ShapeError
from gpu_mlp.network.backward import Gradients, allocate_gradients, backward
from gpu_mlp.network.factors import Factors
from gpu_mlp.network.forward import Trace, allocate_trace, forward
from gpu_mlp.network.parameters import LayerViews, ParameterBuffer, ParameterLayout, initialize
from gpu_mlp.network.placing import to_type
from gpu_mlp.network.sparse_rows import SparseRows, is_sparse

__all__ = ["Network"]

ROWS_AT_ONCE = 8192
ELEMENTS_AT_ONCE = 1 << 24  # so fewer rows where a layer is wider than 2048


class Network:
    """f_k = h_k Omega_k^T + beta_k and h_{k+1} = a[f_k] for k = 0..K; the output is f_K.

    Args:
        layer_sizes: (D_0, ..., D_{K+1}), inputs first, outputs last; two numbers make a linear model.
        activation: one name for all hidden layers or a sequence of K names.
        initializer: see `gpu_mlp.config.INITIALIZER_NAMES`.
        seed: of the initial weights, which are the same on every device.
        dtype: "float32" or "float64".
        device: "auto", "cpu", "cuda" or "cuda:N".

    `activations` has the activation of every hidden layer.

    Raises ConfigError for a setting that is unknown or out of range, DeviceError for a device that cannot be used.
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        initializer: str = "auto",
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        device: str = "auto",
    ) -> None:
        config = NetworkConfig(
            layer_sizes=cast(tuple[int, ...], layer_sizes),  # which NetworkConfig makes of any sequence
            activation=cast(str | tuple[str, ...], activation),
            initializer=initializer,
            seed=seed,
            dtype=dtype,
        )
        self._build(config, device_ops(device))
        self.parameters.weights.assign(initialize(config))

    @classmethod
    def from_config(cls, config: NetworkConfig, device: str = "auto") -> Network:
        """The network of a `NetworkConfig`."""
        return cls(
            config.layer_sizes,
            activation=config.activation,
            initializer=config.initializer,
            seed=config.seed,
            dtype=config.dtype,
            device=device,
        )

    @classmethod
    def from_parameters(
        cls, config: NetworkConfig, weights: Sequence[Any], biases: Sequence[Any], device: str = "auto"
    ) -> Network:
        """The network of a `NetworkConfig` with these weights and biases. Raises ShapeError where one does not fit."""
        network = cls.__new__(cls)  # no initial weights are drawn
        network._build(config, device_ops(device))
        network.set_parameters(weights, biases)
        return network

    def _build(self, config: NetworkConfig, ops: Ops) -> None:
        self.config = config
        self.ops = ops
        self.activations = config.activations
        self.parameters = ParameterBuffer(ops, ParameterLayout(config.layer_sizes), config.dtype)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(D_0, ..., D_{K+1})"""
        return self.config.layer_sizes

    @property
    def dtype(self) -> str:
        """ "float32" or "float64"."""
        return self.config.dtype

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:N"."""
        return self.ops.device

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return self.parameters.layout.parameter_count

    @property
    def weights(self) -> LayerViews:
        """Omega_k, (D_{k+1}, D_k), on the device; `weights[k] = array` and `weights = [...]` copy into it."""
        return self.parameters.weights

    @weights.setter
    def weights(self, values: Sequence[Any]) -> None:
        self.parameters.weights.assign(values)

    @property
    def biases(self) -> LayerViews:
        """beta_k, (D_{k+1},), on the device; `biases[k] = array` and `biases = [...]` copy into it."""
        return self.parameters.biases

    @biases.setter
    def biases(self, values: Sequence[Any]) -> None:
        self.parameters.biases.assign(values)

    def set_parameters(self, weights: Sequence[Any], biases: Sequence[Any]) -> None:
        """Copy all weights and biases in. Raises ShapeError and changes nothing where a shape differs."""
        biases = self.parameters.biases.fitting(biases)
        self.weights = weights
        self.biases = biases

    @property
    def rows_at_once(self) -> int:
        """How many rows of a table are computed at once: 8192, or fewer where a layer is very wide."""
        return max(min(ROWS_AT_ONCE, ELEMENTS_AT_ONCE // max(self.layer_sizes)), 1)

    def as_inputs(self, x: Any) -> Array:
        """`x` as an array (B, D_0) of numbers where it lies; a sparse matrix is read some rows at a time.

        Raises ShapeError where it is none.
        """
        array: Any = (
            x if isinstance(x, SparseRows) else SparseRows(x) if is_sparse(x) else self.ops.as_array(x)
        )
        if array.ndim != 2 or array.shape[1] != self.layer_sizes[0]:
            raise ShapeError(
                f"the input has shape {array.shape}, but the network takes (batch, {self.layer_sizes[0]})"
            )
        if array.dtype.kind not in "fiub":
            raise ShapeError(f"the input has type {array.dtype}, but the network takes numbers")
        return array  # type: ignore[no-any-return]

    def to_inputs(self, x: Any) -> Array:
        """`x` as a contiguous (B, D_0) array of the network's type on its device, copied only where needed."""
        return to_type(self.ops, self.as_inputs(x), self.dtype)

    def forward(self, x: Any) -> Trace:
        """Every pre-activation f_k and hidden unit h_k of a batch x (B, D_0), in fresh memory.

        Only h[0] is x itself where x is already an array of the network's type on its device: `backward` reads it,
        so leave x as it is until then, or pass a copy.
        """
        inputs = self.to_inputs(x)
        trace = allocate_trace(self.ops, self.layer_sizes, len(inputs), self.dtype)
        trace.h[0] = inputs
        forward(self.ops, self.parameters, self.activations, trace)
        return trace

    def __call__(self, x: Any, *, precision: str = "auto") -> Array:
        """The output f_K (B, D_{K+1}) of a batch of any size, computed at most `rows_at_once` rows at a time.

        Of a batch on the host no more than that is on the device at once. precision: of the products, as in
        `TrainingConfig`; "auto" is the network's own type.
        """
        inputs = self.as_inputs(x)
        rows = len(inputs)
        if 0 < rows <= self.rows_at_once:
            return self._output_pass(precision)(rows)(to_type(self.ops, inputs, self.dtype))
        output: Array = self.ops.xp.empty((rows, self.layer_sizes[-1]), self.dtype)
        for block, outputs in self._output_blocks(inputs, precision):
            output[block] = outputs
        return output

    def output_blocks(self, x: Any, *, precision: str = "auto") -> Iterator[tuple[slice, Array]]:
        """Some rows of a batch x (B, D_0) and their output f_K, in memory that the next rows' output overwrites."""
        return self._output_blocks(self.as_inputs(x), precision)

    def _output_blocks(self, inputs: Array, precision: str) -> Iterator[tuple[slice, Array]]:
        make, size = self._output_pass(precision), self.rows_at_once
        compute, rows = None, 0
        for start in range(0, len(inputs), size):
            block = to_type(self.ops, inputs[start : start + size], self.dtype)
            if compute is None or len(block) != rows:
                rows = len(block)
                compute = make(rows)
            yield slice(start, start + rows), compute(block)

    def _output_pass(self, precision: str) -> Callable[[int], Callable[[Array], Array]]:
        """What makes, for so many rows, what computes their output in memory of its own."""
        if precision in ("auto", self.dtype) and can_compile(self.ops, self.activations):
            from gpu_mlp.network.compiled import CompiledOutputs

            return partial(CompiledOutputs, self.parameters, self.activations, dtype=self.dtype)
        factors = Factors(self.ops, self.parameters, precision)
        factors.refresh()
        return partial(self._traced_outputs, factors)

    def _traced_outputs(self, factors: Factors, rows: int) -> Callable[[Array], Array]:
        trace = allocate_trace(factors.ops, self.layer_sizes, rows, self.dtype, shared=self.activations)

        def compute(x: Array) -> Array:
            trace.h[0] = factors.inputs(x)
            forward(factors.ops, factors, self.activations, trace)
            return trace.output

        return compute

    def backward(self, trace: Trace, dl_df: Any) -> Gradients:
        """Every gradient from dL/df_K (B, D_{K+1}), in fresh memory.

        Raises ShapeError where it does not fit the trace.
        """
        last = self.ops.to_device(dl_df)
        if last.shape != trace.output.shape:
            raise ShapeError(f"dl_df has shape {last.shape}, but the output f has {trace.output.shape}")
        buffer = ParameterBuffer(self.ops, self.parameters.layout, self.dtype)
        gradients = allocate_gradients(self.ops, buffer, len(last), self.dtype)
        gradients.dl_df[-1][...] = last
        backward(self.ops, self.parameters, self.activations, trace, gradients)
        return gradients

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.layer_sizes))
        activations = ", ".join(dict.fromkeys(self.activations)) or "linear"
        return f"<Network {sizes}, {activations}, {self.parameter_count} parameters, {self.dtype} on {self.device}>"
