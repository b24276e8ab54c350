"""`Model` reads tables of every form and arrays of every library, and gives the same bits for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

from gpu_mlp.config import Loss
from gpu_mlp.data import Preparation, Target, read_table
from gpu_mlp.model import Model
from tests.files.models import KINDS, ROWS, array_model, columns, random_network, table_model


def write_csv(table: pa.Table, path: Path) -> Path:
    csv.write_csv(table, path)
    return path


def write_parquet(table: pa.Table, path: Path) -> Path:
    parquet.write_table(table, path)
    return path


FORMS: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "lists": lambda source, _: {name: list(values) for name, values in source.items()},
    "Table": lambda source, _: read_table(source),
    "columns in another order": lambda source, _: dict(reversed(source.items())),
    "without the target": lambda source, _: {name: v for name, v in source.items() if name != "y"},
    "a target of nonsense": lambda source, _: {**source, "y": [None] * ROWS},
    "ignored columns": lambda source, _: {**source, "id": [b"?"] * ROWS, "name": [{}] * ROWS},
    "pandas": lambda source, _: pd.DataFrame(source, index=range(7, 7 + ROWS)),
    "polars": lambda source, _: pl.DataFrame(source),
    "Arrow": lambda source, _: pa.table(source),
    "CSV": lambda source, folder: write_csv(pa.table(source), folder / "t.csv"),
    "a path in a string": lambda source, folder: str(write_csv(pa.table(source), folder / "t.csv")),
    "Parquet": lambda source, folder: write_parquet(pa.table(source), folder / "t.parquet"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_gives_the_same_bits_in_every_form(form: str, tmp_path: Path) -> None:
    model, source = KINDS["true and false"]()
    again = FORMS[form](source, tmp_path)
    assert model.outputs(again).tobytes() == model.outputs(source).tobytes()
    if form not in ("without the target", "a target of nonsense"):
        assert model.evaluate(again) == model.evaluate(source)


def test_an_array_is_taken_by_position_where_every_feature_is_a_number() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 3))
    table = read_table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": rng.normal(size=9)})
    model = Model(
        random_network((3, 1)),
        Loss("squared_error"),
        Target.fit(table, "y"),
        Preparation.fit(table, ["a", "b", "c"]),
    )
    expected = model.predict(table).tolist()
    for array in (x, np.asfortranarray(x), torch.tensor(x)):
        assert model.predict(array).tolist() == expected
    assert model.evaluate(x, table.column("y")) == model.evaluate(table)


def test_arrays_of_any_library_and_type_are_read() -> None:
    model, _ = array_model("squared_error", (3, 4, 1))
    x = np.arange(12).reshape(4, 3)
    expected = model.predict(x.astype(np.float32)).tolist()
    for array in (
        x,
        x.tolist(),
        x.astype(">f8"),
        torch.tensor(x),
        pd.DataFrame(x),
        pl.DataFrame(x),
        x.astype("u1"),
    ):
        assert model.predict(array).tolist() == expected


def test_an_unseen_category_is_zero_in_all_of_its_columns() -> None:
    table = read_table({"c": ["a", "b", "a", "b"], "y": [1.5, 2.0, 3.0, 4.0]})
    net = random_network((2, 1))
    model = Model(net, Loss("squared_error"), Target.fit(table, "y"), Preparation.fit(table, ["c"]))
    omega, beta = np.array(net.weights[0])[0], np.array(net.biases[0])[0]
    outputs = model.outputs({"c": ["a", "b", "z", None]})[:, 0]
    np.testing.assert_allclose(outputs, [omega[0] + beta, omega[1] + beta, beta, beta], rtol=1e-6)


def test_a_large_table_is_predicted_as_its_parts_are() -> None:
    """More rows than the network takes at once."""
    model, _ = table_model([0.5, 1.5] * 20, "squared_error", dtype="float64")
    big = read_table(columns(9001))
    together = model.predict(big)
    apart = np.concatenate(
        [model.predict(big.select(range(at, min(at + 500, 9001)))) for at in range(0, 9001, 500)]
    )
    np.testing.assert_allclose(together, apart, rtol=1e-12)
