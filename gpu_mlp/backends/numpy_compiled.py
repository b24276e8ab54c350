"""What Numba, where it is installed, makes one pass over memory of.

Adam's update, which takes NumPy ten passes; bias and ReLU, and ReLU's gradient, two each. It is imported with the first
call that is large enough to be worth its start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gpu_mlp.backends.records import Array, Dropout, LayerBelow, LayerScratch
from gpu_mlp.backends.reference.optimizers import adam_constants, decay

__all__ = ["FEWEST_ELEMENTS", "one_pass_adam", "one_pass_relu_backward", "one_pass_relu_forward"]

logger = logging.getLogger("gpu_mlp")

# Importing and compiling takes about a second; below this many elements a call saves less than 0.1 ms.
FEWEST_ELEMENTS = 1 << 16


def _adam(p: Array, g: Array, m: Array, v: Array, beta1: Any, beta2: Any, epsilon: Any, rate: Any) -> None:
    for i in range(p.size):
        m[i] = beta1 * m[i] + g[i]
        v[i] = beta2 * v[i] + g[i] * g[i]
        p[i] -= rate * m[i] / (np.sqrt(v[i]) + epsilon)


def _bias_relu(f: Array, beta: Array) -> None:
    """In place: a loop over two arrays that may be one is not vectorised."""
    for b in range(f.shape[0]):
        for o in range(f.shape[1]):
            value = f[b, o] + beta[o]
            f[b, o] = 0 if value <= 0 else value  # and NaN stays NaN


def _relu_gradient(h: Array, dl_dh: Array) -> None:
    """In place."""
    for b in range(h.shape[0]):
        for i in range(h.shape[1]):
            dl_dh[b, i] = dl_dh[b, i] if h[b, i] > 0 else 0


@cache
def _numba() -> Any:
    """The module, or None where it cannot be imported."""
    try:
        import numba
    except ImportError as error:
        logger.info("large layers and Adam take several passes, since Numba cannot be imported: %s", error)
        return None
    return numba


@cache
def _compiled(loop: Callable[..., None]) -> Any:
    """The loop as machine code, or None without Numba."""
    numba = _numba()
    # "contract" allows a multiplication and an addition to be one operation, and no other change of the sums.
    return numba and numba.njit(loop, nogil=True, fastmath={"contract"}, error_model="numpy")


def one_pass_relu_forward(reference: Callable[..., None]) -> Callable[..., None]:
    """`reference`, which is NumPy's `layer_forward`, or its product and a compiled loop for a large ReLU layer.

    Only where f_k and h_{k+1} share memory and nothing is dropped, as in a training step or a prediction.
    """

    def layer_forward(
        h: Array,
        omega: Array,
        beta: Array,
        activation: str,
        f: Array,
        h_next: Array | None,
        scratch: LayerScratch,
        dropout: Dropout | None,
    ) -> None:
        fits = activation == "relu" and h_next is f and dropout is None and f.size >= FEWEST_ELEMENTS
        compiled = _compiled(_bias_relu) if fits else None
        if compiled is None:
            reference(h, omega, beta, activation, f, h_next, scratch, dropout)
            return
        np.dot(h, omega.T, out=f)
        compiled(f, beta)

    return layer_forward


def one_pass_relu_backward(reference: Callable[..., None]) -> Callable[..., None]:
    """`reference`, which is NumPy's `layer_backward`, or its products and a compiled loop for a large ReLU layer.

    Only where dL/dh_k and dL/df_{k-1} share memory and nothing is dropped, as in a training step.
    """

    def layer_backward(
        dl_df: Array,
        h: Array,
        omega: Array,
        scratch: LayerScratch,
        dl_domega: Array,
        dl_dbeta: Array,
        below: LayerBelow | None,
    ) -> None:
        compiled = _compiled(_relu_gradient) if below is not None and _is_large_relu(below) else None
        if below is None or compiled is None:
            reference(dl_df, h, omega, scratch, dl_domega, dl_dbeta, below)
            return
        reference(dl_df, h, omega, scratch, dl_domega, dl_dbeta, None)
        np.dot(dl_df, omega, out=below.dl_dh)
        compiled(below.h, below.dl_dh)

    return layer_backward


def _is_large_relu(below: LayerBelow) -> bool:
    in_place = below.activation == "relu" and below.dl_dh is below.dl_df and below.dropout is None
    return in_place and below.h.size >= FEWEST_ELEMENTS


def one_pass_adam(reference: Callable[..., None]) -> Callable[..., None]:
    """`reference`, which is NumPy's Adam, or the compiled loop where there are many parameters."""

    def adam(
        parameters: Array,
        gradients: Array,
        state: Sequence[Array],
        scratch: Array,
        *,
        learning_rate: float,
        step: int,
        **constants: float,
    ) -> None:
        compiled = _compiled(_adam) if parameters.size >= FEWEST_ELEMENTS else None
        if compiled is None:
            reference(
                parameters, gradients, state, scratch, learning_rate=learning_rate, step=step, **constants
            )
            return
        beta1, beta2 = constants["beta1"], constants["beta2"]
        decays = {name: constants[name] for name in ("weight_decay", "decoupled")}
        decay(np, parameters, gradients, scratch, learning_rate=learning_rate, **decays)
        epsilons = constants["epsilon"], constants["epsilon_hat"]
        rate, epsilon = adam_constants(learning_rate, step, beta1, beta2, *epsilons)
        compiled(parameters, gradients, *state, *map(parameters.dtype.type, (beta1, beta2, epsilon, rate)))

    return adam
