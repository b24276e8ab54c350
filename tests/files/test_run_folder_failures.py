"""A run folder that cannot be finished: nothing is left behind, and the sentence names what was asked for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import gpu_mlp
from gpu_mlp.errors import DivergenceError, ModelFileError, WriteError
from gpu_mlp.files import atomic_file, loss_figure, run_folder
from gpu_mlp.files.run_folder import RunFolder
from tests.data.refusals import refused
from tests.files.histories import history_of
from tests.files.models import KINDS
from tests.files.runs import write_run

HISTORY = history_of([2.0, 1.0], [2.0, 1.5], [0.5, 0.75])


def write(destination: Path) -> tuple[Path, list[str]]:
    """A run of a small model."""
    return write_run(destination, KINDS["text labels"]()[0], HISTORY, {"epochs": 2})


def raise_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# Where the disk may be full before there is a model, and after.
PLACES: dict[str, tuple[Any, str]] = {
    "the folder": (Path, "mkdir"),
    "a temporary name": (atomic_file, "temporary_path"),
    "a file": (os, "fsync"),
    "the name": (Path, "replace"),
}
LATER_PLACES: dict[str, tuple[Any, str]] = {
    "the history": (run_folder, "_history_table"),
    "the picture": (loss_figure, "draw_losses"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_leaves_nothing_behind_wherever_it_is_noticed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").touch()
    before = sorted(tmp_path.rglob("*"))
    run = tmp_path / "runs" / "new" / "deep" / "run"
    with monkeypatch.context() as patch:
        patch.setattr(*PLACES[place], raise_full)
        with refused(f"{run}", "cannot be written (No space left on device)", error=WriteError):
            write(run)
    assert sorted(tmp_path.rglob("*")) == before
    assert write(run)  # and it can be tried again


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError, OSError])
@pytest.mark.parametrize("place", LATER_PLACES)
def test_a_model_that_is_written_outlives_whatever_happens_to_the_rest(
    place: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise error("ended")

    monkeypatch.setattr(*LATER_PLACES[place], end)
    with pytest.raises(error, match="ended"):
        write(tmp_path / "new" / "run")
    assert gpu_mlp.load(tmp_path / "new" / "run" / "model.safetensors", "cpu")
    assert not [path for path in (tmp_path / "new" / "run").iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, DivergenceError])
def test_a_run_that_ends_before_its_first_checkpoint_leaves_nothing(
    error: type[BaseException], tmp_path: Path
) -> None:
    ended = error("ended", step=1, layer=0) if error is DivergenceError else error("ended")
    with pytest.raises(error, match="ended"), RunFolder.create(tmp_path / "new" / "run", {"epochs": 2}):
        raise ended
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


def test_parents_that_others_have_filled_meanwhile_are_kept(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "new" / "deep" / "run", {}):
        (tmp_path / "new" / "theirs").touch()
    assert [str(entry.relative_to(tmp_path)) for entry in sorted(tmp_path.rglob("*"))] == [
        "new",
        "new/theirs",
    ]


AS_NOBODY = """
import os, sys
from pathlib import Path
import gpu_mlp
from gpu_mlp.files.run_places import check_destination
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
