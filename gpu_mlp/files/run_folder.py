"""A run folder: the model, its history, the settings that reproduce it and a picture, written as one."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import RunFolderError
from gpu_mlp.files.model_file import encode_model, temporary_path, write_atomically
from gpu_mlp.files.toml import TomlValue, dump_toml
from gpu_mlp.learning.callbacks import History
from gpu_mlp.model import Model

__all__ = ["RUNS", "check_destination", "next_free", "write_run"]

RUNS = Path("runs")

CONFIG_COMMENT = "gpu-mlp train --config config.toml repeats this run; flags win over what stands here."


def check_destination(destination: Path) -> None:
    """Raise RunFolderError where a run folder cannot be made at `destination`; asked before training."""
    try:
        os.lstat(destination)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name that is too long or no name at all
        reason = getattr(error, "strerror", None) or first_line(error)
        raise RunFolderError(
            f"{shown_path(destination)} cannot be made ({reason}); choose another --out"
        ) from None
    else:
        raise RunFolderError(f"{shown_path(destination)} already exists; choose another --out or remove it")
    parent = next(folder for folder in destination.absolute().parents if os.path.lexists(folder))
    if not parent.is_dir():
        raise RunFolderError(
            f"{shown_path(destination)} cannot be made, because {shown_path(parent)} is not a folder; "
            "choose another --out"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RunFolderError(
            f"{shown_path(destination)} cannot be made, because {shown_path(parent)} cannot be written to; "
            "choose another --out"
        )


def next_free(name: str, runs: Path = RUNS) -> Path:
    """The first of runs/NAME-1, runs/NAME-2, ... that does not exist."""
    number = 1
    while os.path.lexists(runs / f"{name}-{number}"):
        number += 1
    return runs / f"{name}-{number}"


def write_run(
    destination: Path | Callable[[], Path],
    model: Model,
    history: History,
    settings: Mapping[str, TomlValue],
    *,
    metric_name: str = "metric",
) -> tuple[Path, list[str]]:
    """Write a run folder under a temporary name beside `destination` and rename it into place.

    A destination that is a function gives the next free path, and is asked again where another run takes that
    first. The path comes back with the names of the files: model.safetensors, history.csv, config.toml with
    the settings, and loss.png where matplotlib is installed. Raises RunFolderError, and leaves nothing behind,
    where it cannot be written or a given path exists by now, and ModelFileError where the model's metadata are
    not plain data.
    """
    next_place = destination if callable(destination) else None
    destination = next_place() if next_place else cast(Path, destination)
    check_destination(destination)
    content = encode_model(model, destination / "model.safetensors")
    made = [folder for folder in destination.absolute().parents if not folder.exists()]
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(destination) as folder:
            write_atomically(folder / "model.safetensors", content)
            _write_history(history, folder / "history.csv")
            config = dump_toml(settings, CONFIG_COMMENT)
            (folder / "config.toml").write_text(config, encoding="utf-8")
            if find_spec("matplotlib") is not None:
                from gpu_mlp.files.loss_figure import draw_losses

                draw_losses(history, folder / "loss.png", metric_name=metric_name)
            names = sorted(path.name for path in folder.iterdir())
            destination = _rename(folder, destination, next_place)
    except OSError as error:
        _remove_empty(made)
        raise RunFolderError(
            f"{shown_path(destination)} cannot be written ({error.strerror or error}); choose another --out"
        ) from None
    except BaseException:
        _remove_empty(made)
        raise
    return destination, names


def _rename(folder: Path, destination: Path, next_place: Callable[[], Path] | None) -> Path:
    """Rename to the destination, or where something is there by now to the next place, if there are others."""
    while True:
        if next_place is not None:
            destination = next_place()
        check_destination(destination)  # an empty folder would be replaced without a word
        try:
            return folder.rename(destination)
        except OSError as error:
            if next_place is None or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


@contextmanager
def _unfinished(destination: Path) -> Iterator[Path]:
    """A temporary folder beside the destination that is gone at the end unless it was renamed."""
    folder = temporary_path(destination)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the parents that were made for nothing, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _write_history(history: History, path: Path) -> None:
    """One row an epoch; what was not measured is an empty field."""
    names, rows = history.rows()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
