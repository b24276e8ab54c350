"""The settings: defaults, what is refused and how, and the errors' family."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from typing import Any

import numpy as np
import pytest

from gpu_mlp import config, errors
from gpu_mlp.backends.base import LOSS_NAMES
from gpu_mlp.config import (
    Loss,
    NetworkConfig,
    TrainingConfig,
    check_choice,
    check_precision,
    check_range,
)
from gpu_mlp.errors import ConfigError, did_you_mean


def refusal(call: Any, *arguments: Any, **settings: Any) -> str:
    """The one line it raises."""
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", (0, -1, 1.5, math.nan, math.inf, "3", None)),
        ("batch_size", (0, -1, 1.5, math.inf, "3", None)),
        ("loss", ("", "mse", "squared", 3)),
        ("huber_delta", (0.0, -1.0, math.nan, math.inf, "1")),
        ("quantile", (0.0, 1.0, -0.5, math.nan)),
        ("label_smoothing", (-0.1, 1.0, math.nan)),
        ("optimizer", ("", "SGD", "adma", None)),
        ("learning_rate", (0.0, -1.0, math.nan, math.inf, "0.1", None)),
        ("momentum", (-0.1, 1.0, math.nan)),
        ("beta1", (-0.1, 1.0)),
        ("beta2", (-0.1, 1.0)),
        ("epsilon", (0.0, -1e-8, math.inf)),
        ("weight_decay", (-0.1, math.nan, math.inf)),
        ("clip_norm", (0.0, -1.0, math.nan, math.inf)),
        ("schedule", ("", "linear", None)),
        ("schedule_epochs", (0, 1.5)),
        ("schedule_factor", (0.0, 1.5, math.nan)),
        ("warmup_epochs", (-1.0, math.inf)),
        ("dropout", (-0.1, 1.0, math.nan)),
        ("patience", (0, -1, 2.5, math.inf)),
        ("min_delta", (-1e-3, math.nan, math.inf)),
        ("seed", (-1, 2**64, 0.5, None)),
        ("stream", ("", "auto ", "Always", None, True)),
    ],
)
def test_a_value_out_of_range_is_refused_by_name_and_value(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        message = refusal(TrainingConfig, **{name: value})
        assert name in message
        assert repr(value) in message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", (1, 10**6, np.int64(3))),
        ("batch_size", (1, 2**20, np.int32(7))),
        ("learning_rate", (1e-12, 100.0, 1, np.float32(0.5))),
        ("momentum", (None, 0.0, 0.999)),
        ("weight_decay", (None, 0.0, 10.0)),
        ("clip_norm", (None, 1e-9)),
        ("label_smoothing", (0.0, 0.999)),
        ("schedule_factor", (1e-9, 1.0)),
        ("warmup_epochs", (0.0, 0.5, 3)),
        ("dropout", (0.0, 0.999)),
        ("patience", (None, 1)),
        ("min_delta", (0.0, 1.0)),
        ("seed", (0, 2**64 - 1)),
        ("loss", ("auto", *LOSS_NAMES)),
        ("optimizer", config.OPTIMIZER_NAMES),
        ("schedule", config.SCHEDULE_NAMES),
        ("stream", ("auto", "always", "never")),
    ],
)
def test_the_ends_of_every_range_are_allowed(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        assert getattr(TrainingConfig(**{name: value}), name) == value


def test_every_field_of_a_training_config_is_checked_and_described() -> None:
    """A new field needs a line in the docstring; its range is tested above."""
    documentation = inspect.getdoc(TrainingConfig) or ""
    for field in dataclasses.fields(TrainingConfig):
        assert re.search(rf"\b{field.name}\b.*:", documentation), f"{field.name} is not described"


def test_configs_are_values() -> None:
    """Frozen, comparable and hashable: two runs of equal configs are the same run."""
    assert TrainingConfig(epochs=3) == TrainingConfig(epochs=3)
    assert NetworkConfig((2, 3)) == NetworkConfig((2, 3))
    assert hash(NetworkConfig((2, 3))) == hash(NetworkConfig((2, 3)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("loss", "parameters"),
    [
        (Loss("huber", huber_delta=0.3), {"delta": 0.3}),
        (Loss("quantile", quantile=0.3), {"quantile": 0.3}),
        (Loss("softmax_cross_entropy", label_smoothing=0.3), {"label_smoothing": 0.3}),
        (Loss("squared_error", 0.3, 0.3, 0.3), {}),
    ],
)
def test_a_loss_has_the_parameters_of_its_primitive(loss: Loss, parameters: dict[str, float]) -> None:
    assert loss.parameters == parameters


@pytest.mark.parametrize(
    ("settings", "labels", "name"),
    [
        ({}, True, "softmax_cross_entropy"),
        ({}, False, "squared_error"),
        ({"loss": "huber"}, True, "huber"),
        ({"loss": "softmax_cross_entropy"}, False, "softmax_cross_entropy"),
    ],
)
def test_auto_chooses_the_loss_by_the_targets(settings: dict[str, Any], labels: bool, name: str) -> None:
    loss = TrainingConfig(**settings, huber_delta=0.3, quantile=0.2, label_smoothing=0.1).loss_settings(
        labels=labels
    )
    assert loss == Loss(name, 0.3, 0.2, 0.1)


def test_activations_are_spread_over_the_hidden_layers() -> None:
    assert NetworkConfig((2, 3, 4, 5), "tanh").activations == ("tanh", "tanh")
    assert NetworkConfig((2, 3, 4, 5), ("tanh", "relu")).activations == ("tanh", "relu")
    assert NetworkConfig((2, 3), "tanh").activations == ()
    assert NetworkConfig((2, 3), ()).activations == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": 0.0}, "rate is -1.0, but must be at least 0"),
        ({"low": 0.0, "low_open": True}, "rate is -1.0, but must be greater than 0"),
        ({"high": -2.0}, "rate is -1.0, but must be at most -2"),
        (
            {"low": 0.0, "high": 1.0, "high_open": True},
            "rate is -1.0, but must be at least 0 and less than 1",
        ),
        ({"low": 1, "whole": True}, "rate is -1.0, but must be a whole number, at least 1"),
    ],
)
def test_a_range_is_said_in_words(settings: dict[str, Any], said: str) -> None:
    assert refusal(check_range, "rate", -1.0, **settings) == said


def test_infinity_and_text_are_no_numbers() -> None:
    assert refusal(check_range, "rate", math.inf) == "rate is inf, but must be a finite number"
    assert refusal(check_range, "rate", "fast") == "rate is 'fast', but must be a number"


def test_an_unknown_name_is_answered_with_the_nearest_or_with_all() -> None:
    known = ("adam", "sgd", "lion")
    assert (
        refusal(check_choice, "optimizer", "adma", known)
        == "optimizer 'adma' is unknown; did you mean 'adam'?"
    )
    assert (
        refusal(check_choice, "optimizer", "x", known)
        == "optimizer 'x' is unknown; choose one of adam, sgd, lion"
    )
    assert did_you_mean("sgdd", known) == "; did you mean 'sgd'?"
    assert did_you_mean("sgdd", ("adam", "sgd")) == "; choose one of adam, sgd"


def test_every_error_is_of_the_family_and_of_a_built_in_kind() -> None:
    kinds = {
        "ConfigError": ValueError,
        "DataError": ValueError,
        "DeviceError": RuntimeError,
        "DivergenceError": ArithmeticError,
        "ModelFileError": ValueError,
        "RunFolderError": RuntimeError,
        "ShapeError": ValueError,
        "WriteError": RuntimeError,
    }
    found = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert found - {"GpuMlpError"} == set(kinds)
    for name, kind in kinds.items():
        error = getattr(errors, name)
        assert issubclass(error, errors.GpuMlpError)
        assert issubclass(error, kind)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("bfloat16", "bf16"),
        ("BF16", "bf16"),
        ("float16", "fp16"),
        ("half", "fp16"),
        ("fp-16", "fp16"),
        ("TF32", "tf32"),
        ("double", "float64"),
        ("float33", "float32"),
    ],
)
def test_a_precision_of_another_name_is_recognised(given: str, meant: str) -> None:
    makers: tuple[Any, ...] = (
        lambda: TrainingConfig(precision=given),
        lambda: check_precision(given, "float32"),
    )
    for make in makers:
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value) == f"precision {given!r} is unknown; did you mean {meant!r}?"
