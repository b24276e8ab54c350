"""Where `train`'s settings come from: flags, then a file's (--config or --resume), then a demo's own, then defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token

from gpu_mlp.config import TrainingConfig
from gpu_mlp.data.messages import first_line, quoted, shown_path
from gpu_mlp.errors import ConfigError, did_you_mean
from gpu_mlp.files.run_folder import CONFIG, check_run_folder

__all__ = ["DEMO_SETTINGS", "fill_settings", "read_config"]

# What makes each demo a good one; keys are flags.
DEMO_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "digits": {
        "hidden": "512,256",
        "epochs": 60,
        "batch-size": 64,
        "learning-rate": 2e-3,
        "schedule": "cosine",
        "dropout": 0.4,
        "label-smoothing": 0.1,
    },
    "breast-cancer": {
        "hidden": "64,32",
        "epochs": 60,
        "batch-size": 32,
        "learning-rate": 2e-3,
        "schedule": "cosine",
        "dropout": 0.2,
    },
    "wine": {
        "hidden": "32",
        "epochs": 60,
        "batch-size": 32,
        "learning-rate": 5e-3,
        "schedule": "cosine",
        "dropout": 0.2,
    },
    "iris": {
        "hidden": "64,32",
        "activation": "tanh",
        "epochs": 100,
        "batch-size": 16,
        "learning-rate": 5e-3,
        "schedule": "cosine",
        "label-smoothing": 0.05,
    },
    "diabetes": {
        "hidden": "32",
        "epochs": 100,
        "batch-size": 32,
        "learning-rate": 3e-3,
        "dropout": 0.2,
        "patience": 20,
    },
    "spirals": {
        "hidden": "64,64",
        "epochs": 200,
        "batch-size": 64,
        "optimizer": "adamw",
        "learning-rate": 1e-2,
        "weight-decay": 0.1,
        "schedule": "cosine",
    },
}

# Alternatives: where a flag names one of them, the file's others do not count.
SOURCES = ("table", "demo")


def fill_settings(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give every argument that no flag has set the value of a settings file, or of the demo's own settings.

    This is a `config` of cyclopts, called after the flags are read and before they are converted.
    """
    flags = {argument.name.lstrip("-").lower(): argument for argument in arguments if argument.name != "*"}
    chosen = _settings_file(flags)
    if chosen is not None:
        values = read_config(chosen, [name for name in flags if name not in ("config", "resume")])
        if any(flags[name].tokens for name in SOURCES):
            dropped = {*SOURCES, "target"} if flags["demo"].tokens else set(SOURCES)
            values = {key: value for key, value in values.items() if key not in dropped}
        _fill(flags, values, shown_path(chosen))
    demo = _value(flags["demo"].tokens)
    _fill(flags, DEMO_SETTINGS.get(demo or "", {}), f"demo {demo}")


def read_config(path: Path, known: list[str]) -> dict[str, Any]:
    """The settings of a TOML file, keys spelled as flags. Raises ConfigError for what is wrong with it."""
    shown = shown_path(path)
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{shown} does not exist; check the path after --config") from None
    except OSError as error:
        raise ConfigError(
            f"{shown} cannot be read ({error.strerror}); check the path after --config"
        ) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{shown} is not a TOML file ({first_line(error)}); correct it") from None
    result = {}
    for key, value in values.items():
        name = key.replace("_", "-")
        if name not in known:
            raise ConfigError(f"{shown} has the unknown key {quoted(key)}{did_you_mean(name, known)}")
        if not isinstance(value, (str, bool, int, float, list)):
            raise ConfigError(
                f"{shown} has a {type(value).__name__} at {quoted(key)}; give text, a number or a list"
            )
        result[name] = value
    _check_ranges(shown, result)
    return result


def _check_ranges(shown: str, values: dict[str, Any]) -> None:
    """Refuse a training setting that is unknown or out of range here, where the file that holds it is known."""
    given: dict[str, Any] = {}
    for field in fields(TrainingConfig):
        value = values.get(field.name.replace("_", "-"))
        if isinstance(value, (bool, int, float)) or (isinstance(value, str) and field.type == "str"):
            given[field.name] = value
    try:
        TrainingConfig(**given)
    except ConfigError as error:
        raise ConfigError(f"{shown}: {error}") from None


def _settings_file(flags: Mapping[str, Any]) -> Path | None:
    """The --config file, or that of the run to --resume."""
    config, resume = (_value(flags[name].tokens) for name in ("config", "resume"))
    if resume is None:
        return None if config is None else Path(config)
    others = [f"--{name}" for name in ("config", "out") if flags[name].tokens]
    if others:
        raise ConfigError(
            f"--resume {shown_path(resume)} was given with {others[0]}, but goes on with the settings and in the "
            f"folder of its run; leave {others[0]} out"
        )
    check_run_folder(Path(resume))
    return Path(resume) / CONFIG


def _value(tokens: list[Token]) -> str | None:
    return tokens[0].value if tokens else None


def _fill(flags: Mapping[str, Any], values: Mapping[str, Any], source: str) -> None:
    for name, value in values.items():
        if not flags[name].tokens:
            for index, text in enumerate(_texts(name, value)):
                flags[name].append(Token(keyword=f"--{name}", value=text, source=source, index=index))


def _texts(name: str, value: Any) -> list[str]:
    """A value as it would stand on the command line, once for each time the flag would be repeated."""
    if isinstance(value, list):
        items = [_text(item) for item in value]
        return items if name == "ignore" else [",".join(items)]
    return [_text(value)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
