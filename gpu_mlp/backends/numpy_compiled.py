"""What Numba, where it is installed, makes one pass over memory of: Adam's update, ten passes in NumPy.

It is imported with the first update that is large enough to be worth its start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array, OptimizerPrimitive
from gpu_mlp.backends.reference.optimizers import adam_constants, decay

__all__ = ["FEWEST_PARAMETERS", "one_pass_adam"]

logger = logging.getLogger("gpu_mlp")

# Importing and compiling takes about a second; below this many elements an update saves less than 0.1 ms.
FEWEST_PARAMETERS = 1 << 16


def _adam(p: Array, g: Array, m: Array, v: Array, beta1: Any, beta2: Any, epsilon: Any, rate: Any) -> None:
    for i in range(p.size):
        m[i] = beta1 * m[i] + g[i]
        v[i] = beta2 * v[i] + g[i] * g[i]
        p[i] -= rate * m[i] / (np.sqrt(v[i]) + epsilon)


@cache
def _compiled_adam() -> Any:
    """The loop as machine code, or None where Numba cannot be imported."""
    try:
        import numba
    except ImportError as error:
        logger.info("Adam runs in several passes, since Numba cannot be imported: %s", error)
        return None
    # "contract" allows a multiplication and an addition to be one operation, and no other change of the sums.
    return numba.njit(_adam, nogil=True, fastmath={"contract"}, error_model="numpy")


def one_pass_adam(reference: OptimizerPrimitive) -> OptimizerPrimitive:
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
        compiled = _compiled_adam() if parameters.size >= FEWEST_PARAMETERS else None
        if compiled is None:
            reference(
                parameters, gradients, state, scratch, learning_rate=learning_rate, step=step, **constants
            )
            return
        beta1, beta2 = constants["beta1"], constants["beta2"]
        decays = {name: constants[name] for name in ("weight_decay", "decoupled")}
        decay(np, parameters, gradients, scratch, learning_rate=learning_rate, **decays)
        rate, epsilon = adam_constants(learning_rate, step, beta1, beta2, constants["epsilon"])
        compiled(parameters, gradients, *state, *map(parameters.dtype.type, (beta1, beta2, epsilon, rate)))

    return adam
