"""gpu_mlp itself, through its public surface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpu_mlp
from gpu_mlp.backends.base import Ops
from gpu_mlp.backends.select import device_ops
from gpu_mlp.benchmark.cases import EPOCHS, Case, Data
from gpu_mlp.benchmark.contestants.base import Fit, UnableError, Work
from gpu_mlp.benchmark.gpu_limits import device_seconds, measure_gpu_ceilings
from gpu_mlp.benchmark.limits import Ceilings
from gpu_mlp.errors import DeviceError
from gpu_mlp.network.factors import Factors
from gpu_mlp.telemetry import GpuMeter
from gpu_mlp.telemetry.measures import Meter

__all__ = ["Own", "network_of", "rotating"]

# More than the second-level cache of a GPU.
BYTES_IN_TURN = 1 << 28
MOST_IN_TURN = 64


class Own:
    """On one device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.name = "gpu_mlp" if device == "cpu" else f"gpu_mlp {device}"

    def missing(self) -> str:
        """Why the device cannot be used."""
        try:
            device_ops(self.device)
        except DeviceError as error:
            return str(error)
        return ""

    def set_threads(self, threads: int) -> None:
        """BLAS has the number that threadpoolctl was told for all."""

    def meters(self) -> list[Meter]:
        """Of its GPU."""
        gpu = GpuMeter.of_device(device_ops(self.device))
        return [] if gpu is None else [gpu]

    def ceilings(self, precisions: tuple[str, ...]) -> Ceilings | None:
        """What its GPU can do at most; None for the processor, whose are measured for everybody."""
        if self.device == "cpu":
            return None
        return measure_gpu_ceilings(device_ops(self.device), precisions)

    def set_up(self, case: Case, data: Data) -> Work:
        """A network with the data's weights, and a `TrainingStep`, or a table on the host for `train`."""
        network = network_of(case, data, self.device)
        try:
            Factors(network.ops, network.parameters, case.precision)
        except DeviceError as error:
            raise UnableError(str(error)) from None
        x = data.x if case.task == "fit" else network.ops.to_device(data.x)
        if case.task == "inference":
            return _Inference(network, rotating(network.ops, x), case.precision)
        if case.task == "fit":
            return _Fit(network, case, data)
        step = gpu_mlp.TrainingStep(
            network,
            loss=loss_of(case),
            optimizer=gpu_mlp.Adam(case.problem.learning_rate),
            batch_size=case.batch,
            precision=case.precision,
        )
        return _Training(step, rotating(network.ops, x, network.ops.to_device(data.y)))


def rotating(ops: Ops, *arrays: Any) -> Iterator[tuple[Any, ...]]:
    """The arrays, and on a GPU copies of them in turn, so many that its cache does not hold those of the last run."""
    size = sum(array.nbytes for array in arrays)
    count = 1 if ops.device == "cpu" else min(1 + BYTES_IN_TURN // size, MOST_IN_TURN)
    return cycle([arrays, *(tuple(array.copy() for array in arrays) for _ in range(count - 1))])


def loss_of(case: Case) -> str:
    """The name of the loss that trains the problem."""
    return "squared_error" if case.problem.is_regression else "softmax_cross_entropy"


def network_of(case: Case, data: Data, device: str) -> gpu_mlp.Network:
    """With the data's weights."""
    dtype: Any = str(data.x.dtype)
    network = gpu_mlp.Network(case.problem.layer_sizes, dtype=dtype, device=device)
    network.set_parameters(data.weights, data.biases)
    return network


class _Training:
    def __init__(self, step: gpu_mlp.TrainingStep, batches: Iterator[tuple[Any, ...]]) -> None:
        self._step, self._batches = step, batches
        self._loss: Any = None

    def run(self, count: int) -> float | None:
        def steps() -> None:
            for _ in range(count):
                self._loss = self._step(*next(self._batches))

        seconds = device_seconds(self._step.network.ops, steps)
        float(self._loss)  # waits for the device
        return seconds

    def result(self) -> NDArray[Any]:
        return np.asarray(float(self._loss))


class _Inference:
    def __init__(self, network: gpu_mlp.Network, batches: Iterator[tuple[Any, ...]], precision: str) -> None:
        self._network, self._batches, self._precision = network, batches, precision
        self._outputs: Any = None

    def run(self, count: int) -> float | None:
        def passes() -> None:
            for _ in range(count):
                self._outputs = self._network(*next(self._batches), precision=self._precision)

        seconds = device_seconds(self._network.ops, passes)
        float(self._outputs[0, 0])  # waits for the device
        return seconds

    def result(self) -> NDArray[Any]:
        outputs: NDArray[Any] = self._network.ops.to_host(self._outputs)
        return outputs


class _Fit(Fit):
    def __init__(self, network: gpu_mlp.Network, case: Case, data: Data) -> None:
        self._network, self._data = network, data
        self._config = gpu_mlp.TrainingConfig(
            epochs=EPOCHS,
            batch_size=case.batch,
            loss=loss_of(case),
            optimizer="adam",
            learning_rate=case.problem.learning_rate,
            precision=case.precision,
        )

    def losses(self, *, shuffle: bool) -> list[float]:
        self._network.set_parameters(self._data.weights, self._data.biases)
        config = replace(self._config, shuffle=shuffle)
        return gpu_mlp.train(self._network, self._data.x, self._data.y, config).losses
