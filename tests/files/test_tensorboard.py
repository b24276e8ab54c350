"""What `TensorBoard` writes is read back from its files."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import gpu_mlp
from gpu_mlp.errors import ConfigError
from gpu_mlp.files import tensorboard
from gpu_mlp.files.tensorboard import TensorBoard
from gpu_mlp.learning.history import History
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.cli.commands import run
from tests.data.refusals import refused

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2


def events_of(folder: Path) -> list[Event]:
    """Of every file in the folder: records of a length, its checksum, the event and its checksum."""
    events = []
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            events.append(Event.FromString(content[at + 12 : at + 12 + length]))
            at += length + 16
    return events


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events_of(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def trained(folder: Path, *, validated: bool) -> History:
    config = gpu_mlp.TrainingConfig(epochs=3, batch_size=16, schedule="cosine")
    validation = (X[:9], Y[:9]) if validated else None
    network = Network((3, 4, 2), device="cpu")
    return train(network, X, Y, config, validation=validation, callbacks=[TensorBoard(folder)])


@pytest.mark.parametrize("validated", [True, False])
def test_every_measure_of_every_epoch_is_there(tmp_path: Path, validated: bool) -> None:
    history = trained(tmp_path, validated=validated)
    found = scalars_of(tmp_path)
    names = {"loss/training", "learning_rate", "rows_per_second"}
    assert set(found) == (names | {"loss/validation", "validation_metric"} if validated else names)
    for tag, attribute in tensorboard.SCALARS.items():
        if tag in found:
            expected = [(epoch.step, getattr(epoch, attribute)) for epoch in history]
            np.testing.assert_allclose(found[tag], expected, rtol=1e-6)


def test_the_command_writes_them_in_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("train", "--demo", "iris", "--epochs", "2", "--tensorboard", "--out", "run")
    assert outcome.code == 0, outcome.err
    assert [step for step, _ in scalars_of(Path("run/tensorboard"))["loss/training"]] == [7, 14]
    assert "tensorboard" in outcome.out
    assert "tensorboard = true" in Path("run/config.toml").read_text()


def test_without_the_package_it_says_what_to_install_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    with refused(
        "needs tensorboardX, which is not installed; install it with pip install", error=ConfigError
    ):
        TensorBoard("t")
    outcome = run("train", "none.csv", "--target", "y", "--tensorboard")
    assert outcome.code == 2
    assert outcome.err.endswith("install it with pip install 'gpu_mlp[tensorboard]'\n")


def test_it_is_not_loaded_before_it_is_asked_for() -> None:
    assert "tensorboardX" in sys.modules  # by this test
    assert "tensorboardX" not in Path(tensorboard.__file__).read_text().split("def check_tensorboard")[0]
