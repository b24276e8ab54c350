"""Every activation and its gradient, for any array module.

`value` writes h = a[f]; `gradient` writes dL/df = a'[f] * dL/dh from f and h, whichever is cheaper. All arrays are
(B, D). For the names in `GRADIENT_FROM_H`, h may be the memory of f and dl_df that of dl_dh. Only analytic branches of
`maximum` and `minimum` are used, which compare complex numbers by their real part, so `value` also works on complex
arrays for the complex step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from gpu_mlp.backends.base import ACTIVATION_NAMES, Array
from gpu_mlp.backends.records import LayerScratch

__all__ = ["ELU_ALPHA", "LEAKY_RELU_SLOPE", "Activation", "bind_activations", "sigmoid_into"]

LEAKY_RELU_SLOPE = 0.01
ELU_ALPHA = 1.0
GELU_TANH_CUBE = 0.044715
SQRT_HALF = math.sqrt(0.5)
SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
INV_SQRT_2_PI = 1.0 / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Activation:
    """h = a[f] and dL/df = a'[f] * dL/dh, bound to an array module."""

    value: Callable[[Array, Array, LayerScratch], None]
    gradient: Callable[[Array, Array, Array, Array, LayerScratch], None]


def identity(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = f"""
    h[...] = f


def identity_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, _: LayerScratch) -> None:
    """a'[f] = 1"""
    dl_df[...] = dl_dh


def relu(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = max(f, 0)"""
    xp.maximum(f, 0.0, out=h)


def relu_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch) -> None:
    """a'[f] = 1 where f > 0, which is where h > 0, else 0; in particular a'[0] = 0"""
    xp.greater(h, 0.0, out=scratch.mask)
    xp.multiply(dl_dh, scratch.mask, out=dl_df)


def leaky_relu(xp: Any, f: Array, h: Array, scratch: LayerScratch) -> None:
    """a[f] = max(f, 0.01 f)"""
    xp.multiply(f, LEAKY_RELU_SLOPE, out=scratch.values)
    xp.maximum(f, scratch.values, out=h)


def leaky_relu_gradient(
    xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch
) -> None:
    """a'[f] = 1 where f > 0, which is where h > 0, else 0.01"""
    slope = scratch.values
    xp.greater(h, 0.0, out=slope)
    xp.multiply(slope, 1.0 - LEAKY_RELU_SLOPE, out=slope)
    xp.add(slope, LEAKY_RELU_SLOPE, out=slope)
    xp.multiply(slope, dl_dh, out=dl_df)


def elu(xp: Any, f: Array, h: Array, scratch: LayerScratch) -> None:
    """a[f] = f where f > 0, else exp(f) - 1 (Clevert et al., 2016): the larger of the two, since exp(f) - 1 >= f"""
    below = scratch.values
    xp.minimum(f, 0.0, out=below)
    xp.expm1(below, out=below)
    xp.maximum(f, below, out=h)


def elu_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch) -> None:
    """a'[f] = 1 where f > 0, else exp(f) = h + 1"""
    slope = scratch.values
    xp.minimum(h, 0.0, out=slope)
    xp.add(slope, 1.0, out=slope)
    xp.multiply(slope, dl_dh, out=dl_df)


@cache
def largest_exponent(dtype: np.dtype[Any]) -> float:
    """An x for which exp(x) is still finite in `dtype`, and about a third of its largest number."""
    return math.log(float(np.finfo(dtype).max)) - 1.0


def sigmoid_into(xp: Any, f: Array, out: Array) -> None:
    """1 / (1 + exp(-f)), with f bounded below so that the exponential stays finite"""
    xp.maximum(f, -largest_exponent(f.dtype), out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.add(out, 1.0, out=out)
    xp.divide(1.0, out, out=out)


def sigmoid(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = 1 / (1 + exp(-f))"""
    sigmoid_into(xp, f, h)


def sigmoid_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch) -> None:
    """a'[f] = h (1 - h)"""
    slope = scratch.values
    xp.subtract(1.0, h, out=slope)
    xp.multiply(slope, h, out=slope)
    xp.multiply(slope, dl_dh, out=dl_df)


def tanh(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = tanh(f)"""
    xp.tanh(f, out=h)


def tanh_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch) -> None:
    """a'[f] = 1 - h^2"""
    slope = scratch.values
    xp.multiply(h, h, out=slope)
    xp.subtract(1.0, slope, out=slope)
    xp.multiply(slope, dl_dh, out=dl_df)


def gelu(xp: Any, f: Array, h: Array, _: LayerScratch, *, erf: Callable[..., Any]) -> None:
    """a[f] = f Phi(f), Phi(f) = (1 + erf(f / sqrt 2)) / 2 (Hendrycks and Gimpel, 2016)"""
    xp.multiply(f, SQRT_HALF, out=h)
    erf(h, out=h)
    xp.add(h, 1.0, out=h)
    xp.multiply(h, 0.5, out=h)
    xp.multiply(h, f, out=h)


def gelu_gradient(
    xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch, *, erf: Callable[..., Any]
) -> None:
    """a'[f] = Phi(f) + f phi(f), phi(f) = exp(-f^2 / 2) / sqrt(2 pi)"""
    xp.multiply(f, f, out=dl_df)
    xp.multiply(dl_df, -0.5, out=dl_df)
    xp.exp(dl_df, out=dl_df)
    xp.multiply(dl_df, INV_SQRT_2_PI, out=dl_df)
    xp.multiply(dl_df, f, out=dl_df)  # f phi(f)
    cdf = scratch.values
    xp.multiply(f, SQRT_HALF, out=cdf)
    erf(cdf, out=cdf)
    xp.add(cdf, 1.0, out=cdf)
    xp.multiply(cdf, 0.5, out=cdf)  # Phi(f)
    xp.add(dl_df, cdf, out=dl_df)
    xp.multiply(dl_df, dl_dh, out=dl_df)


def gelu_tanh(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = f (1 + tanh u) / 2, u = sqrt(2 / pi) (f + 0.044715 f^3)"""
    xp.multiply(f, f, out=h)
    xp.multiply(h, SQRT_2_OVER_PI * GELU_TANH_CUBE, out=h)
    xp.add(h, SQRT_2_OVER_PI, out=h)
    xp.multiply(h, f, out=h)
    xp.tanh(h, out=h)
    xp.add(h, 1.0, out=h)
    xp.multiply(h, 0.5, out=h)
    xp.multiply(h, f, out=h)


def gelu_tanh_gradient(
    xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch
) -> None:
    """a'[f] = (1 + t) (1 + f u'(f) (1 - t)) / 2, t = tanh u, f u'(f) = sqrt(2 / pi) (f + 3 * 0.044715 f^3)"""
    t = scratch.values
    xp.multiply(f, f, out=t)
    xp.multiply(t, 3.0 * SQRT_2_OVER_PI * GELU_TANH_CUBE, out=dl_df)
    xp.add(dl_df, SQRT_2_OVER_PI, out=dl_df)
    xp.multiply(dl_df, f, out=dl_df)  # f u'(f)
    xp.multiply(t, SQRT_2_OVER_PI * GELU_TANH_CUBE, out=t)
    xp.add(t, SQRT_2_OVER_PI, out=t)
    xp.multiply(t, f, out=t)
    xp.tanh(t, out=t)
    xp.subtract(1.0, t, out=t)  # 1 - t
    xp.multiply(dl_df, t, out=dl_df)
    xp.add(dl_df, 1.0, out=dl_df)
    xp.subtract(2.0, t, out=t)  # 1 + t
    xp.multiply(dl_df, t, out=dl_df)
    xp.multiply(dl_df, 0.5, out=dl_df)
    xp.multiply(dl_df, dl_dh, out=dl_df)


def silu(xp: Any, f: Array, h: Array, _: LayerScratch) -> None:
    """a[f] = f s(f), s the sigmoid (Elfwing et al., 2018; "swish")"""
    sigmoid_into(xp, f, h)
    xp.multiply(h, f, out=h)


def silu_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, scratch: LayerScratch) -> None:
    """a'[f] = s (1 + f (1 - s))"""
    s = scratch.values
    sigmoid_into(xp, f, s)
    xp.subtract(1.0, s, out=dl_df)
    xp.multiply(dl_df, f, out=dl_df)
    xp.add(dl_df, 1.0, out=dl_df)
    xp.multiply(dl_df, s, out=dl_df)
    xp.multiply(dl_df, dl_dh, out=dl_df)


def softplus(xp: Any, f: Array, h: Array, scratch: LayerScratch) -> None:
    """a[f] = log(1 + exp(f)) = max(f, 0) + log(1 + exp(-|f|))"""
    xp.negative(f, out=h)
    xp.minimum(f, h, out=h)  # -|f|
    xp.exp(h, out=h)
    xp.log1p(h, out=h)
    xp.maximum(f, 0.0, out=scratch.values)
    xp.add(h, scratch.values, out=h)


def softplus_gradient(xp: Any, f: Array, h: Array, dl_dh: Array, dl_df: Array, _: LayerScratch) -> None:
    """a'[f] = 1 / (1 + exp(-f))"""
    sigmoid_into(xp, f, dl_df)
    xp.multiply(dl_df, dl_dh, out=dl_df)


_FORMULAS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "identity": (identity, identity_gradient),
    "relu": (relu, relu_gradient),
    "leaky_relu": (leaky_relu, leaky_relu_gradient),
    "elu": (elu, elu_gradient),
    "sigmoid": (sigmoid, sigmoid_gradient),
    "tanh": (tanh, tanh_gradient),
    "gelu": (gelu, gelu_gradient),
    "gelu_tanh": (gelu_tanh, gelu_tanh_gradient),
    "silu": (silu, silu_gradient),
    "softplus": (softplus, softplus_gradient),
}


def bind_activations(xp: Any, erf: Callable[..., Any]) -> dict[str, Activation]:
    """Every activation for the array module `xp`; `erf` is its error function, which NumPy itself lacks."""
    extra = {"gelu": {"erf": erf}}
    return {
        name: Activation(*(partial(formula, xp, **extra.get(name, {})) for formula in _FORMULAS[name]))
        for name in ACTIVATION_NAMES
    }
