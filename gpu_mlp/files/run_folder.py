"""A run folder, from its first step to its last: settings, checkpoints to go on from, and at the end the model.

While a run is under way it holds a lock on its folder, which has `config.toml` and, from time to time, a checkpoint, of
which the last two are kept. At the end model.safetensors, history.csv and loss.png come in, and the checkpoints go.
"""

from __future__ import annotations

import csv
import io
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from gpu_mlp.data.messages import quoted, shown_path
from gpu_mlp.errors import ModelFileError, RunFolderError
from gpu_mlp.files.atomic_file import sweep, why_not_written, write_atomically
from gpu_mlp.files.checkpoint_file import encode_checkpoint, read_checkpoint
from gpu_mlp.files.model_file import encode_model
from gpu_mlp.files.run_places import check_destination
from gpu_mlp.files.toml import TomlValue, dump_toml
from gpu_mlp.learning.history import History
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.model import Model

__all__ = ["CONFIG", "RunFolder", "check_run_folder"]

CONFIG, MODEL, HISTORY, FIGURE = "config.toml", "model.safetensors", "history.csv", "loss.png"
LOCK, WRITER = ".lock", ".writer"
CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})\.safetensors")
KEPT_CHECKPOINTS = 2
CONFIG_COMMENT = "gpu-mlp train --config config.toml repeats this run; flags win over what stands here."


def check_run_folder(path: Path) -> None:
    """Raise RunFolderError where there is none, or one whose run is over."""
    if not (path / CONFIG).is_file():
        raise RunFolderError(
            f"{shown_path(path)} is no run folder, since it has no {CONFIG}; give the folder of a run that was "
            "interrupted"
        )
    if (path / MODEL).is_file() and not _checkpoints(path):
        raise RunFolderError(
            f"the run in {shown_path(path)} came to its end, so there is nothing to resume; "
            f"start a new one with --config {shown_path(path / CONFIG)}"
        )


class RunFolder:
    """A context: the folder is this process's alone. At its end a folder from which nobody could go on is removed.

    Made by `create` for a new run, by `open` for one that was interrupted.
    """

    def __init__(self, path: Path, made: list[Path]) -> None:
        self.path = path
        self._made = made  # folders that are there for this run alone, innermost first
        self._keep, self._is_over = not made, False
        self._lock = FileLock(path / LOCK, timeout=0)

    @classmethod
    def create(
        cls, destination: str | Path | Callable[[], Path], settings: Mapping[str, TomlValue]
    ) -> RunFolder:
        """Make the folder with its settings. A destination that is a function gives the next free path.

        Raises RunFolderError where a given path exists or cannot be made, WriteError where there is no room.
        """
        folder = _make(destination)
        try:
            folder._take()
            folder._write(CONFIG, dump_toml(settings, CONFIG_COMMENT).encode())
        except BaseException:
            folder.__exit__()
            raise
        return folder

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """A folder that a run left. Raises RunFolderError where it is none, or where somebody writes to it."""
        path = Path(path)
        check_run_folder(path)
        folder = cls(path, [])
        folder._take()
        sweep(path)
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._keep:
            shutil.rmtree(self.path, ignore_errors=True)
        for name in (WRITER, LOCK) if self._is_over else (WRITER,):
            with suppress(OSError):
                (self.path / name).unlink()
        self._lock.release()
        if not self._keep:
            for folder in self._made[1:]:
                with suppress(OSError):
                    folder.rmdir()

    def _take(self) -> None:
        """Keep others out, and say who holds the folder."""
        writer = self.path / WRITER
        try:
            self._lock.acquire()
        except Timeout:
            who = "another process"
            with suppress(OSError, ValueError):
                who = quoted(writer.read_text(encoding="utf-8"))[1:-1]
            raise RunFolderError(
                f"{shown_path(self.path)} is being written by {who}; wait for its end, or choose another run"
            ) from None
        except OSError as error:
            raise why_not_written(self.path / LOCK, error, 0, "make the folder writable") from None
        with suppress(OSError):
            writer.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")

    # ---- checkpoints

    def save_checkpoint(self, state: TrainingState, description: Mapping[str, Any]) -> None:
        """Write it, and then remove all but the last two. Raises WriteError, with the last one in its place."""
        self._write(f"checkpoint-{state.steps}.safetensors", encode_checkpoint(state, description))
        self._keep = True
        for old in _checkpoints(self.path)[:-KEPT_CHECKPOINTS]:
            with suppress(OSError):
                old.unlink()

    def last_checkpoint(self) -> tuple[TrainingState, dict[str, Any]] | None:
        """The state to go on from, and the description of its run; None where there is none yet.

        Where the last file is damaged the one before it is taken. Raises ModelFileError where no file can be read.
        """
        checkpoints = _checkpoints(self.path)
        for path in reversed(checkpoints):
            try:
                return read_checkpoint(path)
            except ModelFileError:
                if path == checkpoints[0]:
                    raise
        return None

    @property
    def has_checkpoint(self) -> bool:
        """Whether somebody could go on from here."""
        return bool(_checkpoints(self.path))

    # ---- the end

    def finish(
        self, model: Model, history: History, *, metric_name: str = "metric", complete: bool = True
    ) -> list[str]:
        """Write the model, the history and, with matplotlib, their picture; the names of all files.

        complete: whether the run came to its end, so that its checkpoints can go. Raises WriteError where there is no
        room, ModelFileError where the model's metadata are not plain data.
        """
        self._write(MODEL, encode_model(model, self.path / MODEL))
        self._keep = True  # whatever happens to the rest
        self._write(HISTORY, _history_table(history))
        if find_spec("matplotlib") is not None and len(history):
            from gpu_mlp.files.loss_figure import draw_losses

            self._write(FIGURE, draw_losses(history, metric_name=metric_name))
        self._is_over = complete
        for checkpoint in _checkpoints(self.path) if complete else ():
            checkpoint.unlink()
        return sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        advice = "choose another --out with room for it"
        if _checkpoints(self.path):
            advice = f"free some room, and go on with gpu-mlp train --resume {shown_path(self.path)}"
        try:
            write_atomically(path, content)
        except OSError as error:
            raise why_not_written(path, error, len(content), advice) from None


def _checkpoints(folder: Path) -> list[Path]:
    """From the first to the last."""
    found = [
        (CHECKPOINT.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ())
    ]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def _make(destination: str | Path | Callable[[], Path]) -> RunFolder:
    """The folder, with its parents. Where another run takes the next free path first, the one after it is taken."""
    while True:
        path = Path(destination() if callable(destination) else destination)
        check_destination(path)
        made = [path, *(folder for folder in path.absolute().parents if not folder.exists())]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return RunFolder(path, made)
        except FileExistsError:
            if not callable(destination):
                raise RunFolderError(
                    f"{shown_path(path)} already exists; choose another --out or remove it"
                ) from None
        except OSError as error:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise why_not_written(path, error, 0, "choose another --out") from None


def _history_table(history: History) -> bytes:
    """One row an epoch as CSV; what was not measured is an empty field."""
    names, rows = history.rows()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()
