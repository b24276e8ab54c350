"""Where a run folder may be made."""

from __future__ import annotations

import os
from pathlib import Path

from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import RunFolderError

__all__ = ["RUNS", "check_destination", "next_free"]

RUNS = Path("runs")


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
