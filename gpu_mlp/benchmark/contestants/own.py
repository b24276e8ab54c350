"""gpu_mlp itself, through its public surface."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpu_mlp
from gpu_mlp.benchmark.cases import EPOCHS, LEARNING_RATE, Case, Data
from gpu_mlp.benchmark.contestants.base import UnableError, Work
from gpu_mlp.errors import ConfigError, DeviceError
from gpu_mlp.telemetry import GpuMeter
from gpu_mlp.telemetry.measures import Meter

__all__ = ["Own", "network_of"]


class Own:
    """On one device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.name = "gpu_mlp" if device == "cpu" else f"gpu_mlp {device}"

    def missing(self) -> str:
        """Why the device cannot be used."""
        try:
            gpu_mlp.Network((1, 1), device=self.device)
        except DeviceError as error:
            return str(error)
        return ""

    def set_threads(self, threads: int) -> None:
        """BLAS has the number that threadpoolctl was told for all."""

    def meters(self) -> list[Meter]:
        """Of its GPU."""
        if self.device == "cpu":
            return []
        gpu = GpuMeter.of_device(gpu_mlp.Network((1, 1), device=self.device).ops)
        return [] if gpu is None else [gpu]

    def set_up(self, case: Case, data: Data) -> Work:
        """A network with the data's weights, and a `TrainingStep`, or a table on the host for `train`."""
        network = network_of(case, data, self.device)
        x = data.x if case.task == "fit" else network.ops.to_device(data.x)
        if case.task == "inference":
            return _Inference(network, x)
        if case.task == "fit":
            return _Fit(network, case, data)
        precision = case.precision if case.precision not in ("float32", "float64") else "auto"
        try:
            step = gpu_mlp.TrainingStep(
                network,
                loss="squared_error" if case.problem.is_regression else "softmax_cross_entropy",
                optimizer=gpu_mlp.Adam(LEARNING_RATE),
                batch_size=case.batch,
                precision=precision,
            )
        except (ConfigError, DeviceError) as error:
            raise UnableError(str(error)) from None
        return _Training(step, x, network.ops.to_device(data.y))


def network_of(case: Case, data: Data, device: str) -> gpu_mlp.Network:
    """With the data's weights."""
    dtype: Any = str(data.x.dtype)
    network = gpu_mlp.Network(case.problem.layer_sizes, dtype=dtype, device=device)
    network.set_parameters(data.weights, data.biases)
    return network


class _Training:
    def __init__(self, step: gpu_mlp.TrainingStep, x: Any, y: Any) -> None:
        self._step, self._x, self._y = step, x, y
        self._loss: Any = None

    def run(self, count: int) -> None:
        for _ in range(count):
            self._loss = self._step(self._x, self._y)
        float(self._loss)  # waits for the device

    def result(self) -> NDArray[Any]:
        return np.asarray(float(self._loss))


class _Inference:
    def __init__(self, network: gpu_mlp.Network, x: Any) -> None:
        self._network, self._x = network, x
        self._outputs: Any = None

    def run(self, count: int) -> None:
        for _ in range(count):
            self._outputs = self._network(self._x)
        float(self._outputs[0, 0])  # waits for the device

    def result(self) -> NDArray[Any]:
        outputs: NDArray[Any] = self._network.ops.to_host(self._outputs)
        return outputs


class _Fit:
    def __init__(self, network: gpu_mlp.Network, case: Case, data: Data) -> None:
        self._network, self._data = network, data
        loss = "squared_error" if case.problem.is_regression else "softmax_cross_entropy"
        self._config = gpu_mlp.TrainingConfig(
            epochs=EPOCHS, batch_size=case.batch, loss=loss, optimizer="adam", learning_rate=LEARNING_RATE
        )

    def run(self, count: int) -> None:
        for _ in range(count):
            self._fit(self._config)

    def result(self) -> NDArray[Any]:
        return np.asarray(self._fit(replace(self._config, shuffle=False)))

    def _fit(self, config: gpu_mlp.TrainingConfig) -> list[float]:
        self._network.set_parameters(self._data.weights, self._data.biases)
        return gpu_mlp.train(self._network, self._data.x, self._data.y, config).losses
