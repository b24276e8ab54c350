"""The example kernels, each with a launch on random numbers and the NumPy result it must reach.

A runner takes the source, so that a test can plant a mistake in it, and hands back what the kernel wrote beside what it
should have written.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.emulator import Function, Module, asarray, empty, zeros

KERNELS = Path(__file__).resolve().parent / "kernels"

Array = NDArray[Any]


@dataclass(frozen=True)
class Result:
    """What a kernel wrote, and what is right."""

    got: Array
    expected: Array
    rtol: float = 1e-5
    atol: float = 1e-6

    def check(self) -> None:
        """Fail where they differ."""
        np.testing.assert_allclose(self.got, self.expected, rtol=self.rtol, atol=self.atol)

    def is_right(self) -> bool:
        """Whether they agree."""
        return bool(np.allclose(self.got, self.expected, rtol=self.rtol, atol=self.atol))


@dataclass(frozen=True)
class Setup:
    """How a runner compiles and launches; `source` in the place of the kernel's file."""

    mode: str = "fast"
    source: str | None = None
    launch: dict[str, Any] = field(default_factory=dict)

    def function(self, file: str, name: str, names: tuple[str, ...] = ()) -> Function:
        """The kernel of the file, compiled once in a process."""
        return compiled(self.source or source_of(file), file, names, self.mode).get_function(name)


Runner = Callable[[Setup], list[Result]]


def source_of(file: str) -> str:
    """The text of an example."""
    return (KERNELS / file).read_text()


