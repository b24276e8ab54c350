"""What an estimator has at work between two calls: its network on a device, and the state of its optimizer.

None of it is pickled: a fitted estimator is its coefficients, and the optimizer's numbers on the host.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.backends.select import device_ops
from gpu_mlp.config import NetworkConfig
from gpu_mlp.errors import DeviceError
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.network.network import Network

__all__ = ["OptimizerMemory", "Session", "initial_parameters"]

logger = logging.getLogger("gpu_mlp")


def initial_parameters(
    random_state: Any, activations: str | Sequence[str], sizes: Sequence[int], dtype: Any
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Glorot's uniform weights (in, out) and biases, drawn in scikit-learn's order."""
    coefs, intercepts = [], []
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        # scikit-learn's bound is that of the hidden layers' one activation.
        names = (activations,) if isinstance(activations, str) else activations or ("identity",)
        name = names[min(k, len(names) - 1)]
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (fan_in + fan_out))
        coefs.append(random_state.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype, copy=False))
        intercepts.append(random_state.uniform(-bound, bound, fan_out).astype(dtype, copy=False))
    return coefs, intercepts


@dataclass
class OptimizerMemory:
    """What an optimizer knows from its last step: picklable, and the same on every device.

    learning_rate: of the next epoch; scikit-learn's tests read it.
    """

    learning_rate: float
    steps: int = 0
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def keep(self, step: TrainingStep) -> None:
        """Copy the state of a step that will do no more."""
        state = step.optimizer
        self.steps = state.step
        self.arrays = {name: np.array(step.network.ops.to_host(each)) for name, each in state.arrays.items()}

    def give(self, step: TrainingStep) -> None:
        """Let another step go on where the last one ended."""
        state = step.optimizer
        state.step = self.steps
        for name, array in self.arrays.items():
            state.arrays[name][...] = step.network.ops.to_device(array)


class Session:
    """A network on a device with the coefficients of an estimator, (in, out) as scikit-learn has them.

    elsewhere: whether the CPU stands in for a device that is not here.
    """

    def __init__(
        self,
        config: NetworkConfig,
        coefs: Sequence[Any],
        intercepts: Sequence[Any],
        device: str,
        *,
        elsewhere: bool = False,
    ) -> None:
        self.config, self.asked, self.stands_in = config, device, False
        if elsewhere:
            device = self._device_or_cpu(device)
        weights = [np.asarray(each).T for each in coefs]
        self.network = Network.from_parameters(config, weights, list(intercepts), device)
        self._shown: list[Any] = []
        self.show()

    def _device_or_cpu(self, device: str) -> str:
        try:
            device_ops(device)
        except DeviceError as error:
            self.stands_in = True
            logger.warning("a model that was fitted on a GPU predicts on the CPU: %s", error)
            return "cpu"
        return device

    def serves(self, config: NetworkConfig, device: str, *, to_predict: bool) -> bool:
        """Whether it is the network that is asked for; the CPU stands in for a GPU only to predict."""
        return (self.config, self.asked) == (config, device) and (to_predict or not self.stands_in)

    def show(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """The coefficients and intercepts as they are now: views of the network's memory on the CPU.

        From a GPU they are copies that cannot be written to, since nobody would see it; assign others instead.
        """
        ops, network = self.network.ops, self.network
        arrays = [np.asarray(ops.to_host(each)) for each in (*network.weights, *network.biases)]
        if network.device != "cpu":
            arrays = [array.copy() for array in arrays]
            for array in arrays:
                array.flags.writeable = False
        layers = len(network.weights)
        coefs, intercepts = [each.T for each in arrays[:layers]], arrays[layers:]
        self._shown = [*coefs, *intercepts]
        return coefs, intercepts

    def read(self, coefs: Sequence[Any], intercepts: Sequence[Any]) -> None:
        """Take over arrays that were assigned since they were shown. Raises ShapeError where one does not fit."""
        given = [*coefs, *intercepts]
        if len(given) == len(self._shown) and all(a is b for a, b in zip(given, self._shown, strict=True)):
            return
        self.network.set_parameters([np.asarray(each).T for each in coefs], list(intercepts))
