"""The demos: each the table it says it is, ready to be prepared."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from gpu_mlp.data import DEMOS, Preparation, Target, load_demo
from gpu_mlp.errors import ConfigError
from tests.data.refusals import refused

SHAPES = {
    "digits": (1797, 64, "classification", tuple(range(10))),
    "breast-cancer": (569, 30, "classification", ("benign", "malignant")),
    "wine": (178, 13, "classification", ("class_0", "class_1", "class_2")),
    "iris": (150, 4, "classification", ("setosa", "versicolor", "virginica")),
    "diabetes": (442, 10, "regression", ()),
    "spirals": (1500, 2, "classification", ("first", "second", "third")),
}


def test_every_demo_is_tested() -> None:
    assert set(DEMOS) == set(SHAPES)


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_can_be_prepared(name: str) -> None:
    table, target_name, title = load_demo(name)
    rows, features, task, classes = SHAPES[name]
    assert table.rows == rows
    assert len(table.names) == features + 1
    assert title.isprintable()
    target = Target.fit(table, target_name)
    assert (target.task, target.classes) == (task, classes)
    x = Preparation.fit(table, table.without([target_name]).names).transform(
        table, also_allowed=[target_name]
    )
    assert x.shape == (rows, features)
    assert len(target.encode(table)) == rows
    assert table.place(16, target_name) == f"demo {name}, row 17, column {target_name!r}"


def test_the_labels_of_the_bundled_demos_stand_by_their_rows() -> None:
    bunch = sklearn.datasets.load_breast_cancer()
    table, target, _ = load_demo("breast-cancer")
    assert table.columns[target].tolist() == bunch.target_names[bunch.target].tolist()
    np.testing.assert_array_equal(table.columns["mean_radius"], bunch.data[:, 0])
    digits, target, _ = load_demo("digits")
    np.testing.assert_array_equal(digits.columns[target], sklearn.datasets.load_digits().target)
    assert digits.names[:2] == ("pixel_0_0", "pixel_0_1")
    assert "petal_width_cm" in load_demo("iris")[0].names


def test_the_spirals_are_the_same_each_time_and_the_arms_are_alike() -> None:
    first, again = load_demo("spirals")[0], load_demo("spirals")[0]
    np.testing.assert_array_equal(first.columns["x"], again.columns["x"])
    arms = first.columns["arm"]
    assert sorted(np.unique(arms, return_counts=True)[1].tolist()) == [500, 500, 500]
    xy = np.column_stack([first.columns["x"], first.columns["y"]])
    # A third of a turn takes one arm to the next, so no line tells them apart: their centres are close.
    centres = np.array([xy[arms == arm].mean(axis=0) for arm in np.unique(arms)])
    assert np.abs(centres).max() < 0.3
    assert np.abs(xy).max() < 1.4


def test_the_arms_of_the_spirals_are_told_apart_by_neighbours_and_by_no_line() -> None:
    table, target, _ = load_demo("spirals")
    xy = np.column_stack([table.columns["x"], table.columns["y"]])
    arms = table.columns[target].astype(str)
    train, later = slice(0, 1000), slice(1000, None)
    near = KNeighborsClassifier(5).fit(xy[train], arms[train]).score(xy[later], arms[later])
    line = LogisticRegression().fit(xy[train], arms[train]).score(xy[later], arms[later])
    assert near > 0.9
    assert line < 0.6


def test_an_unknown_demo_is_refused() -> None:
    with refused("no demo 'irs'", "did you mean 'iris'?", error=ConfigError):
        load_demo("irs")
    with refused("no demo 'zzz'", "spirals", error=ConfigError):
        load_demo("zzz")