@functools.cache
def compiled(source: str, file: str, names: tuple[str, ...], mode: str) -> Module:
    """The module of a source that may include the examples' headers."""
    return Module(source, filename=file, names=names, mode=mode, include_dirs=[KERNELS])


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Normal numbers as float32."""
    numbers: Array = np.random.default_rng(seed).standard_normal(shape)
    return (numbers * scale).astype(np.float32)


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.flat]).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


_VALUES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda f: np.maximum(f, 0),
    "hyperbolic_tangent": np.tanh,
    "gelu": lambda f: 0.5 * f * (1 + _erf(f / np.sqrt(2))),
    "silu": lambda f: f * _sigmoid(f),
}
_DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "relu": lambda f: (f > 0) * 1.0,
    "hyperbolic_tangent": lambda f: 1 - np.tanh(f) ** 2,
    "gelu": lambda f: 0.5 * (1 + _erf(f / np.sqrt(2))) + f * np.exp(-f * f / 2) / np.sqrt(2 * np.pi),
    "silu": lambda f: _sigmoid(f) * (1 + f * (1 - _sigmoid(f))),
}


ACTIVATIONS = tuple(_VALUES)


def bias_activation(
    setup: Setup,
    rows: int = 37,
    cols: int = 20,
    activation: str = "relu",
    instances: tuple[str, ...] = ("relu",),
) -> list[Result]:
    """`instances` are compiled together, `activation` is launched."""
    x, beta = asarray(normal(rows, cols, scale=2), name="x"), asarray(normal(cols, seed=1), name="beta")
    f, h = empty(x.shape, name="f"), empty(x.shape, name="h")
    names = tuple(f"bias_activation<{name}>" for name in instances)
    kernel = setup.function("bias_activation.cu", f"bias_activation<{activation}>", names)
    kernel((3,), (256,), (x, beta, f, h, np.int64(x.size), np.int32(cols)), **setup.launch)
    right = x.astype(np.float64) + beta
    return [Result(f, right), Result(h, _VALUES[activation](right), rtol=2e-5, atol=2e-6)]


def activation_backward(
    setup: Setup,
    rows: int = 129,
    cols: int = 33,
    activation: str = "relu",
    instances: tuple[str, ...] = ("relu",),
) -> list[Result]:
    """Both stages of the sum over the rows."""
    parts = 4
    dl_dh, f = asarray(normal(rows, cols)), asarray(normal(rows, cols, seed=1))
    dl_df, partial, dl_dbeta = empty((rows, cols)), empty((parts, cols)), empty(cols)
    names = tuple(f"activation_backward<{name}>" for name in instances)
    first = setup.function("activation_backward.cu", f"activation_backward<{activation}>", names)
    second = setup.function("activation_backward.cu", "sum_partial", names)
    sizes = (np.int32(rows), np.int32(cols))
    first((-(-cols // 32), parts), (32, 8), (dl_dh, f, dl_df, partial, *sizes), **setup.launch)
    second(
        (-(-cols * 32 // 256),), (256,), (partial, dl_dbeta, np.int32(parts), np.int32(cols)), **setup.launch
    )
    right = dl_dh * _DERIVATIVES[activation](f.astype(np.float64))
    return [Result(dl_df, right, 1e-4, 2e-6), Result(dl_dbeta, right.sum(0), 1e-4, 1e-4)]


def sum_atomic(
    setup: Setup, rows: int = 129, cols: int = 33, shared_bytes: int | None = None
) -> list[Result]:
    """Sums over the rows in dynamic shared memory."""
    dl_df, dl_dbeta = asarray(normal(rows, cols)), zeros(cols)
    shared = 4 * cols if shared_bytes is None else shared_bytes
    kernel = setup.function("activation_backward.cu", "sum_atomic")
    kernel((3,), (128,), (dl_df, dl_dbeta, np.int32(rows), np.int32(cols)), shared, **setup.launch)
    return [Result(dl_dbeta, dl_df.astype(np.float64).sum(0), 1e-4, 1e-4)]


def softmax_cross_entropy(setup: Setup, rows: int = 7, cols: int = 10) -> list[Result]:
    """A warp for each row."""
    x, label = asarray(normal(rows, cols, scale=5)), asarray(np.arange(rows, dtype=np.int32) % cols)
    loss, dl_dx = empty(rows), empty((rows, cols))
    kernel = setup.function("softmax_cross_entropy.cu", "softmax_cross_entropy")
    sizes = (np.int32(rows), np.int32(cols), np.float32(1 / rows))
    kernel((-(-rows // 4),), (128,), (x, label, loss, dl_dx, *sizes), **setup.launch)
    shifted = x.astype(np.float64) - x.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    onehot = np.eye(cols)[label]
    return [
        Result(loss, -(log_softmax * onehot).sum(1), 1e-5, 2e-5),
        Result(dl_dx, (np.exp(log_softmax) - onehot) / rows, 1e-4, 1e-6),
    ]


def adam(setup: Setup, n: int = 1001) -> list[Result]:
    """The third step."""
    p, g, m, v = normal(n), normal(n, seed=1), normal(n, seed=2), np.abs(normal(n, seed=3))
    arrays = [asarray(a) for a in (p, g, m, v)]
    rate, beta1, beta2, epsilon, decay = 1e-3, 0.9, 0.999, 1e-8, 0.01
    corrections = 1 / (1 - beta1**3), 1 / (1 - beta2**3)
    numbers = map(np.float32, (rate, beta1, beta2, epsilon, decay, *corrections))
    setup.function("adam.cu", "adam")((7,), (256,), (*arrays, np.int64(n), *numbers), **setup.launch)
    g64 = g.astype(np.float64)
    m64, v64 = beta1 * m + (1 - beta1) * g64, beta2 * v + (1 - beta2) * g64 * g64
    step = m64 * corrections[0] / (np.sqrt(v64 * corrections[1]) + epsilon) + decay * p
    return [Result(arrays[2], m64), Result(arrays[3], v64), Result(arrays[0], p - rate * step)]


TINY_SIZES = (2, 4, 7, 3, 2)
TINY_PARAMETERS = 79


def tiny_network(setup: Setup, batch: int = 100, threads: int = 64, steps: int = 5) -> list[Result]:
    """A whole training in one block."""
    start, x, y = normal(TINY_PARAMETERS, scale=0.5), normal(batch, 2, seed=1), normal(batch, 2, seed=2)
    parameters, losses = asarray(start, name="parameters"), empty(steps, name="losses")
    shared = 4 * TINY_PARAMETERS * threads // 32
    arguments = (
        parameters,
        asarray(x),
        asarray(y),
        losses,
        np.int32(batch),
        np.int32(steps),
        np.float32(0.1),
    )
    setup.function("tiny_network.cu", "train_tiny")((1,), (threads,), arguments, shared, **setup.launch)
    right, right_losses = _train_tiny(start.astype(np.float64), x.astype(np.float64), y, steps, 0.1)
    return [Result(losses, right_losses, 2e-5), Result(parameters, right, 2e-4, 2e-5)]


def _train_tiny(parameters: Array, x: Array, y: Array, steps: int, rate: float) -> tuple[Array, Array]:
    losses = []
    for _ in range(steps):
        omegas, betas, start = [], [], 0
        for inputs, outputs in pairwise(TINY_SIZES):
            omegas.append(parameters[start : start + inputs * outputs].reshape(inputs, outputs))
            betas.append(parameters[start + inputs * outputs : start + (inputs + 1) * outputs])
            start += (inputs + 1) * outputs
        h = [x]
        for layer, (omega, beta) in enumerate(zip(omegas, betas, strict=True)):
            f = h[-1] @ omega + beta
            h.append(np.tanh(f) if layer < 3 else f)
        losses.append(((h[-1] - y) ** 2).mean())
        dl_df = 2 * (h[-1] - y) / y.size
        gradients: list[Array] = []
        for layer in (3, 2, 1, 0):
            gradients = [(h[layer].T @ dl_df).ravel(), dl_df.sum(0), *gradients]
            dl_df = (dl_df @ omegas[layer].T) * (1 - h[layer] ** 2)
        parameters = parameters - rate * np.concatenate(gradients)
    return parameters, np.array(losses)


def bfloat16(values: Array) -> tuple[Array, Array]:
    """The bits of the values rounded to bfloat16, and the values that they stand for."""
    whole = values.view(np.uint32)
    bits = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def gemm_bf16(setup: Setup, m: int = 70, n: int = 50, k: int = 37) -> list[Result]:
    """With mma.sync."""
    (a, a_values), (b, b_values) = bfloat16(normal(m, k)), bfloat16(normal(k, n, seed=1))
    c = empty((m, n))
    arguments = (asarray(a), asarray(b), c, np.int32(m), np.int32(n), np.int32(k))
    grid = (-(-n // 64), -(-m // 64))
    setup.function("gemm_bf16.cu", "gemm_bf16")(grid, (128,), arguments, **setup.launch)
    return [Result(c, a_values @ b_values, 1e-5, 1e-4)]


def gemm_wmma(setup: Setup, m: int = 32, n: int = 48, k: int = 64) -> list[Result]:
    """With nvcuda::wmma."""
    (a, a_values), (b, b_values) = bfloat16(normal(m, k)), bfloat16(normal(k, n, seed=1))
    c = empty((m, n))
    arguments = (asarray(a), asarray(b), c, np.int32(m), np.int32(n), np.int32(k))
    setup.function("gemm_wmma.cu", "gemm_wmma")((n // 16, m // 16), (32,), arguments, **setup.launch)
    return [Result(c, a_values @ b_values, 1e-5, 1e-4)]


def normalise(setup: Setup, n: int = 1000, blocks: int = 8) -> list[Result]:
    """A cooperative launch."""
    start = np.abs(normal(n))
    x, partial = asarray(start), empty(blocks)
    kernel = setup.function("normalise.cu", "normalise")
    kernel((blocks,), (128,), (x, partial, np.int64(n)), **{"cooperative": True, **setup.launch})
    return [Result(x, start / start.astype(np.float64).sum())]


def pipeline(setup: Setup, tiles: int = 5) -> list[Result]:
    """Asynchronous copies."""
    x, y = asarray(normal(128 * tiles)), empty(128 * tiles)
    setup.function("pipeline.cu", "pipeline")((1,), (32,), (x, y, np.int32(tiles)), **setup.launch)
    return [Result(y, 2 * x, 0, 0)]


def sum_by_last_block(setup: Setup, n: int = 1000, blocks: int = 6) -> list[Result]:
    """A ticket for each block."""
    x, partial, tickets, total = asarray(normal(n)), empty(blocks), zeros(1, np.uint32), empty(1)
    kernel = setup.function("last_block.cu", "sum_by_last_block")
    kernel((blocks,), (128,), (x, partial, tickets, total, np.int32(n)), **setup.launch)
    return [Result(total, x.astype(np.float64).sum(keepdims=True), 1e-4)]


def spin_barrier(setup: Setup, blocks: int = 8) -> list[Result]:
    """A barrier made of atomics."""
    written, seen, arrived = empty(blocks), empty(blocks), zeros(1, np.uint32)
    kernel = setup.function("spin_barrier.cu", "spin_barrier")
    kernel((blocks,), (32,), (written, seen, arrived), **{"cooperative": True, **setup.launch})
    return [Result(seen, np.full(blocks, blocks * (blocks + 1) / 2))]


def tile_sums(setup: Setup, size: int = 8, threads: int = 96) -> list[Result]:
    """Tiles of a warp."""
    x, y = asarray(normal(threads)), empty(threads)
    names = tuple(f"tile_sums<{n}>" for n in (2, 4, 8, 16, 32))
    setup.function("tiles.cu", f"tile_sums<{size}>", names)((1,), (threads,), (x, y), **setup.launch)
    sums = x.astype(np.float64).reshape(-1, size).sum(1)
    right = np.repeat([total * size ** (tile % 5) for tile, total in enumerate(sums)], size)
    return [Result(y, right, 1e-4, 1e-4)]
