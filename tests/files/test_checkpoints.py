"""When a run is saved, what stays in its folder, and who may write there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.errors import ConfigError, ModelFileError, RunFolderError, WriteError
from gpu_mlp.files import checkpoints as checkpoints_module
from gpu_mlp.files.checkpoints import Checkpoints
from gpu_mlp.files.run_folder import RunFolder, check_run_folder
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.data.refusals import refused
from tests.files.histories import history_of
from tests.files.models import KINDS
from tests.files.runs import state_of

X = np.random.default_rng(0).normal(size=(53, 3))
Y = np.arange(53) % 2


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir() if path.name[0] != ".")


def saved_steps(folder: RunFolder, **every: Any) -> list[int]:
    """The steps after which a run of 3 epochs of 4 steps was saved."""
    steps: list[int] = []
    real = folder.save_checkpoint

    def save(state: Any, description: Any) -> None:
        steps.append(state.steps)
        real(state, description)

    folder.save_checkpoint = save  # type: ignore[method-assign]
    config = gpu_mlp.TrainingConfig(epochs=3, batch_size=16)
    train(Network((3, 4, 2), device="cpu"), X, Y, config, callbacks=[Checkpoints(folder, {}, **every)])
    return steps


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    with RunFolder.create(tmp_path / "run", {"epochs": 3}) as made:
        yield made


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, list(range(1, 13))), (3, [3, 6, 9, 12]), (4, [4, 8, 12]), (5, [5, 10]), (13, [])],
)
def test_after_so_many_steps(folder: RunFolder, every: int, expected: list[int]) -> None:
    assert saved_steps(folder, steps=every, minutes=None) == expected


def test_after_so_many_minutes(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves a minute every time that somebody looks: twice an epoch."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 60.0
            return self.now

    monkeypatch.setattr(checkpoints_module, "time", Clock())
    assert saved_steps(folder, minutes=2.0) == [8]
    monkeypatch.setattr(checkpoints_module, "time", Clock())
    assert saved_steps(folder, minutes=1.0) == [4, 8, 12]


def test_neither_is_no_checkpoint(folder: RunFolder) -> None:
    assert saved_steps(folder, minutes=None) == []


@pytest.mark.parametrize("every", [{"minutes": 0.0}, {"steps": 0}, {"steps": 1.5}, {"minutes": "1"}])
def test_intervals_that_are_none_are_refused(folder: RunFolder, every: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="checkpoint_"):
        Checkpoints(folder, {}, **every)


def test_estimators_cannot_be_saved_this_way(folder: RunFolder) -> None:
    estimator = gpu_mlp.MLPClassifier((3,), max_iter=2, callbacks=[Checkpoints(folder, {})])
    with pytest.raises(ConfigError, match="leave them out of an estimator's callbacks"):
        estimator.fit(X, Y)


def test_the_last_two_are_kept_until_the_run_is_over(folder: RunFolder) -> None:
    for steps in (5, 40, 123, 1000):
        folder.save_checkpoint(state_of(steps), {"run": steps})
    assert names(folder) == ["checkpoint-1000.safetensors", "checkpoint-123.safetensors", "config.toml"]
    found = folder.last_checkpoint()
    assert found is not None
    assert (found[0].steps, found[1]) == (1000, {"run": 1000})
    folder.finish(KINDS["linear"]()[0], history_of([1.0]), complete=False)
    assert len(names(folder)) == 6
    folder.finish(KINDS["linear"]()[0], history_of([1.0]))
    assert names(folder) == ["config.toml", "history.csv", "loss.png", "model.safetensors"]
    with refused("came to its end, so there is nothing to resume", error=RunFolderError):
        check_run_folder(folder.path)


def test_where_the_last_is_damaged_the_one_before_it_is_taken(folder: RunFolder) -> None:
    assert folder.last_checkpoint() is None
    for steps in (5, 40):
        folder.save_checkpoint(state_of(steps), {})
    last = folder.path / "checkpoint-40.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    found = folder.last_checkpoint()
    assert found is not None
    assert found[0].steps == 5
    (folder.path / "checkpoint-5.safetensors").write_bytes(b"")
    with refused("checkpoint-5.safetensors is too short", error=ModelFileError):
        folder.last_checkpoint()


def test_a_folder_with_a_checkpoint_stays_and_stale_temporaries_go(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as folder:
        folder.save_checkpoint(state_of(5), {})
    (tmp_path / "run" / ".checkpoint-9.safetensors.0123.tmp").write_bytes(b"half")
    with RunFolder.open(tmp_path / "run") as again:
        assert names(again) == ["checkpoint-5.safetensors", "config.toml"]
        assert not list((tmp_path / "run").glob(".*.tmp"))
    assert (tmp_path / "run" / "checkpoint-5.safetensors").is_file()


HOLDER = """
import sys
from pathlib import Path
from gpu_mlp.files.run_folder import RunFolder
with RunFolder.open(Path(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_kept_out_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", {}) as folder:
        folder.save_checkpoint(state_of(5), {})
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "holding\n"
        with refused(
            f"is being written by process {process.pid} on", "wait for its end", error=RunFolderError
        ):
            RunFolder.open(tmp_path / "run")
        process.stdin.write("\n")
        process.stdin.close()
    with RunFolder.open(tmp_path / "run"):
        assert (tmp_path / "run" / ".writer").read_text().startswith(f"process {os.getpid()} on")
    assert not (tmp_path / "run" / ".writer").exists()


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_what_is_no_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with refused("is no run folder, since it has no config.toml", error=RunFolderError):
        RunFolder.open(tmp_path / name)


FILES_END = """
import resource, sys
from pathlib import Path
from gpu_mlp.errors import WriteError
from gpu_mlp.files.run_folder import RunFolder
from tests.files.runs import state_of
with RunFolder.open(Path(sys.argv[1])) as folder:
    folder.save_checkpoint(state_of(5), {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        folder.save_checkpoint(state_of(15, size=10_000), {})
    except WriteError as error:
        print(error)
    print(folder.last_checkpoint()[0].steps, sorted(path.name for path in folder.path.iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_disk_without_room_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """Here a limit of this process's files."""
    run = tmp_path / "run"
    with RunFolder.create(run, {}) as folder:
        folder.save_checkpoint(state_of(3), {})
    root = Path(checkpoints_module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FILES_END, str(run)], capture_output=True, text=True, cwd=root
    )
    sentence, left = done.stdout.splitlines()
    assert sentence.startswith(
        f"{run}/checkpoint-15.safetensors cannot be written (File too large): it needs 118."
    )
    assert sentence.endswith(
        f"KiB, more than this process may write to a file (19.5 KiB); free some room, and go on with "
        f"gpu-mlp train --resume {run}"
    )
    assert left == (
        "5 ['.lock', '.writer', 'checkpoint-3.safetensors', 'checkpoint-5.safetensors', 'config.toml']"
    )


def test_a_folder_that_is_gone_is_told(folder: RunFolder) -> None:
    for path in folder.path.iterdir():
        path.unlink()
    folder.path.rmdir()
    with refused("checkpoint-5.safetensors cannot be written (No such file or directory)", error=WriteError):
        folder.save_checkpoint(state_of(5), {})
    folder.path.mkdir()  # for the end of the test
