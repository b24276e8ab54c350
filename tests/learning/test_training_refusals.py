"""`train` and arrays that do not fit: one line that says what was given and expected, nothing trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_mlp.backends.base import Array
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DataError, GpuMlpError, ShapeError
from gpu_mlp.learning.training import train
from gpu_mlp.network.network import Network
from tests.learning.tables import (
    Recorder,
    bits,
)

X, Y, LABELS = np.zeros((6, 3)), np.zeros((6, 2)), np.array([0, 1, 0, 1, 0, 1])


def holding(array: Array, value: float, row: int, column: int) -> Array:
    """A copy of the array with one value replaced."""
    copy = array.astype(float)
    copy[row, column] = value
    return copy


REFUSED: dict[str, tuple[tuple[Any, Any], dict[str, Any], type[GpuMlpError], tuple[str, ...]]] = {
    "inputs too wide": ((np.zeros((6, 4)), Y), {}, ShapeError, ("(6, 4)", "(batch, 3)")),
    "a flat input": ((np.zeros(6), Y), {}, ShapeError, ("(6,)",)),
    "a scalar": ((1.0, Y), {}, ShapeError, ("()",)),
    "objects": ((X.astype(object), Y), {}, ShapeError, ("object",)),
    "text": ((X.astype(str), Y), {}, ShapeError, ("<U",)),
    "dates": ((X.astype("datetime64[s]"), Y), {}, ShapeError, ("datetime64",)),
    "ragged": (([[1, 2, 3], [1]], Y), {}, ShapeError, ("rows of the same length",)),
    "NaN": ((holding(X, np.nan, 4, 1), Y), {}, DataError, ("nan", "row 4", "column 1", "training")),
    "infinity": ((holding(X, np.inf, 0, 2), Y), {}, DataError, ("inf", "row 0", "column 2")),
    "ragged targets": ((X, [[1, 2], [1]]), {}, ShapeError, ("rows of the same length",)),
    "overflow": ((holding(X, 1e300, 5, 0), Y), {}, DataError, ("row 5", "column 0", "float32")),
    "no rows": ((X[:0], Y[:0]), {}, ShapeError, ("no rows",)),
    "targets too wide": ((X, np.zeros((6, 3))), {}, ShapeError, ("(6, 3)", "(batch, 2)")),
    "fewer targets": ((X, Y[:5]), {}, ShapeError, ("5 targets", "6 rows")),
    "object targets": ((X, Y.astype(object)), {}, ShapeError, ("object",)),
    "object labels": ((X, LABELS.astype(object)), {}, ShapeError, ("object",)),
    "text labels": ((X, LABELS.astype(str)), {"loss": "softmax_cross_entropy"}, ShapeError, ("<U",)),
    "NaN target": ((X, holding(Y, np.nan, 0, 0)), {}, ShapeError, ("NaN",)),
    "overflowing target": ((X, holding(Y, 1e300, 0, 0)), {}, ShapeError, ("too large for float32",)),
    "label too large": ((X, LABELS + 1), {}, ShapeError, ("1 to 2", "0 to 1")),
    "label negative": ((X, LABELS - 1), {}, ShapeError, ("-1 to 0",)),
    "label huge": ((X, np.full(6, 2**63, np.uint64)), {}, ShapeError, ("labels",)),
    "real labels": ((X, LABELS + 0.5), {"loss": "softmax_cross_entropy"}, ShapeError, ("float64",)),
    "no probability": ((X, Y + 2), {"loss": "binary_cross_entropy"}, ShapeError, ("2", "from 0 to 1")),
    "no distribution": ((X, Y + 0.3), {"loss": "softmax_cross_entropy"}, ShapeError, ("sum to 1",)),
    "negative count": ((X, Y - 1), {"loss": "poisson"}, ShapeError, ("-1", "poisson")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_does_not_fit_is_refused_in_one_line(case: str) -> None:
    (x, y), settings, kind, said = REFUSED[case]
    net = Network((3, 2), device="cpu")
    before = bits(net)
    recorder = Recorder()
    with pytest.raises(kind) as caught:
        train(net, x, y, TrainingConfig(**settings), callbacks=[recorder])
    message = str(caught.value)
    for part in said:
        assert part in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)
    assert bits(net) == before
    assert recorder.log == []


@pytest.mark.parametrize(
    ("weight", "kind", "said"),
    [
        (np.ones(5), ShapeError, "(5,)"),
        (np.ones((6, 1)), ShapeError, "(6, 1)"),
        (np.full(6, "a"), ShapeError, "<U1"),
        (np.zeros(6), DataError, "zeros"),
        (np.array([1, 1, 1, 1, 1, -1.0]), DataError, "negative"),
        (np.array([1, 1, 1, 1, 1, np.nan]), DataError, "NaN"),
        (np.array([1, 1, 1, 1, 1, np.inf]), DataError, "infinite"),
    ],
)
def test_sample_weights_that_do_not_fit_are_refused(weight: Any, kind: type[GpuMlpError], said: str) -> None:
    with pytest.raises(kind) as caught:
        train(Network((3, 2), device="cpu"), X, Y, sample_weight=weight)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_validation_table_is_checked_before_training() -> None:
    net = Network((3, 2), device="cpu")
    for validation, kind, said in (
        ((X[:, :2], Y), ShapeError, "(6, 2)"),
        ((holding(X, np.nan, 2, 2), Y), DataError, "validation table"),
        ((X, Y[:3]), ShapeError, "validation table"),
        ((X, holding(Y, np.inf, 0, 0)), ShapeError, "infinity"),
    ):
        with pytest.raises(kind) as caught:
            train(net, X, Y, validation=validation)
        assert said in str(caught.value)
