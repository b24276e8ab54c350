"""What is compiled for the processor where Numba is installed, and when.

`backends.compiled` has the loops. It is imported with the first step, or the first call that is large enough to be
worth it; this module does without Numba.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from gpu_mlp.backends.base import COMPILED_ACTIVATIONS, GRADIENT_FROM_H, Ops
from gpu_mlp.backends.records import Array, Dropout, LayerBelow, LayerScratch

__all__ = [
    "FEWEST_ELEMENTS",
    "can_compile",
    "has_numba",
    "one_pass_adam",
    "one_pass_backward",
    "one_pass_forward",
]

logger = logging.getLogger("gpu_mlp")

# Importing and compiling takes about a second; below this many elements a call saves less than 0.1 ms.
FEWEST_ELEMENTS = 1 << 16


@cache
def has_numba() -> bool:
    """Whether Numba can be imported; the log says why it cannot."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        logger.info(
            "steps on the CPU take a pass for each operation, since Numba cannot be imported: %s", error
        )
        return False
    return True


def can_compile(ops: Ops, activations: Iterable[str]) -> bool:
    """Whether steps and predictions of such a network can be compiled for the processor."""
    is_plain = ops.name == "numpy" and ops.factor_dtype is None
    return is_plain and all(name in COMPILED_ACTIVATIONS for name in activations) and has_numba()


def _is_worth_it(array: Array, activation: str = "identity") -> bool:
    known = activation in GRADIENT_FROM_H and activation in COMPILED_ACTIVATIONS
    return array.size >= FEWEST_ELEMENTS and known and has_numba()


def one_pass_forward(reference: Callable[..., None]) -> Callable[..., None]:
    """`reference`, which is NumPy's `layer_forward`, or its product and a compiled loop for a large layer.

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
        if h_next is not f or dropout is not None or not _is_worth_it(f, activation):
            reference(h, omega, beta, activation, f, h_next, scratch, dropout)
            return
        from gpu_mlp.backends.compiled.activations import activation_address
        from gpu_mlp.backends.compiled.machine_code import callable_at

        np.dot(h, omega.T, out=f)
        loop = callable_at(activation_address(activation, f.dtype.name), *[ctypes.c_int64] * 5)
        loop(f.ctypes.data, beta.ctypes.data, f.ctypes.data, *f.shape)

    return layer_forward


def one_pass_backward(reference: Callable[..., None]) -> Callable[..., None]:
    """`reference`, which is NumPy's `layer_backward`, or its products and a compiled loop for a large layer.

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
        in_place = below is not None and below.dl_dh is below.dl_df and below.dropout is None
        if below is None or not in_place or not _is_worth_it(below.h, below.activation):
            reference(dl_df, h, omega, scratch, dl_domega, dl_dbeta, below)
            return
        from gpu_mlp.backends.compiled.activations import gradient_address
        from gpu_mlp.backends.compiled.machine_code import callable_at

        reference(dl_df, h, omega, scratch, dl_domega, dl_dbeta, None)
        np.dot(dl_df, omega, out=below.dl_dh)
        loop = callable_at(gradient_address(below.activation, h.dtype.name), *[ctypes.c_int64] * 3)
        loop(below.h.ctypes.data, below.dl_dh.ctypes.data, below.h.size)

    return layer_backward


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
        if not _is_worth_it(parameters):
            reference(
                parameters, gradients, state, scratch, learning_rate=learning_rate, step=step, **constants
            )
            return
        from gpu_mlp.backends.compiled.machine_code import callable_at
        from gpu_mlp.backends.compiled.optimizers import constants_of, optimizer_address

        whole, number = ctypes.c_int64, ctypes.c_double
        address = optimizer_address("adam", parameters.dtype.name)
        loop = callable_at(address, *[whole] * 6, number, whole)
        packed = constants_of(constants)
        where = (each.ctypes.data for each in (parameters, gradients, *state))
        loop(*where, parameters.size, packed.ctypes.data, learning_rate, step)

    return adam
