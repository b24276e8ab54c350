"""`gpu-mlp evaluate`: the metrics of a model on a table, the same that its training printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import gpu_mlp
from gpu_mlp.data import Target, read_table, split_rows
from tests.cli.commands import Trained, done, run
from tests.cli.tables import Row, people, write_csv, write_parquet


def held_out(trained: Trained, target: str) -> list[Row]:
    """The rows that the run tested on."""
    table = read_table(trained.table)
    goal = Target.fit(table, target)
    labels = goal.encode(table) if goal.task == "classification" else None
    chosen = split_rows(table.rows, labels, validation=0.15, test=0.15, seed=0).test
    rows = people()
    return [rows[index] for index in chosen]


def column_of(out: str) -> dict[str, str]:
    """Metric -> the last column of a table on stdout."""
    lines = out.partition("\n\n")[0].splitlines()
    return {" ".join(line.split()[:-1]).rstrip("0123456789. "): line.split()[-1] for line in lines[1:]}


@pytest.mark.parametrize("run_name", ["buyers", "spenders"])
def test_the_rows_of_the_test_give_the_metrics_that_training_printed(
    request: pytest.FixtureRequest, run_name: str
) -> None:
    trained: Trained = request.getfixturevalue(run_name)
    target = "buys" if run_name == "buyers" else "spends"
    rows = held_out(trained, target)
    assert len(rows) == 18
    for table in (write_csv(Path("test.csv"), rows), write_parquet(Path("test.parquet"), rows)):
        outcome = done("evaluate", trained.model, table)
        assert column_of(outcome.out) == column_of(trained.outcome.out)
        assert outcome.out.splitlines()[0].split() == ["metric", table.name]
        assert outcome.err == ""
    others = write_csv(Path("others.csv"), [row for row in people() if row not in rows])  # negative control
    assert column_of(done("evaluate", trained.model, others).out) != column_of(trained.outcome.out)


def test_json_holds_the_metrics_of_the_model_in_memory(buyers: Trained, spenders: Trained) -> None:
    for trained, keys in (
        (buyers, "accuracy balanced_accuracy macro_f1 log_loss roc_auc"),
        (spenders, "rmse mae r2"),
    ):
        outcome = done("evaluate", trained.model, trained.table, "--json")
        assert list(outcome.document) == keys.split()
        assert outcome.err == ""
        expected = gpu_mlp.load(trained.model, "cpu").evaluate(trained.table)
        assert outcome.document == pytest.approx(expected, rel=1e-9)


def test_the_metrics_are_those_of_scikit_learn(buyers: Trained, spenders: Trained) -> None:
    rows = people()
    labels = done("predict", buyers.model, buyers.table).out.split()[1:]
    measured = done("evaluate", buyers.model, buyers.table, "--json").document
    assert measured["accuracy"] == accuracy_score([row[4] for row in rows], labels)
    values = np.array(done("predict", spenders.model, spenders.table).out.split()[1:], dtype=float)
    measured = done("evaluate", spenders.model, spenders.table, "--json").document
    assert measured["r2"] == pytest.approx(r2_score([row[5] for row in rows], values), rel=1e-6)


def test_one_row_has_the_metrics_that_one_row_can_have(buyers: Trained, spenders: Trained) -> None:
    table = write_csv(Path("one.csv"), people()[:1])
    assert "roc_auc" not in done("evaluate", buyers.model, table, "--json").document
    assert list(done("evaluate", spenders.model, table, "--json").document) == ["rmse", "mae"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("age,colour,member\n30,red,true\n", ("t.csv has no column 'buys'",)),
        (
            "age,colour,member,buys\n30,red,true,no\n30,red,true,maybe\n",
            ("t.csv, line 3, column 'buys'", "'maybe'", "'no', 'yes'", "remove the row"),
        ),
        ("age,colour,member,buys\n30,red,true,\n", ("t.csv, line 2, column 'buys' has no value",)),
    ],
)
def test_a_target_that_cannot_be_compared_is_refused(
    buyers: Trained, text: str, parts: tuple[str, ...]
) -> None:
    Path("t.csv").write_text(text, encoding="utf-8")
    outcome = run("evaluate", buyers.model, "t.csv")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert all(part in outcome.err for part in parts), outcome.err
