"""JAX on the CPU: one jitted function for a whole step, with Adam written out."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.cases import EPOCHS, Case, Data, Problem
from gpu_mlp.benchmark.contestants.base import Fit, Peer, UnableError, Work

__all__ = ["Jax"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Jax(Peer):
    """XLA decides on threads when it is loaded, by the processors that the process may use."""

    name = "jax"

    def missing(self) -> str:
        """Why it cannot take part."""
        return "" if find_spec("jax") is not None else "JAX is not installed"

    def set_threads(self, threads: int) -> None:
        """It has no setting for that."""

    def set_up(self, case: Case, data: Data) -> Work:
        """The parameters as a list of pairs, and the function, not yet compiled."""
        import jax

        if case.precision == "float64" and not jax.config.jax_enable_x64:
            jax.config.update("jax_enable_x64", True)
        if case.precision not in ("float32", "float64"):
            raise UnableError(f"the step in {case.precision} is not written for JAX on the CPU")
        device = jax.devices("cpu")[0]
        put = partial(jax.device_put, device=device)
        parameters = [(put(omega), put(beta)) for omega, beta in zip(data.weights, data.biases, strict=True)]
        if case.task == "inference":
            return _Inference(jax.jit(_forward), parameters, put(data.x))
        kind = _Fit if case.task == "fit" else _Training
        return kind(case, parameters, put(data.x), put(data.y))


def _forward(parameters: Any, x: Any) -> Any:
    import jax

    *hidden, (omega, beta) = parameters
    for weights, biases in hidden:
        x = jax.nn.relu(x @ weights.T + biases)  # whose derivative at 0 is 0, as ours
    return x @ omega.T + beta


def _loss(parameters: Any, x: Any, y: Any, *, regression: bool) -> Any:
    import jax
    import jax.numpy as jnp

    f = _forward(parameters, x)
    if regression:
        return jnp.mean((f - y) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(f), y[:, None], axis=1))


def _adam(state: Any, x: Any, y: Any, *, problem: Problem) -> Any:
    import jax
    import jax.numpy as jnp

    step, parameters, first, second = state
    loss, gradients = jax.value_and_grad(partial(_loss, regression=problem.is_regression))(parameters, x, y)
    step = step + 1
    each = jax.tree_util.tree_map
    first = each(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
    second = each(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
    of_first, of_second = 1 - BETA1**step, 1 - BETA2**step

    def moved(p: Any, m: Any, v: Any) -> Any:
        return (p - problem.learning_rate * (m / of_first) / (jnp.sqrt(v / of_second) + EPSILON)).astype(
            p.dtype
        )

    return (step, each(moved, parameters, first, second), first, second), loss


def _start(parameters: Any, dtype: Any) -> Any:
    """Adam's state before the first step, in memory of its own."""
    import jax
    import jax.numpy as jnp

    each = jax.tree_util.tree_map
    return (
        jnp.asarray(0.0, dtype),
        each(jnp.array, parameters),
        *(each(jnp.zeros_like, parameters) for _ in range(2)),
    )


class _Training:
    def __init__(self, case: Case, parameters: Any, x: Any, y: Any) -> None:
        import jax

        self._step = jax.jit(partial(_adam, problem=case.problem), donate_argnums=0)
        self._state = _start(parameters, x.dtype)
        self._x, self._y, self._loss = x, y, None

    def run(self, count: int) -> None:
        for _ in range(count):
            self._state, self._loss = self._step(self._state, self._x, self._y)
        self._loss.block_until_ready()  # type: ignore[attr-defined]

    def result(self) -> NDArray[Any]:
        return np.asarray(self._loss)


class _Inference:
    def __init__(self, forward: Any, parameters: Any, x: Any) -> None:
        self._forward, self._parameters, self._x = forward, parameters, x
        self._outputs: Any = None

    def run(self, count: int) -> None:
        for _ in range(count):
            self._outputs = self._forward(self._parameters, self._x)
        self._outputs.block_until_ready()

    def result(self) -> NDArray[Any]:
        return np.asarray(self._outputs)


class _Fit(Fit):
    """An epoch is one jitted function, which scans over the batches."""

    def __init__(self, case: Case, parameters: Any, x: Any, y: Any) -> None:
        import jax

        batches = len(x) // case.batch
        step = partial(_adam, problem=case.problem)

        def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
            def one(state: Any, rows: Any) -> Any:
                return step(state, x[rows], y[rows])

            state, losses = jax.lax.scan(one, state, order.reshape(batches, case.batch))
            return state, losses.mean()

        self._epoch = jax.jit(epoch, donate_argnums=0)
        self._parameters, self._x, self._y = parameters, x, y
        self._key = jax.random.key(0)

    def losses(self, *, shuffle: bool) -> list[float]:
        import jax
        import jax.numpy as jnp

        state, losses, order = _start(self._parameters, self._x.dtype), [], jnp.arange(len(self._x))
        for _ in range(EPOCHS):
            if shuffle:
                self._key, key = jax.random.split(self._key)
                order = jax.random.permutation(key, len(self._x))
            state, loss = self._epoch(state, self._x, self._y, order)
            losses.append(loss)
        return [float(loss) for loss in losses]
