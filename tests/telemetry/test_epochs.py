"""Telemetry of a training: in the history, the progress, the checkpoint and history.csv."""

from __future__ import annotations

import csv
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.files.checkpoint_file import encode_checkpoint
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.progress import measures
from gpu_mlp.telemetry import Telemetry
from gpu_mlp.telemetry.measures import Reading
from tests.cli.commands import done
from tests.telemetry.fake_nvml import BUS_ID, FakeNvml


class Steady:
    """A GPU that takes 3 J more at every reading."""

    def __init__(self) -> None:
        self.energy = 0.0

    def read(self) -> Reading:
        self.energy += 3.0
        return {"gpu_energy_joules": self.energy, "gpu_utilisation_percent": 50.0}

    def close(self) -> None:
        pass


def train(*callbacks: Callback, epochs: int = 3, rows: int = 200, **settings: Any) -> History:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 4)), rng.integers(0, 2, rows)
    network = gpu_mlp.Network((4, 3, 2), seed=0, device="cpu")
    return gpu_mlp.train(
        network, x, y, gpu_mlp.TrainingConfig(epochs=epochs), callbacks=callbacks, **settings
    )


def test_every_epoch_has_its_measures() -> None:
    telemetry = Telemetry([Steady()])
    telemetry._sampler._seconds = 100.0  # no reading but those at the ends of epochs
    history = train(telemetry)
    assert history.measures == {
        epoch: {"gpu_utilisation_percent": 50.0, "gpu_energy_joules": 3.0, "joules_per_million_rows": 15000.0}
        for epoch in (1, 2, 3)
    }


def test_the_process_is_measured_by_itself() -> None:
    history = train(Telemetry())
    for found in history.measures.values():
        assert float(found["cpu_seconds"]) >= 0.0
        assert not any(name.startswith("gpu_") for name in found)


def test_no_thread_is_left_whatever_ends_the_run() -> None:
    class Failing(Callback):
        def on_epoch_end(self, run: Any, epoch: Any) -> None:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        train(Telemetry([Steady()]), Failing())
    assert not any(thread.name == "gpu_mlp-telemetry" for thread in threading.enumerate())


def test_no_bit_of_the_training_changes() -> None:
    assert [epoch.loss for epoch in train(Telemetry())] == [epoch.loss for epoch in train()]


def test_a_gpu_is_found_by_its_place_on_the_bus(nvml: FakeNvml) -> None:
    asked: list[int] = []

    def device(number: int) -> Any:
        asked.append(number)
        return SimpleNamespace(pci_bus_id=BUS_ID)

    ops: Any = SimpleNamespace(device="cuda:2", xp=SimpleNamespace(cuda=SimpleNamespace(Device=device)))
    telemetry = Telemetry.of_device(ops)
    history = train(telemetry)
    assert asked == [2]
    assert history.measures[1]["gpu_power_watts"] == 312.5
    assert nvml.users == 0
    assert len(Telemetry.of_device(numpy_ops())._sampler._meters) == 1


def epoch(number: int = 1) -> Epoch:
    return Epoch(number, 10, 1e-3, 0.5, 0.6, 0.9, 2.0, 1000.0)


def test_the_progress_says_what_the_gpu_does() -> None:
    history = History([epoch()])
    run: Any = SimpleNamespace(history=history)
    assert measures(run, epoch(), "accuracy") == "loss 0.5000, validation loss 0.6000, accuracy 0.9000"
    history.measures[1] = {
        "gpu_utilisation_percent": 87.4,
        "gpu_memory_bytes": 12.1 * 2**30,
        "gpu_power_watts": 312.0,
        "gpu_throttled": "power cap",
    }
    assert measures(run, epoch(), "accuracy").endswith(", GPU 87 %, 12.1 GiB, 312 W, slowed by power cap")
    assert measures(run, epoch(), "accuracy", wide=False) == "loss 0.5000, accuracy 0.9000"


def test_a_table_has_a_column_for_each_measure() -> None:
    history = History([epoch(1), epoch(2)], measures={2: {"cpu_seconds": 1.5}, 1: {"gpu_throttled": ""}})
    names, rows = history.rows()
    assert names[-2:] == ["gpu_throttled", "cpu_seconds"]
    assert [row[-2:] for row in rows] == [["", None], [None, 1.5]]


def test_history_csv_has_them(tmp_path: Path) -> None:
    done("train", "--demo", "iris", "--epochs", "3", "--device", "cpu", "--out", tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(float(row["cpu_seconds"]) >= 0.0 for row in rows)
    if Path("/proc/self/statm").exists():
        assert all(float(row["resident_bytes"]) > 1e6 for row in rows)


def test_they_survive_a_checkpoint(tmp_path: Path) -> None:
    class Keep(Callback):
        state: Any = None

        def on_epoch_end(self, run: Any, epoch: Any) -> None:
            if epoch.epoch == 2:
                self.state = run.state()

    keep = Keep()
    whole = train(Telemetry([Steady()]), keep)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(encode_checkpoint(keep.state, {}))
    state, _ = gpu_mlp.read_checkpoint(path)
    assert state.history.measures == {number: whole.measures[number] for number in (1, 2)}
    resumed = train(Telemetry([Steady()]), resume=state)
    assert set(resumed.measures) == {1, 2, 3}
    assert resumed.measures[1] == whole.measures[1]
