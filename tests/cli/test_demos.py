"""`gpu-mlp train --demo`: every demo ends well, with the files of a run and the quality that is promised."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest

import gpu_mlp
from gpu_mlp.cli.settings import DEMO_SETTINGS
from gpu_mlp.data import DEMOS, Target, load_demo, split_rows
from tests.cli.commands import Outcome, Trained, done, train

# The metric of the test rows as the table names it, and the least it must be.
FLOORS = {
    "digits": ("accuracy", 0.97),
    "breast-cancer": ("accuracy", 0.93),
    "wine": ("accuracy", 0.9),
    "iris": ("accuracy", 0.9),
    "diabetes": ("R²", 0.3),
    "spirals": ("accuracy", 0.97),
}


@pytest.fixture(scope="module", params=DEMOS)
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Outcome]:
    """Its name, its run folder and what the command wrote."""
    name: str = request.param
    trained: Trained = (
        request.getfixturevalue("digits")
        if name == "digits"
        else train(tmp_path_factory.mktemp(name), "--demo", name)
    )
    return name, trained.folder, trained.outcome


def metrics_table(out: str) -> dict[str, dict[str, float]]:
    """Metric -> part -> value, of the table on stdout."""
    header, *rows = out.partition("\n\n")[0].splitlines()
    name, *parts = header.split()
    assert name == "metric"
    table = {}
    for row in rows:
        *words, training, validation, test = row.split()
        table[" ".join(words)] = dict(zip(parts, map(float, (training, validation, test)), strict=True))
    return table


def test_every_demo_has_a_floor_and_settings() -> None:
    assert set(FLOORS) == set(DEMO_SETTINGS) == set(DEMOS)


def test_a_demo_reaches_its_quality(demo: tuple[str, Path, Outcome]) -> None:
    name, _, outcome = demo
    metric, least = FLOORS[name]
    table = metrics_table(outcome.out)
    assert list(table[metric]) == ["train", "validation", "test"]
    assert table[metric]["test"] >= least


def test_what_is_said_of_quality_is_what_the_model_does(demo: tuple[str, Path, Outcome]) -> None:
    """The metrics of the table are those of the saved model on the rows that were held out."""
    name, folder, outcome = demo
    model = gpu_mlp.load(folder / "model.safetensors", "cpu")
    table, target, _ = load_demo(name)
    labels = Target.fit(table, target)
    split = split_rows(
        table.rows,
        labels.encode(table) if labels.task == "classification" else None,
        validation=0.15,
        test=0.15,
        seed=0,
    )
    measured = model.evaluate(table.select(split.test))
    key = "accuracy" if labels.task == "classification" else "r2"
    assert metrics_table(outcome.out)[FLOORS[name][0]]["test"] == pytest.approx(measured[key], abs=6e-5)


def test_a_demo_leaves_a_whole_run_folder(demo: tuple[str, Path, Outcome]) -> None:
    name, folder, outcome = demo
    files = ["config.toml", "history.csv", "loss.png", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == files
    assert outcome.out.endswith(f"\nrun folder: {folder} ({', '.join(files)})\n")
    assert [path.name for path in folder.parent.iterdir()] == ["run"]  # and nothing temporary beside it
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    settings = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    assert settings["demo"] == name
    assert all(settings[key] == value for key, value in DEMO_SETTINGS[name].items())
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == settings["epochs"] or settings["patience"] != "none"
    assert all(float(row["validation_loss"]) > 0 for row in rows)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_results_and_progress_do_not_mix(demo: tuple[str, Path, Outcome]) -> None:
    name, _, outcome = demo
    assert "epoch" not in outcome.out
    assert [line.split()[0] for line in outcome.err.splitlines()[:6]] == [
        "table", "task", "rows", "network", "training", "device",
    ]  # fmt: skip
    assert outcome.err.startswith(f"table     demo {name}: ")
    assert "\nepoch 1/" in outcome.err
    assert "accuracy 0." in outcome.err or "RMSE" in outcome.err
    assert "metric " not in outcome.err


def test_a_poor_run_is_seen_to_be_poor(tmp_path: Path) -> None:
    """The negative control: the floors are not reached whatever the training does."""
    outcome = done("train", "--demo", "wine", "--learning-rate", "1e-7", "--out", tmp_path / "run")
    assert metrics_table(outcome.out)["accuracy"]["test"] < FLOORS["wine"][1]
