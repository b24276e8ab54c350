"""Checkpoints come back as they were; whatever else is in the file is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import gpu_mlp
from gpu_mlp.errors import ModelFileError
from gpu_mlp.files import checkpoint_file, sealed_file
from gpu_mlp.files.checkpoint_file import encode_checkpoint, read_checkpoint
from gpu_mlp.files.model_file import encode_model
from gpu_mlp.learning.history import History
from gpu_mlp.learning.state import TrainingState
from tests.data.refusals import refused
from tests.files.histories import history_of
from tests.files.models import KINDS
from tests.files.runs import state_of

DESCRIPTION: dict[str, Any] = {"network": {"layer_sizes": [3, 2]}, "columns": {"größe": "0123"}}


def written(state: TrainingState, folder: Path) -> Path:
    path = folder / "c.safetensors"
    path.write_bytes(encode_checkpoint(state, DESCRIPTION))
    return path


def check_equal(found: TrainingState, state: TrainingState) -> None:
    """Bit for bit."""
    assert found.history.epochs == state.history.epochs
    assert found.history.best_epoch == state.history.best_epoch
    for name in ("rows", "steps_per_epoch", "position", "seconds", "steps"):
        assert getattr(found, name) == getattr(state, name)
    assert found.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("steps", [0, 7, 10, 47])
def test_a_state_comes_back_bit_for_bit(steps: int, tmp_path: Path) -> None:
    state = state_of(steps)
    found, description = read_checkpoint(written(state, tmp_path))
    check_equal(found, state)
    assert description == DESCRIPTION


@pytest.mark.parametrize(
    "history",
    [
        History(),
        history_of([1.0, 2.0]),
        history_of([1.0], [2.0]),
        history_of([1.0, 0.5], [2.0, 1.0], [0.25, 0.5]),
    ],
)
def test_what_was_not_measured_comes_back_as_none(history: History, tmp_path: Path) -> None:
    state = state_of(0)
    state.history = history
    found, _ = read_checkpoint(written(state, tmp_path))
    assert found.history.epochs == history.epochs


def test_any_reader_of_safetensors_opens_it(tmp_path: Path) -> None:
    state = state_of(47)
    tensors = load_file(written(state, tmp_path))
    assert tensors["parameters"].tobytes() == state.arrays["parameters"].tobytes()
    assert tensors["history"].shape == (4, 8)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(encode_model(KINDS["linear"]()[0], tmp_path))
    with refused("that gpu_mlp did not write; give a checkpoint of a run folder", error=ModelFileError):
        read_checkpoint(tmp_path / "m")
    with refused("give the model.safetensors of a run folder", error=ModelFileError):
        gpu_mlp.load(written(state_of(3), tmp_path))
    with refused("does not exist; check the path", error=ModelFileError):
        read_checkpoint(tmp_path / "none")
    with refused("is a folder", error=ModelFileError):
        read_checkpoint(tmp_path)


def test_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = sealed_file.Kind("gpu_mlp checkpoint", 2, "run", "", "")
    monkeypatch.setattr(checkpoint_file, "KIND", newer)
    path = written(state_of(3), tmp_path)
    monkeypatch.undo()
    with refused(
        "has format version 2, but this gpu_mlp reads up to 1; upgrade gpu_mlp", error=ModelFileError
    ):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ["epoch"]},
        {"position": -1},
        {"rows": 2.5},
        {"seconds": "x"},
        {"validated": []},
        {"description": 3},
    ],
)
def test_a_document_that_describes_no_state_is_refused(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who can seal it."""
    real = sealed_file.seal
    monkeypatch.setattr(
        checkpoint_file, "seal", lambda kind, tensors, document: real(kind, tensors, document | change)
    )
    path = written(state_of(13), tmp_path)
    with refused(str(path), error=ModelFileError):
        read_checkpoint(path)


def read_or_refused(path: Path) -> tuple[TrainingState, dict[str, Any]] | str:
    try:
        return read_checkpoint(path)
    except ModelFileError as error:
        return str(error)


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    state, rng = state_of(47), random.Random(0)
    whole = written(state, tmp_path).read_bytes()
    path = tmp_path / "mutant"
    for _ in range(300):
        content = bytearray(whole)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        else:
            content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        path.write_bytes(content)
        found = read_or_refused(path)
        if isinstance(found, str):
            assert found.startswith(str(path))
        else:  # a space in the header
            check_equal(found[0], state)
            assert found[1] == DESCRIPTION
