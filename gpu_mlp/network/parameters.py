"""All parameters in one flat buffer, with a view per layer, and the ways to fill it at the start.

Gradients and every optimizer moment use the same layout, so that an update, a norm, a checkpoint or an
all-reduce is a single call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np

from gpu_mlp.backends.base import Array, Ops
from gpu_mlp.config import NetworkConfig
from gpu_mlp.errors import ShapeError

__all__ = ["LayerViews", "ParameterBuffer", "ParameterLayout", "initialize"]

# Every tensor starts at a multiple of this many elements: 16-byte loads for any dtype, whole cache lines for float32.
# The padding stays zero: its gradient is zero, and no optimizer moves a zero parameter without gradient.
ALIGNMENT = 16

RELU_FAMILY = ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus")


@dataclass(frozen=True)
class ParameterLayout:
    """Where every weight and bias lies in the flat buffer: all weights first, then all biases."""

    layer_sizes: tuple[int, ...]

    @property
    def layers(self) -> int:
        """K + 1, the number of weight matrices."""
        return len(self.layer_sizes) - 1

    @cached_property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """(D_{k+1}, D_k) of every Omega_k, PyTorch's order."""
        return tuple((self.layer_sizes[k + 1], self.layer_sizes[k]) for k in range(self.layers))

    @cached_property
    def weight_offsets(self) -> tuple[int, ...]:
        """Where every Omega_k starts."""
        return _offsets([rows * columns for rows, columns in self.weight_shapes], 0)

    @cached_property
    def bias_offsets(self) -> tuple[int, ...]:
        """Where every beta_k starts."""
        rows, columns = self.weight_shapes[-1]
        return _offsets(self.layer_sizes[1:], _aligned(self.weight_offsets[-1] + rows * columns))

    @property
    def size(self) -> int:
        """Elements of the flat buffer, padding included."""
        return _aligned(self.bias_offsets[-1] + self.layer_sizes[-1])

    @property
    def parameter_count(self) -> int:
        """Weights and biases, without padding."""
        return sum(rows * columns + rows for rows, columns in self.weight_shapes)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _offsets(sizes: Sequence[int], start: int) -> tuple[int, ...]:
    offsets = []
    for size in sizes:
        offsets.append(start)
        start += _aligned(size)
    return tuple(offsets)


class LayerViews(Sequence[Array]):
    """One array per layer, views of a flat buffer; `views[k] = array` copies into it."""

    def __init__(self, ops: Ops, views: Sequence[Array], what: str) -> None:
        self._ops = ops
        self._views = tuple(views)
        self._what = what

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | Sequence[Array]:
        return self._views[index]

    def __setitem__(self, index: int, value: Any) -> None:
        view = self._views[index]
        array = self._ops.to_device(value)
        if array.shape != view.shape:
            layer = range(len(self._views))[index]
            raise ShapeError(f"{self._what}[{layer}] has shape {view.shape}, but was given {array.shape}")
        view[...] = array

    def __iter__(self) -> Iterator[Array]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def assign(self, values: Sequence[Any]) -> None:
        """Copy one array for every layer; nothing is changed where one of them does not fit."""
        for view, array in zip(self._views, self.fitting(values), strict=True):
            view[...] = array

    def fitting(self, values: Sequence[Any]) -> list[Array]:
        """The values as arrays on the device. Raises ShapeError where one of them does not fit its layer."""
        if len(values) != len(self._views):
            raise ShapeError(f"{self._what} has {len(self._views)} layers, but was given {len(values)}")
        arrays = [self._ops.to_device(value) for value in values]
        for layer, (view, array) in enumerate(zip(self._views, arrays, strict=True)):
            if array.shape != view.shape:
                raise ShapeError(f"{self._what}[{layer}] has shape {view.shape}, but was given {array.shape}")
        return arrays

    def __repr__(self) -> str:
        return f"<{self._what}: {', '.join(str(view.shape) for view in self._views)}>"


class ParameterBuffer:
    """A flat buffer and its views `weights[k]` (D_{k+1}, D_k) and `biases[k]` (D_{k+1},), all zero at first."""

    def __init__(self, ops: Ops, layout: ParameterLayout, dtype: Any) -> None:
        self.layout = layout
        self.flat: Array = ops.xp.zeros(layout.size, dtype)
        self.weights = LayerViews(ops, self._weight_views(), "weights")
        self.biases = LayerViews(ops, self._bias_views(), "biases")

    def _weight_views(self) -> list[Array]:
        placed = zip(self.layout.weight_offsets, self.layout.weight_shapes, strict=True)
        return [self.flat[at : at + rows * columns].reshape(rows, columns) for at, (rows, columns) in placed]

    def _bias_views(self) -> list[Array]:
        placed = zip(self.layout.bias_offsets, self.layout.layer_sizes[1:], strict=True)
        return [self.flat[at : at + size] for at, size in placed]


def initialize(config: NetworkConfig) -> list[np.ndarray[Any, Any]]:
    """Initial weights in float64, drawn on the host so that every backend starts from the same; biases start at 0.

    With fan_in = D_k and fan_out = D_{k+1} the variance of Omega_k is 2 / fan_in (He et al., 2015), 2 /
    (fan_in + fan_out) (Glorot and Bengio, 2010) or 1 / fan_in (LeCun et al., 1998), normal or uniform with
    that variance; orthogonal is an orthonormal matrix (Saxe et al., 2014). "auto" is he_normal before a unit
    of the ReLU family, else glorot_uniform.
    """
    generator = np.random.default_rng(config.seed)
    weights = []
    for k, (fan_out, fan_in) in enumerate(ParameterLayout(config.layer_sizes).weight_shapes):
        # The last layer has no activation of its own: "auto" treats it as the linear layer it is.
        activation = config.activations[k] if k < len(config.layer_sizes) - 2 else "identity"
        name = config.initializer
        if name == "auto":
            name = "he_normal" if activation in RELU_FAMILY else "glorot_uniform"
        weights.append(_draw(generator, name, fan_in, fan_out))
    return weights


def _draw(
    generator: np.random.Generator, initializer: str, fan_in: int, fan_out: int
) -> np.ndarray[Any, Any]:
    if initializer == "orthogonal":
        return _orthogonal(generator, fan_in, fan_out)
    family, _, distribution = initializer.partition("_")
    variance = {"he": 2.0 / fan_in, "glorot": 2.0 / (fan_in + fan_out), "lecun": 1.0 / fan_in}[family]
    if distribution == "normal":
        return generator.normal(0.0, math.sqrt(variance), (fan_out, fan_in))
    limit = math.sqrt(3.0 * variance)
    return generator.uniform(-limit, limit, (fan_out, fan_in))


def _orthogonal(generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray[Any, Any]:
    normal = generator.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(normal)
    q *= np.sign(np.diagonal(r))  # without this the factors of qr are not uniform over the orthogonal group
    return q if fan_out >= fan_in else q.T
