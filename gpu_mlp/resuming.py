"""What must be the same for a run to go on where it stood: its description, and what has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gpu_mlp.data.messages import quoted
from gpu_mlp.errors import ConfigError, DataError
from gpu_mlp.fit_plan import FitPlan

__all__ = ["check_same_run", "describe_run"]

# Settings that may change: how long the run is, and where its table lies.
FREE = ("epochs", "stream")
ADVICE = "go on with the table as it was, or start a new run"


def describe_run(plan: FitPlan) -> dict[str, Any]:
    """Plain data: the network, the settings, and digests of every column's preparation and of all values."""
    features = plan.preparation.to_dict()["features"]
    description = {
        "network": asdict(plan.network_config),
        "training": {key: value for key, value in asdict(plan.config).items() if key not in FREE},
        "columns": {feature["name"]: _digest(feature) for feature in features},
        "target": {"name": plan.target.name, "digest": _digest(plan.target.to_dict())},
        "rows": dict(plan.rows),
        "values": _values(plan),
    }
    plain: dict[str, Any] = json.loads(json.dumps(description))  # lists where there are tuples
    return plain


def check_same_run(saved: Mapping[str, Any], plan: FitPlan) -> None:
    """Raise ConfigError for another network or setting, DataError for another table; each says what has changed."""
    now = describe_run(plan)
    for part, what in (("network", "the network"), ("training", "the training")):
        for name, value in now[part].items():
            was = saved[part].get(name)
            if was != value:
                raise ConfigError(
                    f"the run was saved with {name} {_shown(was)} of {what}, but would go on with {_shown(value)}; "
                    "leave it as it was, or start a new run"
                )
    _check_names(list(saved["columns"]), list(now["columns"]))
    if now["rows"] != saved["rows"]:
        was, is_now = (
            tuple(part["rows"][name] for name in ("train", "validation", "test")) for part in (saved, now)
        )
        raise DataError(
            f"the run was saved with {was[0]} rows to train, {was[1]} to validate and {was[2]} to test, but now has "
            f"{is_now[0]}, {is_now[1]} and {is_now[2]}; {ADVICE}"
        )
    _refuse_columns(
        [name for name, digest in now["columns"].items() if digest != saved["columns"][name]],
        "has other values",
    )
    if now["target"] != saved["target"]:
        raise DataError(
            f"the run was saved with the target {quoted(saved['target']['name'])}, but now that is "
            f"{quoted(now['target']['name'])} or has other values; {ADVICE}"
        )
    if now["values"] != saved["values"]:
        raise DataError(f"the values of the table have changed since the run was saved; {ADVICE}")


def _check_names(saved: list[str], now: list[str]) -> None:
    _refuse_columns([name for name in saved if name not in now], "is gone")
    _refuse_columns([name for name in now if name not in saved], "is new")
    if now != saved:
        raise DataError(
            f"the table has changed since the run was saved: its columns are in another order; {ADVICE}"
        )


def _refuse_columns(names: list[str], what: str) -> None:
    """Raise DataError for the first of them, if there are any."""
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise DataError(
            f"the table has changed since the run was saved: column {quoted(names[0])}{more} {what}; {ADVICE}"
        )


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _values(plan: FitPlan) -> str:
    """Of all that is trained and validated on, as the network reads it."""
    digest = hashlib.sha256()
    for name in ("train", "validation"):
        for array in plan.arrays.get(name, ()):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _shown(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
