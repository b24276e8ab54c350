"""Parameters that scikit-learn's estimators refuse are refused by ours, word for word; so are those of our own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.utils._param_validation import InvalidParameterError

import gpu_mlp

X = np.random.default_rng(0).normal(size=(20, 3))
TARGETS = {"MLPClassifier": np.arange(20) % 2, "MLPRegressor": X[:, 0]}

BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "hidden_layer_sizes": (0, -1, 1.5, "4", None),
    "solver": ("newton", None, 1),
    "alpha": (-1.0, "a", None),
    "batch_size": (0, -1, 1.5, "all", None),
    "learning_rate": ("fast", 0.1, None),
    "learning_rate_init": (0.0, -1.0, "a"),
    "power_t": (-0.5, "a"),
    "max_iter": (0, -1, 1.5, "a"),
    "shuffle": ("yes", 2),
    "random_state": (-1, "a", 1.5),
    "tol": (-1e-4, "a"),
    "verbose": ("loud", -1),
    "warm_start": ("yes", 2),
    "momentum": (-0.1, 1.1, "a"),
    "nesterovs_momentum": ("yes", 2),
    "early_stopping": ("yes", 2),
    "validation_fraction": (-0.1, 1.0, "a"),
    "beta_1": (-0.1, 1.0, "a"),
    "beta_2": (-0.1, 1.0, "a"),
    "epsilon": (0.0, -1e-8, "a"),
    "n_iter_no_change": (0, -1, 1.5, "a"),
    "max_fun": (0, 1.5, "a"),
}
# Where ours takes more: the choices differ, the rest of the sentence does not.
OF_MORE_CHOICES = (
    ("activation", "step"),
    ("activation", 3),
    ("activation", None),
    ("loss", "log"),
    ("loss", None),
)

OWN: dict[str, tuple[Any, ...]] = {
    "device": (3, None),
    "precision": ("half", 32),
    "dropout": (-0.1, 1.0, "a"),
    "class_weight": ("even", 2.0),
    "label_smoothing": (-0.1, 1.0),
    "huber_delta": (0, -1.0),
    "quantile": (0.0, 1.0, 2),
    "optimizer": ("newton", 3),
    "schedule": ("linear", 3),
    "clip_norm": (0, -1.0),
    "callbacks": (gpu_mlp.Callback(), None),
    "progress": ("yes", 3),
}


def refusal(package: Any, name: str, settings: dict[str, Any]) -> tuple[type, str]:
    """What `fit` raises; the choices, which come from a set, in order."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        getattr(package, name)(**settings).fit(X, TARGETS[name])
    text = re.sub(r"\{(.+?)\}", lambda found: ", ".join(sorted(found[1].split(", "))), str(caught.value))
    return caught.type, text


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("parameter", BAD_VALUES)
def test_a_bad_parameter_has_scikit_learns_words(name: str, parameter: str) -> None:
    for value in BAD_VALUES[parameter]:
        theirs = refusal(neural_network, name, {parameter: value})
        assert refusal(gpu_mlp, name, {parameter: value}) == theirs
        assert theirs[0] is InvalidParameterError or parameter == "hidden_layer_sizes"


def test_every_parameter_of_scikit_learns_is_tried() -> None:
    theirs = set(neural_network.MLPRegressor().get_params()) - {"activation", "loss"}
    assert set(BAD_VALUES) == theirs


@pytest.mark.parametrize(("parameter", "value"), OF_MORE_CHOICES, ids=str)
def test_a_bad_choice_has_scikit_learns_words_around_more_choices(parameter: str, value: Any) -> None:
    theirs, ours = (
        refusal(package, "MLPRegressor", {parameter: value}) for package in (neural_network, gpu_mlp)
    )
    assert ours[0] is theirs[0] is InvalidParameterError
    assert ours[1] != theirs[1]
    start, end = f"The '{parameter}' parameter of MLPRegressor must be ", f". Got {value!r} instead."
    for _, text in (theirs, ours):
        assert text.startswith(start)
        assert text.endswith(end)
    choices = [set(re.findall(r"'(\w+)'", text.removeprefix(start))) for _, text in (theirs, ours)]
    assert choices[0] < choices[1]


@pytest.mark.parametrize("parameter", OWN)
def test_a_bad_parameter_of_our_own_is_refused(parameter: str) -> None:
    owners = [name for name in TARGETS if parameter in getattr(gpu_mlp, name)().get_params()]
    assert owners
    for name in owners:
        for value in OWN[parameter]:
            type_, text = refusal(gpu_mlp, name, {parameter: value})
            assert type_ is InvalidParameterError
            assert re.fullmatch(
                rf"The '{parameter}' parameter of {name} must be .+\. Got {re.escape(repr(value))} instead\.",
                text,
            )


def test_every_parameter_of_our_own_is_tried() -> None:
    own = {
        parameter
        for name in TARGETS
        for parameter in set(getattr(gpu_mlp, name)().get_params())
        - set(getattr(neural_network, name)().get_params())
    }
    assert set(OWN) == own - {"loss"}
