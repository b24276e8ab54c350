"""`gpu-mlp predict`: a raw table in, the labels of the model in memory out, as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import gpu_mlp
from gpu_mlp.data import load_demo, read_table
from tests.cli.commands import Trained, bits_of, done, run
from tests.cli.tables import COLUMNS, digits_csv, people, write_csv, write_parquet
from tests.files.models import parameter_bits

# How much the probabilities of two ways to the same rows may differ: rounding of a product's blocks.
SAME = 1e-6


def rows_of(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


@pytest.fixture(scope="module")
def raw_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_csv(tmp_path_factory.mktemp("raw") / "digits.csv")


@pytest.fixture(scope="module")
def labels(digits: Trained) -> list[int]:
    """What a model that was never in a file says of the digits in memory: trained as the command trained its own."""
    table, target, _ = load_demo("digits")
    saved = gpu_mlp.load(digits.model, "cpu")
    model = gpu_mlp.fit_table(
        table,
        target,
        hidden_layer_sizes=saved.network.layer_sizes[1:-1],
        config=gpu_mlp.TrainingConfig(**saved.metadata["config"]),
        device="cpu",
    ).model
    assert parameter_bits(model) == bits_of(digits.model)
    predicted: list[int] = model.predict(table.without([target])).tolist()
    return predicted


def test_the_digits_of_a_csv_get_the_labels_of_the_model_in_memory(
    digits: Trained, raw_digits: Path, labels: list[int]
) -> None:
    outcome = done("predict", digits.model, raw_digits)
    header, rows = rows_of(outcome.out)
    assert header == ["digit"]
    assert [int(row[0]) for row in rows] == labels
    assert len(set(labels)) == 10
    assert outcome.err == ""


def test_the_labels_are_of_these_rows_in_this_order(
    digits: Trained, raw_digits: Path, labels: list[int]
) -> None:
    """The negative control: other rows give other labels, and reordered rows reordered labels."""
    lines = raw_digits.read_text(encoding="utf-8").splitlines(keepends=True)
    Path("reversed.csv").write_text("".join([lines[0], *reversed(lines[1:])]), encoding="utf-8")
    _, rows = rows_of(done("predict", digits.model, "reversed.csv").out)
    reordered = [int(row[0]) for row in rows]
    assert reordered == labels[::-1]
    assert reordered != labels


@pytest.mark.parametrize("name", ["labels.csv", "labels.CSV", "labels.parquet"])
def test_labels_are_written_to_a_file(
    digits: Trained, raw_digits: Path, labels: list[int], name: str
) -> None:
    outcome = done("predict", digits.model, raw_digits, "--out", name)
    assert (outcome.out, outcome.err) == ("", f"1797 predictions written to {name}\n")
    if name.endswith(".parquet"):
        assert pq.read_table(name).to_pydict() == {"digit": labels}
    else:
        text = Path(name).read_text(encoding="utf-8")
        assert text == done("predict", digits.model, raw_digits).out
        assert [int(row[0]) for row in rows_of(text)[1]] == labels
    assert [path.name for path in Path().iterdir()] == [name]


def test_probabilities_sum_to_one_and_the_largest_is_the_label(
    digits: Trained, raw_digits: Path, labels: list[int]
) -> None:
    header, rows = rows_of(done("predict", digits.model, raw_digits, "--probabilities").out)
    assert header == [str(digit) for digit in range(10)]
    shares = np.array(rows, dtype=np.float64)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert shares.argmax(axis=1).tolist() == labels
    expected = gpu_mlp.load(digits.model, "cpu").predict_proba(raw_digits)
    np.testing.assert_allclose(shares, expected, rtol=0, atol=SAME)
    done("predict", digits.model, raw_digits, "--probabilities", "--out", "p.parquet")
    written = pq.read_table("p.parquet")
    assert written.column_names == header
    np.testing.assert_allclose(np.column_stack(written.columns), shares, rtol=0, atol=SAME)


def test_a_target_column_is_neither_needed_nor_looked_at(buyers: Trained, tmp_path: Path) -> None:
    rows = people()
    expected = done("predict", buyers.model, buyers.table).out
    for name, columns in (("without", (1, 2, 3)), ("with", (1, 2, 3, 4)), ("shuffled", (3, 4, 1, 2))):
        table = write_csv(
            tmp_path / f"{name}.csv",
            [[row[i] if COLUMNS[i] != "buys" else "?" for i in columns] for row in rows],
            [COLUMNS[i] for i in columns],
        )
        assert done("predict", buyers.model, table).out == expected
    assert done("predict", buyers.model, write_parquet(tmp_path / "t.parquet", rows)).out == expected


def test_a_category_that_training_did_not_have_is_zero_in_all(buyers: Trained) -> None:
    table = Path("new.csv")
    table.write_text("age,colour,member\n30,violet,true\n30,red,true\n,red,false\n", encoding="utf-8")
    model = gpu_mlp.load(buyers.model, "cpu")
    assert model.preparation is not None
    features = model.preparation.transform(read_table(table, as_text=["colour"]))
    assert features[:, 2:5].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 1]]
    header, rows = rows_of(done("predict", buyers.model, table).out)
    assert header == ["buys"]
    assert [row[0] for row in rows] == model.predict(table).tolist()


def test_a_regression_gives_values_in_its_own_units(spenders: Trained) -> None:
    header, rows = rows_of(done("predict", spenders.model, spenders.table).out)
    assert header == ["spends"]
    values = np.array([float(row[0]) for row in rows])
    np.testing.assert_allclose(values, gpu_mlp.load(spenders.model, "cpu").predict(spenders.table), rtol=1e-6)
    given = np.array([row[5] for row in people()], dtype=float)
    assert np.sqrt(np.mean((values - given) ** 2)) < 0.5 * given.std()


@pytest.mark.parametrize(
    ("labels", "written", "kept"),
    [(("true", "false"), {"true", "false"}, {True, False}), (("3", "8"), {"3", "8"}, {3, 8})],
)
def test_labels_keep_their_own_type(
    tmp_path: Path, labels: tuple[str, str], written: set[str], kept: set[object]
) -> None:
    table = write_csv(
        tmp_path / "t.csv", [(number % 2, labels[number % 2]) for number in range(40)], ("x", "y")
    )
    flags = ("--epochs", "20", "--hidden", "4", "--learning-rate", "0.1")
    done("train", table, "--target", "y", *flags, "--out", "run")
    _, rows = rows_of(done("predict", "run/model.safetensors", table).out)
    assert {row[0] for row in rows} == written
    done("predict", "run/model.safetensors", table, "--out", "y.parquet")
    assert set(pq.read_table("y.parquet")["y"].to_pylist()) == kept


def test_a_file_is_replaced_only_where_that_is_asked_for(buyers: Trained) -> None:
    Path("y.csv").write_text("mine\n", encoding="utf-8")
    refused = run("predict", buyers.model, buyers.table, "--out", "y.csv")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "gpu-mlp: --out y.csv already exists; choose another name, or add --overwrite\n"
    assert Path("y.csv").read_text(encoding="utf-8") == "mine\n"
    done("predict", buyers.model, buyers.table, "--out", "y.csv", "--overwrite")
    assert Path("y.csv").read_text(encoding="utf-8").startswith("buys\n")
    assert [path.name for path in Path().iterdir()] == ["y.csv"]


@pytest.mark.parametrize(
    ("out", "parts"),
    [
        ("y.txt", ("--out y.txt ends in '.txt'", ".csv or .parquet")),
        ("y", ("--out y ends in ''", ".csv or .parquet")),
        ("none/y.csv", ("--out none/y.csv is in a folder that does not exist", "make it")),
        ("folder.csv", ("--out folder.csv is a folder", "give the name of a file in it")),
    ],
)
def test_an_out_that_cannot_be_written_is_refused_before_the_model_is_read(
    buyers: Trained, out: str, parts: tuple[str, ...]
) -> None:
    Path("folder.csv").mkdir()
    outcome = run("predict", "no.safetensors", buyers.table, "--out", out)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("gpu-mlp: ")
    assert outcome.err.count("\n") == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert [path.name for path in Path().iterdir()] == ["folder.csv"]


def test_a_disc_that_is_full_leaves_no_half_a_file(buyers: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    outcome = run("predict", buyers.model, buyers.table, "--out", "y.csv")
    assert outcome.code == 2
    assert outcome.err == (
        "gpu-mlp: y.csv cannot be written (No space left on device); choose another --out\n"
    )
    assert list(Path().iterdir()) == []


def test_a_regression_has_no_probabilities(spenders: Trained) -> None:
    outcome = run("predict", spenders.model, spenders.table, "--probabilities")
    assert (outcome.code, outcome.out) == (2, "")
    assert "a regression (loss squared_error) has no classes" in outcome.err
