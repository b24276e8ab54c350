"""Small tables that are always at hand: five bundled with scikit-learn and one that is generated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpu_mlp.data.messages import quoted
from gpu_mlp.data.reading import read_table
from gpu_mlp.data.table import Table
from gpu_mlp.errors import ConfigError, did_you_mean

__all__ = ["DEMOS", "load_demo"]

# name: (scikit-learn's loader, the name of the target column, the title)
BUNDLED = {
    "digits": ("load_digits", "digit", "Handwritten digits: 8 x 8 pixels, 10 classes"),
    "breast-cancer": (
        "load_breast_cancer",
        "diagnosis",
        "Breast cancer: 30 measurements of cell nuclei, 2 classes",
    ),
    "wine": ("load_wine", "cultivar", "Wine: 13 chemical measurements, 3 cultivars"),
    "iris": ("load_iris", "species", "Iris: 4 measurements of flowers, 3 species"),
    "diabetes": (
        "load_diabetes",
        "progression",
        "Diabetes: 10 measurements, disease progression after a year",
    ),
}
SPIRALS_TITLE = "Spirals: 2 coordinates, 3 interleaved arms"

DEMOS = ("digits", "breast-cancer", "wine", "iris", "diabetes", "spirals")


def load_demo(name: str) -> tuple[Table, str, str]:
    """The demo of this name as (table, name of its target column, title). Raises ConfigError if unknown."""
    if name == "spirals":
        return _spirals(), "arm", SPIRALS_TITLE
    if name not in BUNDLED:
        raise ConfigError(f"there is no demo {quoted(name)}{did_you_mean(name, DEMOS)}")
    loader, target, title = BUNDLED[name]
    import sklearn.datasets

    # The measured values of diabetes, not scikit-learn's scaled ones, so that the columns can be read.
    settings = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, loader)(**settings)
    columns: dict[str, Any] = {
        str(feature).replace(" ", "_").replace("_(cm)", "_cm"): bunch.data[:, index]
        for index, feature in enumerate(bunch.feature_names)
    }
    has_words = name in {"breast-cancer", "wine", "iris"}
    columns[target] = np.asarray(bunch.target_names)[bunch.target] if has_words else bunch.target
    return _table(name, columns), target, title


def _spirals(arms: int = 3, points: int = 500, noise: float = 0.05) -> Table:
    """Arms of `points` points each that wind one and a half times round the origin, with Gaussian noise."""
    random = np.random.default_rng(0)
    radius = np.sqrt(random.uniform(0.01, 1.0, (arms, points)))  # uniform over the disc, not along the arm
    start = 2 * np.pi * np.arange(arms)[:, None] / arms
    angle = start + 3 * np.pi * radius
    x = radius * np.cos(angle) + noise * random.standard_normal((arms, points))
    y = radius * np.sin(angle) + noise * random.standard_normal((arms, points))
    arm = np.repeat(["first", "second", "third"], points)
    order = random.permutation(arms * points)
    return _table("spirals", {"x": x.ravel()[order], "y": y.ravel()[order], "arm": arm[order]})


def _table(name: str, columns: dict[str, Any]) -> Table:
    return replace(read_table(columns), origin=f"demo {name}")
