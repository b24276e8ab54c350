"""h = a[f] and dL/df = a'[f] dL/dh, a pass each; f, h, dL/dh and dL/df are (B, D).

For the names in `GRADIENT_FROM_H` f and h are one array, and the gradient reads h; the others need f. "gelu" and
"softplus" are not here: the C library's erf and log(1 + x) take one number at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import carray, types

from gpu_mlp.backends.base import COMPILED_ACTIVATIONS
from gpu_mlp.backends.compiled import exponential
from gpu_mlp.backends.compiled.machine_code import address_of, like, loop_formula, pointer_to
from gpu_mlp.backends.reference.activations import GELU_TANH_CUBE, LEAKY_RELU_SLOPE, SQRT_2_OVER_PI

__all__ = ["activation_address", "gradient_address"]


@loop_formula
def identity(f: Any) -> Any:
    """f"""
    return f


@loop_formula
def identity_gradient(h: Any, d: Any) -> Any:
    """d"""
    return d


@loop_formula
def relu(f: Any) -> Any:
    """max(f, 0), and NaN stays NaN"""
    return like(f, 0.0) if f <= 0 else f


@loop_formula
def relu_gradient(h: Any, d: Any) -> Any:
    """d where h > 0, else 0"""
    return d if h > 0 else like(d, 0.0)


@loop_formula
def leaky_relu(f: Any) -> Any:
    """max(f, 0.01 f)"""
    return like(f, LEAKY_RELU_SLOPE) * f if f <= 0 else f


@loop_formula
def leaky_relu_gradient(h: Any, d: Any) -> Any:
    """d where h > 0, else 0.01 d"""
    return d if h > 0 else like(d, LEAKY_RELU_SLOPE) * d


@loop_formula
def elu(f: Any) -> Any:
    """f where f > 0, else exp(f) - 1"""
    below = exponential.expm1(min(f, like(f, 0.0)))
    return f if f > 0 else below


@loop_formula
def elu_gradient(h: Any, d: Any) -> Any:
    """d where h > 0, else (h + 1) d"""
    return (min(h, like(h, 0.0)) + like(h, 1.0)) * d


@loop_formula
def sigmoid_gradient(h: Any, d: Any) -> Any:
    """h (1 - h) d"""
    return (like(h, 1.0) - h) * h * d


@loop_formula
def tanh_gradient(h: Any, d: Any) -> Any:
    """(1 - h^2) d"""
    return (like(h, 1.0) - h * h) * d


@loop_formula
def gelu_tanh(f: Any) -> Any:
    """f (1 + tanh u) / 2, u = sqrt(2 / pi) (f + 0.044715 f^3)"""
    u = (like(f, SQRT_2_OVER_PI * GELU_TANH_CUBE) * f * f + like(f, SQRT_2_OVER_PI)) * f
    return (exponential.tanh(u) + like(f, 1.0)) * like(f, 0.5) * f


@loop_formula
def gelu_tanh_gradient(f: Any, d: Any) -> Any:
    """(1 + t) (1 + f u'(f) (1 - t)) / 2 d, t = tanh u, f u'(f) = sqrt(2 / pi) (f + 3 * 0.044715 f^3)"""
    one = like(f, 1.0)
    square = f * f
    t = exponential.tanh((like(f, SQRT_2_OVER_PI * GELU_TANH_CUBE) * square + like(f, SQRT_2_OVER_PI)) * f)
    inner = (like(f, 3.0 * SQRT_2_OVER_PI * GELU_TANH_CUBE) * square + like(f, SQRT_2_OVER_PI)) * f
    return (one + t) * (one + inner * (one - t)) * like(f, 0.5) * d


@loop_formula
def silu(f: Any) -> Any:
    """f s(f), s the sigmoid"""
    return exponential.sigmoid(f) * f


@loop_formula
def silu_gradient(f: Any, d: Any) -> Any:
    """s (1 + f (1 - s)) d"""
    s = exponential.sigmoid(f)
    one = like(f, 1.0)
    return s * (one + f * (one - s)) * d


Loop = Callable[..., None]


def _in_place(formula: Callable[..., Any]) -> Loop:
    """h <- a[f + beta], where f and h are one array: a loop over two that may be one would not become vectors."""

    def loop(f: Any, beta: Any, h: Any, rows: int, columns: int) -> None:
        f_bo, beta_o = carray(f, (rows, columns)), carray(beta, columns)
        for b in range(rows):
            for o in range(columns):
                f_bo[b, o] = formula(f_bo[b, o] + beta_o[o])

    return loop


def _beside(formula: Callable[..., Any]) -> Loop:
    """f <- f + beta, h <- a[f]"""

    def loop(f: Any, beta: Any, h: Any, rows: int, columns: int) -> None:
        f_bo, beta_o, h_bo = carray(f, (rows, columns)), carray(beta, columns), carray(h, (rows, columns))
        for b in range(rows):
            for o in range(columns):
                value = f_bo[b, o] + beta_o[o]
                f_bo[b, o] = value
                h_bo[b, o] = formula(value)

    return loop


def _gradient(formula: Callable[..., Any]) -> Loop:
    """d <- a'[f] d, from f, or from h where both are one array"""

    def loop(f: Any, d: Any, size: int) -> None:
        f_i, d_i = carray(f, size), carray(d, size)
        for i in range(size):
            d_i[i] = formula(f_i[i], d_i[i])

    return loop


_LOOPS: dict[str, tuple[Loop, Loop]] = {
    "identity": (_in_place(identity), _gradient(identity_gradient)),
    "relu": (_in_place(relu), _gradient(relu_gradient)),
    "leaky_relu": (_in_place(leaky_relu), _gradient(leaky_relu_gradient)),
    "elu": (_in_place(elu), _gradient(elu_gradient)),
    "sigmoid": (_in_place(exponential.sigmoid), _gradient(sigmoid_gradient)),
    "tanh": (_in_place(exponential.tanh), _gradient(tanh_gradient)),
    "gelu_tanh": (_beside(gelu_tanh), _gradient(gelu_tanh_gradient)),
    "silu": (_beside(silu), _gradient(silu_gradient)),
}
assert tuple(_LOOPS) == COMPILED_ACTIVATIONS


@cache
def activation_address(name: str, dtype: str) -> int:
    """Of (f, beta, h, B, D), which adds the bias to f and writes h."""
    number = pointer_to(dtype)
    return address_of(_LOOPS[name][0], f"{name}_{dtype}", number, number, number, types.int64, types.int64)


@cache
def gradient_address(name: str, dtype: str) -> int:
    """Of (f, d, B D), which makes dL/df of dL/dh."""
    number = pointer_to(dtype)
    return address_of(_LOOPS[name][1], f"{name}_gradient_{dtype}", number, number, types.int64)
