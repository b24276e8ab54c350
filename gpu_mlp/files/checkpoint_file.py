"""A checkpoint: one sealed file with a `TrainingState`, and a description of the run that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import ModelFileError
from gpu_mlp.files.safetensors_format import FormatError
from gpu_mlp.files.sealed_file import Kind, seal, unseal
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.state import TrainingState

__all__ = ["CHECKPOINT_VERSION", "encode_checkpoint", "read_checkpoint"]

CHECKPOINT_VERSION = 1
KIND = Kind(
    "gpu_mlp checkpoint",
    CHECKPOINT_VERSION,
    "run",
    "a checkpoint of a run folder",
    "go on from the one before it, or train from the start",
)
HISTORY = "history"
COLUMNS = [field.name for field in fields(Epoch)]


def encode_checkpoint(state: TrainingState, description: Mapping[str, Any]) -> bytes:
    """The bytes of the file: the state's arrays, and its history as one with a row an epoch, None as NaN."""
    rows = [[np.nan if value is None else value for value in astuple(epoch)] for epoch in state.history]
    history = np.array(rows, np.float64).reshape(-1, len(COLUMNS))
    document = {
        "rows": state.rows,
        "steps_per_epoch": state.steps_per_epoch,
        "position": state.position,
        "seconds": state.seconds,
        "best_epoch": state.history.best_epoch,
        "validated": [[value is not None for value in astuple(epoch)] for epoch in state.history][-1:],
        "columns": COLUMNS,
        "measures": {str(number): dict(found) for number, found in state.history.measures.items()},
        "description": dict(description),
    }
    return seal(KIND, {**state.arrays, HISTORY: history}, document)


def read_checkpoint(path: str | Path) -> tuple[TrainingState, dict[str, Any]]:
    """The state and the description of its run.

    Raises ModelFileError where the file is missing, damaged, no checkpoint, or of a newer gpu_mlp.
    """
    path = Path(path)
    try:
        document, tensors = unseal(KIND, path)
        return _state(document, dict(tensors)), dict(document["description"])
    except FormatError as error:
        message = str(error)
    except FileNotFoundError:
        message = "does not exist; check the path"
    except OSError as error:
        message = f"cannot be read ({error.strerror}); check its permissions"
    except (LookupError, TypeError, ValueError) as error:
        message = f"holds what is no state of a run ({first_line(error)}); {KIND.again}"
    raise ModelFileError(f"{shown_path(path)} {message}")


def _state(document: Any, tensors: dict[str, NDArray[Any]]) -> TrainingState:
    if document["columns"] != COLUMNS:
        raise ValueError("its epochs have other measures")
    counts = [document[name] for name in ("rows", "steps_per_epoch", "position", "best_epoch")]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count is none")
    history = tensors.pop(HISTORY)
    rows, steps, position, best_epoch = counts
    measured = document["validated"]
    measures = {int(number): dict(found) for number, found in document.get("measures", {}).items()}
    epochs = [Epoch(**_epoch(row, measured[0])) for row in history.tolist()]
    return TrainingState(
        rows=rows,
        steps_per_epoch=steps,
        position=position,
        seconds=float(document["seconds"]),
        arrays=tensors,
        history=History(epochs, best_epoch, measures=measures),
    )


def _epoch(row: list[float], measured: list[bool]) -> dict[str, Any]:
    """A row by its columns: counts whole, and None for what was not measured, which is the same in every epoch."""
    values: dict[str, Any] = {
        name: value if is_there else None
        for name, value, is_there in zip(COLUMNS, row, measured, strict=True)
    }
    return values | {name: int(values[name]) for name in ("epoch", "step")}
