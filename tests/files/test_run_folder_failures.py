"""A run folder that cannot be finished: nothing is left behind, and the sentence names what was asked for."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_mlp.errors import ModelFileError, RunFolderError
from gpu_mlp.files import loss_figure, run_folder
from gpu_mlp.files.run_folder import write_run
from tests.data.refusals import refused
from tests.files.histories import history_of
from tests.files.models import KINDS

HISTORY = history_of([2.0, 1.0], [2.0, 1.5], [0.5, 0.75])


def write(destination: Path) -> tuple[Path, list[str]]:
    """A run of a small model."""
    return write_run(destination, KINDS["text labels"]()[0], HISTORY, {"epochs": 2})


def raise_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# Where the disk may be full: each part of the folder, and its last step.
PLACES: dict[str, tuple[Any, str]] = {
    "the folder": (Path, "mkdir"),
    "the temporary folder": (run_folder, "temporary_path"),
    "the model": (os, "fsync"),
    "the history": (csv, "writer"),
    "the settings": (Path, "write_text"),
    "the picture": (loss_figure, "draw_losses"),
    "the name": (Path, "rename"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_leaves_nothing_behind_wherever_it_is_noticed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").touch()
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(*PLACES[place], raise_full)
        with refused(
            f"{tmp_path}/runs/new/deep/run cannot be written (No space left on device); choose another --out",
            error=RunFolderError,
        ):
            write(tmp_path / "runs" / "new" / "deep" / "run")
    assert sorted(tmp_path.rglob("*")) == before
    assert write(tmp_path / "runs" / "new" / "deep" / "run")  # and it can be tried again


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_any_other_end_leaves_nothing_behind_and_passes(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        (unfinished,) = (tmp_path / "new").iterdir()  # the temporary folder is beside the destination
        assert unfinished.suffix == ".tmp"
        assert (unfinished / "model.safetensors").is_file()
        raise error("ended")

    monkeypatch.setattr(loss_figure, "draw_losses", end)
    with pytest.raises(error, match="ended"):
        write(tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_are_not_plain_data_are_refused_under_the_name_that_was_asked_for(
    tmp_path: Path,
) -> None:
    model, _ = KINDS["linear"]()
    model.metadata["extra"] = object()
    with refused(
        f"{tmp_path}/new/run/model.safetensors cannot be written", "model.metadata", error=ModelFileError
    ):
        write_run(tmp_path / "new" / "run", model, HISTORY, {})
    assert list(tmp_path.iterdir()) == []


def make_folder(path: Path) -> None:
    path.mkdir()


def make_file(path: Path) -> None:
    path.write_text("mine")


@pytest.mark.parametrize("make", [make_folder, make_file])
def test_a_destination_that_appears_meanwhile_is_not_replaced(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming onto an empty folder would replace it without a word."""
    run = tmp_path / "run"
    monkeypatch.setattr(loss_figure, "draw_losses", lambda *_, **__: make(run))
    with refused(f"{run} already exists", error=RunFolderError):
        write(run)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert list(run.iterdir()) == [] if run.is_dir() else run.read_text() == "mine"


def test_parents_that_others_have_filled_meanwhile_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any, **__: Any) -> None:
        (tmp_path / "new" / "theirs").touch()
        raise_full()

    monkeypatch.setattr(loss_figure, "draw_losses", fill)
    with refused("No space left on device", error=RunFolderError):
        write(tmp_path / "new" / "deep" / "run")
    assert [str(entry.relative_to(tmp_path)) for entry in sorted(tmp_path.rglob("*"))] == [
        "new",
        "new/theirs",
    ]


AS_NOBODY = """
import os, sys
from pathlib import Path
import gpu_mlp
from gpu_mlp.files.run_folder import check_destination
from tests.files.test_run_folder_failures import write
from tests.files.models import KINDS
write(Path(sys.argv[1], "open", "warm"))  # whatever is imported late is imported now
if os.geteuid() == 0:
    try:
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    except OSError:
        print("privileges cannot be dropped"); sys.exit(77)
closed = Path(sys.argv[1], "closed")
for call in (check_destination, write):
    for run in (closed / "run", closed / "new" / "run"):
        try:
            call(run)
        except gpu_mlp.errors.RunFolderError as error:
            print(error)
try:
    gpu_mlp.save(KINDS["linear"]()[0], closed / "m")
except gpu_mlp.errors.ModelFileError as error:
    print(error)
try:
    gpu_mlp.load(closed / "secret")
except gpu_mlp.errors.ModelFileError as error:
    print(error)
print(*sorted(os.listdir(closed)))
"""


def test_folders_and_files_without_permission_are_refused_as_such() -> None:
    """In a process of its own, which is nobody where this one is root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder, "closed")
        for made in (closed, Path(folder, "open")):
            made.mkdir()
        (closed / "secret").write_bytes(b"12345678")
        (closed / "secret").chmod(0)
        closed.chmod(0o555)
        command = [sys.executable, "-W", "error", "-c", AS_NOBODY, folder]
        root = Path(run_folder.__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
        closed.chmod(0o755)  # so that it can be removed
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert (done.returncode, done.stderr) == (0, "")
    reason = f"because {closed} cannot be written to; choose another --out"
    *runs, written, read, left = done.stdout.splitlines()
    assert runs == [f"{run} cannot be made, {reason}" for run in (closed / "run", closed / "new" / "run")] * 2
    assert written.startswith(f"{closed}/m cannot be written (Permission denied); choose a path")
    assert read.startswith(f"{closed}/secret cannot be read (")
    assert "Permission denied" in read
    assert read.endswith("check the path and its permissions")
    assert left == "secret"
