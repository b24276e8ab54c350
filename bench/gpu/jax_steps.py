"""JAX's contestants: a jitted step, and a jitted scan over steps.

tf32 is a setting of float32's products. In bf16 and fp16 the loss is one of parameters and inputs that are cast to the
half type, so that their gradients are cast back; fp16 has a loss scale that stays as it is.
"""

from __future__ import annotations

import math
import os
from typing import Any

from gpu.problems import BETA1, BETA2, EPSILON, FIRST_SCALE, Problem

__all__ = ["jax_jit", "jax_scan"]

SCANNED_STEPS = 16


class JaxSteps:
    """The step as one jitted function of (parameters, Adam's averages, step), whose memory is given away."""

    steps_a_call = 1

    def __init__(self, problem: Problem, device: str) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        strict = problem.precision in ("float32", "float64")
        jax.config.update("jax_default_matmul_precision", "highest" if strict else "tensorfloat32")
        jax.config.update("jax_enable_x64", problem.dtype == "float64")
        self.jax = jax
        platform = "cpu" if device == "cpu" else "gpu"
        self.on = jax.devices(platform)[0]
        network = problem.network("cpu")
        pairs = list(zip(network.weights, network.biases, strict=True))
        parameters = jax.device_put([(omega.copy(), beta.copy()) for omega, beta in pairs], self.on)
        # Buffers that are given away must be different ones.
        zeros = [jax.tree.map(jax.numpy.zeros_like, parameters) for _ in range(2)]
        count = jax.numpy.zeros((), jax.numpy.int32)
        self.state = jax.device_put((parameters, *zeros, count), self.on)
        x, y = problem.data()
        self.batch = jax.device_put((x, y.astype("int32") if y.ndim == 1 else y), self.on)
        self._compiled = jax.jit(self._function(problem), donate_argnums=0)

    def _function(self, problem: Problem) -> Any:
        return _step_function(self.jax, problem)

    def prepare(self) -> None:
        """Compile without running."""
        self._compiled = self._compiled.lower(self.state, self.batch).compile()

    def losses(self, count: int) -> list[float]:
        """Of the next steps, `count` or, in whole calls, a few more, which are not returned."""
        values: list[float] = []
        while len(values) < count:
            self.state, loss = self._compiled(self.state, self.batch)
            values += [float(each) for each in self.jax.numpy.atleast_1d(loss)]
        return values[:count]

    def run(self, steps: int) -> None:
        """Steps, and then wait for the device."""
        for _ in range(max(1, round(steps / self.steps_a_call))):
            self.state, loss = self._compiled(self.state, self.batch)
        self.jax.block_until_ready((self.state, loss))


class JaxScan(JaxSteps):
    """So many steps in one call as gpu_mlp puts into a launch."""

    steps_a_call = SCANNED_STEPS

    def _function(self, problem: Problem) -> Any:
        jax, step = self.jax, _step_function(self.jax, problem)

        def steps(state: Any, batch: Any) -> Any:
            return jax.lax.scan(lambda carry, _: step(carry, batch), state, length=SCANNED_STEPS)

        return steps


def _loss_function(jax: Any, problem: Problem) -> Any:
    """The mean loss of (parameters, x, y), whose factors are of the half type where there is one.

    The last product is rounded too, as by autocast: had it a preferred_element_type of float32, the backward pass would
    multiply float32 by the half type, which is more work than others do.
    """
    numpy = jax.numpy
    factors = {"bf16": "bfloat16", "fp16": "float16"}.get(problem.precision, problem.dtype)

    def mean_loss(parameters: Any, x: Any, y: Any) -> Any:
        h = x.astype(factors)
        for omega, beta in parameters[:-1]:
            h = jax.nn.relu(h @ omega.astype(factors).T + beta.astype(factors))
        omega, beta = parameters[-1]
        f = (h @ omega.astype(factors).T).astype(problem.dtype) + beta
        if problem.loss == "squared_error":
            return numpy.mean((f - y) ** 2)
        picked = numpy.take_along_axis(jax.nn.log_softmax(f), y[:, None], axis=1)
        return -numpy.mean(picked)

    return mean_loss


def _step_function(jax: Any, problem: Problem) -> Any:
    numpy, mean_loss = jax.numpy, _loss_function(jax, problem)
    scale = FIRST_SCALE if problem.precision == "fp16" else 1.0

    def loss_and_gradients(parameters: Any, x: Any, y: Any) -> Any:
        if scale == 1.0:
            return jax.value_and_grad(mean_loss)(parameters, x, y)
        loss, gradients = jax.value_and_grad(lambda *given: scale * mean_loss(*given))(parameters, x, y)
        return loss / scale, jax.tree.map(lambda g: g / scale, gradients)

    def step(state: Any, batch: Any) -> Any:
        parameters, mean, square, count = state
        loss, gradients = loss_and_gradients(parameters, *batch)
        count = count + 1
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradients)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, gradients)
        at = count.astype(problem.dtype)
        # 1 - beta^step, whose difference would lose half of float32's digits in the first steps.
        first, second = (-numpy.expm1(at * math.log(beta)) for beta in (BETA1, BETA2))
        parameters = jax.tree.map(
            lambda p, m, v: p - problem.learning_rate * (m / first) / (numpy.sqrt(v / second) + EPSILON),
            parameters,
            mean,
            square,
        )
        return (parameters, mean, square, count), loss

    return step


def jax_jit(problem: Problem, device: str) -> JaxSteps:
    """One step a call."""
    return JaxSteps(problem, device)


def jax_scan(problem: Problem, device: str) -> JaxSteps:
    """16 steps a call."""
    return JaxScan(problem, device)
