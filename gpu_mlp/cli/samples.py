"""Samples and targets as they are written on a command line, for a network or for a model with columns."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import numpy as np

from gpu_mlp.cli.architecture import random_targets
from gpu_mlp.config import Loss
from gpu_mlp.data import Table, read_table
from gpu_mlp.data.messages import quoted
from gpu_mlp.errors import ConfigError
from gpu_mlp.model import CLASSIFICATION_LOSSES, Model
from gpu_mlp.network.network import Network

__all__ = ["samples_of_model", "samples_of_network"]

Samples = tuple[Any, Any, Loss]


def samples_of_network(
    network: Network, rng: np.random.Generator, inputs: str, target: str, batch: int, loss: str
) -> Samples:
    """x (B, D_0), y and the loss; what is not given is random. Raises ConfigError for what does not fit."""
    outputs = network.layer_sizes[-1]
    x = _numbers("--input", inputs) if inputs else rng.normal(size=(batch, network.layer_sizes[0]))
    _check_width("--input", x, network.layer_sizes[0], "input")
    y = _numbers("--target", target) if target else None
    settings = Loss(_loss_of(loss, y, outputs))
    y = random_targets(rng, settings, len(x), outputs) if y is None else _targets(settings, y, outputs)
    _check_rows(x, y)
    return x, y, settings


def samples_of_model(model: Model, seed: int, inputs: str, target: str, batch: int, loss: str) -> Samples:
    """The same, of the raw values of a model's columns. Raises DataError, too, for what training did not have."""
    rng = np.random.default_rng(seed)
    settings = model.loss if loss == "auto" else Loss(loss)
    inner, outer = model.network.layer_sizes[0], model.network.layer_sizes[-1]
    x = _model_inputs(model, inputs) if inputs else rng.normal(size=(batch, inner))
    if not target:
        y = random_targets(rng, settings, len(x), outer)
    elif model.target is None or _is_classification(settings) != (model.task == "classification"):
        y = _targets(settings, _numbers("--target", target), outer)
    else:
        y = _encoded(model, settings, target)
    _check_rows(x, y)
    return x, y, settings


def _loss_of(loss: str, y: Any, outputs: int) -> str:
    """ "auto": classes where a target is one number, but the network has several outputs."""
    if loss != "auto":
        return loss
    are_values = outputs == 1 or (y is not None and y.shape[1] == outputs)
    return "squared_error" if are_values else "softmax_cross_entropy"


def _targets(loss: Loss, y: Any, outputs: int) -> Any:
    """Labels (B,) of one number each, else values (B, O)."""
    if loss.name == "softmax_cross_entropy" and y.shape[1] == 1:
        labels = y[:, 0]
        if not np.equal(labels, np.round(labels)).all() or labels.min() < 0 or labels.max() >= outputs:
            raise ConfigError(
                f"--target has the class {labels.max() if labels.max() >= outputs else labels.min():g}, but the "
                f"network's {outputs} classes are 0 to {outputs - 1}; give one of these"
            )
        return labels.astype(np.int64)
    _check_width("--target", y, outputs, "output")
    return y


def _numbers(flag: str, text: str) -> Any:
    """(B, D): commas between numbers, semicolons between samples."""
    rows = _cells(text)
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise ConfigError(
            f"{flag} has samples of {min(widths)} and of {max(widths)} numbers; give every sample as many"
        )
    return np.array([[_number(flag, cell) for cell in row] for row in rows])


def _number(flag: str, text: str) -> float:
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(
            f"{flag} has {quoted(text)}, but must be numbers with commas between, such as 0.5,-1.2"
        )
    return value


def _check_width(flag: str, values: Any, width: int, what: str) -> None:
    if values.shape[1] != width:
        raise ConfigError(
            f"{flag} has {values.shape[1]} number{'s' if values.shape[1] > 1 else ''} a sample, but the network has "
            f"{width} {what}{'s' if width > 1 else ''}; give one for each"
        )


def _check_rows(x: Any, y: Any) -> None:
    if len(x) != len(y):
        raise ConfigError(
            f"--target has {len(y)} target{'s' if len(y) > 1 else ''} for {len(x)} sample{'s' if len(x) > 1 else ''}; "
            "give one for each, with semicolons between"
        )


def _model_inputs(model: Model, text: str) -> Any:
    """What the network is fed: of a model with columns, its raw values prepared."""
    preparation, width = model.preparation, model.network.layer_sizes[0]
    if preparation is None:
        x = _numbers("--input", text)
        _check_width("--input", x, width, "input")
        return x
    rows = _cells(text)
    names, texts = preparation.input_names, preparation.text_names
    for row in rows:
        if len(row) != len(names):
            raise ConfigError(
                f"--input has {len(row)} values a sample, but the model has {len(names)} columns; give one for each of "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
    columns = {
        name: [cell if name in texts else _value(cell) for cell in column]
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return preparation.transform(_table("--input", columns, texts), model.network.dtype)


def _table(flag: str, columns: dict[str, list[Any]], texts: tuple[str, ...]) -> Table:
    """Whose complaints name the flag."""
    return replace(read_table(columns, as_text=texts), origin=flag)


def _cells(text: str) -> list[list[str]]:
    """Semicolons between samples, commas between the values of one."""
    return [[cell.strip() for cell in row.split(",")] for row in text.strip().strip(";").split(";")]


def _value(text: str) -> Any:
    """Of a column that is no text: a number, true or false, a date, or nothing where it is missing."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for read in (float, date.fromisoformat, datetime.fromisoformat):
        with suppress(ValueError):
            return read(text)
    return text or None


def _is_classification(loss: Loss) -> bool:
    return loss.name in CLASSIFICATION_LOSSES


def _encoded(model: Model, loss: Loss, text: str) -> Any:
    """The raw values of the target's column as the loss reads them."""
    target = model.target
    assert target is not None
    cells = [row[0] if len(row) == 1 else ",".join(row) for row in _cells(text)]
    values = [cell if target.text_names else _value(cell) for cell in cells]
    encoded = target.encode(_table("--target", {target.name: values}, target.text_names))
    if encoded.ndim == 1 and loss.name == "softmax_cross_entropy":
        return encoded
    return encoded.reshape(len(values), -1).astype(model.network.dtype)
