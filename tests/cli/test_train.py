"""`gpu-mlp train` on files: what it reads, what it leaves behind, and that it says what it did."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.data import Split, read_table
from gpu_mlp.fitting import plan_fit
from tests.cli.commands import Trained, bits_of, done, everything_in, run
from tests.cli.tables import COLUMNS, people, write_csv, write_parquet

QUICK = ("--epochs", "2", "--hidden", "4", "--ignore", "id")


def test_a_classification_is_told_by_its_target_and_learnt(buyers: Trained) -> None:
    assert "column 'buys' holds text, so the task is classification" in buyers.outcome.err
    assert "120 rows, 3 feature columns" in buyers.outcome.err
    assert "84 train, 18 validate, 18 test (seed 0)" in buyers.outcome.err
    model = gpu_mlp.load(buyers.model, "cpu")
    assert model.classes == ("no", "yes")
    assert model.evaluate(buyers.table)["accuracy"] > 0.9
    assert model.preparation is not None
    expected = ("age", "age is missing", "colour=blue", "colour=green", "colour=red", "member")
    assert model.preparation.output_names == expected


def test_a_regression_is_told_by_its_target_and_learnt(spenders: Trained) -> None:
    assert "column 'spends' holds decimal numbers, so the task is regression" in spenders.outcome.err
    model = gpu_mlp.load(spenders.model, "cpu")
    assert model.network.layer_sizes == (6, 16, 1)
    assert model.evaluate(spenders.table)["r2"] > 0.7
    names = [line.split()[0] for line in spenders.outcome.out.partition("\n\n")[0].splitlines()]
    assert names == ["metric", "RMSE", "MAE", "R²"]


def test_missing_numbers_become_the_median_of_the_training_rows(buyers: Trained) -> None:
    model = gpu_mlp.load(buyers.model, "cpu")
    assert buyers.table is not None
    assert model.preparation is not None
    table = read_table(buyers.table)
    plan = plan_fit(table, "buys", ignore=("id", "spends"), device="cpu")
    assert isinstance(plan.split, Split)
    ages = table.select(plan.split.train).columns["age"]
    (age,) = (feature for feature in model.preparation.features if feature.name == "age")
    assert age == next(feature for feature in plan.preparation.features if feature.name == "age")
    assert np.isnan(ages).any()
    row = {"colour": ["red"], "member": [True]}
    missing, median = ({"age": [value], **row} for value in (None, float(np.nanmedian(ages))))
    features = [model.preparation.transform(read_table(table)) for table in (missing, median)]
    assert features[0][0, 0] == features[1][0, 0]
    assert (features[0][0, 1], features[1][0, 1]) == (1, 0)


def test_csv_and_parquet_of_the_same_rows_give_the_same_network(tmp_path: Path) -> None:
    rows = people()
    for name, write in (("csv", write_csv), ("parquet", write_parquet)):
        table = write(tmp_path / f"people.{name}", rows)
        done("train", table, "--target", "buys", *QUICK, "--out", name)
    assert bits_of(Path("csv/model.safetensors")) == bits_of(Path("parquet/model.safetensors"))


def test_ignored_columns_are_never_read(tmp_path: Path) -> None:
    rows = people()
    write_csv(tmp_path / "full.csv", rows)
    write_csv(tmp_path / "without.csv", [row[1:] for row in rows], COLUMNS[1:])
    done("train", "full.csv", "--target", "buys", *QUICK, "--out", "ignoring")
    done("train", "without.csv", "--target", "buys", *QUICK[:-2], "--out", "without")
    assert bits_of(Path("ignoring/model.safetensors")) == bits_of(Path("without/model.safetensors"))
    assert gpu_mlp.load("ignoring/model.safetensors").ignored == ("id",)


def test_the_task_can_be_chosen(tmp_path: Path) -> None:
    rows = [(number % 7, 2 * (number % 7)) for number in range(70)]
    table = write_csv(tmp_path / "t.csv", rows, ("x", "y"))
    for task, measured in (("classification", "accuracy"), ("regression", "rmse"), ("auto", "accuracy")):
        outcome = done(
            "train", table, "--target", "y", "--task", task, "--epochs", "1", "--out", task, "--json"
        )
        assert measured in outcome.document["metrics"]["test"]
        assert outcome.document["reason"] == (
            "column 'y' holds 7 different whole numbers in 70 rows, so the task is classification"
            if task == "auto"
            else f"the task {task} was asked for"
        )


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [
        (("--hidden", "0"), [6, 2]),
        (("--hidden", "5, 3", "--activation", "tanh,gelu"), [6, 5, 3, 2]),
        (("--loss", "binary_cross_entropy", "--dtype", "float64"), [6, 128, 64, 1]),
    ],
)
def test_the_architecture_is_what_the_flags_say(
    buyers: Trained, flags: tuple[str, ...], sizes: list[int]
) -> None:
    base = ("--target", "buys", "--ignore", "id", "--ignore", "spends", "--epochs", "1", "--json")
    document = done("train", buyers.table, *base, *flags, "--out", "run").document
    assert document["layer_sizes"] == sizes
    network = gpu_mlp.load("run/model.safetensors", "cpu").network
    assert list(network.layer_sizes) == sizes
    assert network.activations == (("tanh", "gelu") if "tanh,gelu" in flags else ("relu",) * (len(sizes) - 2))
    assert network.dtype == ("float64" if "float64" in flags else "float32")


def test_json_is_one_object_and_nothing_else(buyers: Trained) -> None:
    outcome = done("train", buyers.table, "--target", "buys", *QUICK, "--out", "run", "--json")
    document = outcome.document
    keys = "run model task reason loss layer_sizes device seconds rows epochs best_epoch stopped seed metrics"
    assert list(document) == keys.split()
    assert Path(document["model"]).is_file()
    assert document["rows"] == {"train": 84, "validation": 18, "test": 18}
    assert (document["epochs"], document["stopped"], document["device"]) == (2, "all epochs done", "cpu")
    assert set(document["metrics"]) == {"train", "validation", "test"}
    assert outcome.err.count("epoch ") == 2
    assert document["metrics"] == gpu_mlp.load(document["model"], "cpu").metadata["metrics"]


def test_without_out_runs_are_numbered(buyers: Trained, tmp_path: Path) -> None:
    for number in (1, 2):
        outcome = done("train", buyers.table, "--target", "buys", *QUICK)
        assert f"run folder: runs/people-{number} (" in outcome.out
    done("train", "--demo", "iris", "--epochs", "1")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["iris-1", "people-1", "people-2"]


def test_the_folders_above_a_run_are_made(buyers: Trained) -> None:
    done("train", buyers.table, "--target", "buys", *QUICK, "--out", "deep/er/run")
    assert Path("deep/er/run/model.safetensors").is_file()


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(buyers: Trained) -> None:
    common = ("train", buyers.table, "--target", "buys", *QUICK, "--dropout", "0.3")
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        done(*common, "--seed", seed, "--out", name)
    first, again, other = (bits_of(Path(name, "model.safetensors")) for name in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_early_stopping_keeps_the_best_epoch(buyers: Trained) -> None:
    flags = ("--target", "buys", "--ignore", "id", "--learning-rate", "0.5", "--patience", "3")
    outcome = done("train", buyers.table, *flags, "--epochs", "200", "--out", "run", "--json")
    best, epochs = outcome.document["best_epoch"], outcome.document["epochs"]
    assert epochs == best + 3 < 200
    assert outcome.document["stopped"] == "no improvement for 3 epochs"
    with Path("run/history.csv").open(encoding="utf-8", newline="") as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file)]
    assert losses.index(min(losses)) == best - 1
    assert f"({outcome.document['stopped']}), weights of epoch {best}\n" in done(
        "train", buyers.table, *flags, "--epochs", "200", "--out", "again"
    ).err  # fmt: skip


def test_rows_that_are_not_held_out_are_not_reported(buyers: Trained) -> None:
    flags = ("--target", "buys", *QUICK, "--validation", "0", "--test", "0")
    outcome = done("train", buyers.table, *flags, "--out", "run")
    assert outcome.out.splitlines()[0].split() == ["metric", "train"]
    assert "120 train, 0 validate, 0 test" in outcome.err
    assert "validation" not in outcome.err
    header, first, *_ = Path("run/history.csv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (row["validation_loss"], row["validation_metric"]) == ("", "")
    assert tomllib.loads(Path("run/config.toml").read_text(encoding="utf-8"))["test"] == 0


def test_without_matplotlib_there_is_no_picture(buyers: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "gpu_mlp.files.run_folder.find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    outcome = done("train", buyers.table, "--target", "buys", *QUICK, "--out", "run")
    assert "(config.toml, history.csv, model.safetensors)" in outcome.out
    assert not Path("run/loss.png").exists()


def test_a_name_that_does_not_print_is_escaped_in_what_is_shown(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "people\x1b[31m\n.csv", people())
    outcome = done("train", table, "--target", "buys", *QUICK, "--out", "ru\nn")
    assert "\x1b" not in outcome.out + outcome.err
    assert r"people\x1b[31m\n.csv: 120 rows" in outcome.err
    assert r"'ru\nn'" in outcome.out


def test_training_leaves_nothing_but_the_run(buyers: Trained, tmp_path: Path) -> None:
    before = everything_in(buyers.folder.parent)
    done("train", buyers.table, "--target", "buys", *QUICK, "--out", "run")
    assert everything_in(buyers.folder.parent) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_made_by_another_meanwhile_is_not_overwritten(
    buyers: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the table was read."""
    module = importlib.import_module("gpu_mlp.cli.train")
    real = module.plan_fit

    def plan(*arguments: Any, **settings: Any) -> Any:
        Path("run").mkdir()
        return real(*arguments, **settings)

    monkeypatch.setattr(module, "plan_fit", plan)
    outcome = run("train", buyers.table, "--target", "buys", *QUICK, "--out", "run")
    assert outcome.code == 2
    assert outcome.err.endswith("gpu-mlp: run already exists; choose another --out or remove it\n")
    assert everything_in(Path()) == {"run": b""}


def test_products_in_a_precision_are_told_and_learn(tmp_path: Path) -> None:
    outcome = done(
        "train", "--demo", "digits", "--precision", "bf16", "--epochs", "4", "--out", str(tmp_path / "run")
    )
    assert "parameters, float32, products in bf16\n" in outcome.err
    assert gpu_mlp.load(tmp_path / "run" / "model.safetensors", "cpu").network.dtype == "float32"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--precision", "quarter"),
            "precision 'quarter' is unknown; choose one of auto, float32, float64, tf32, bf16, fp16",
        ),
        (
            ("--precision", "bf16", "--dtype", "float64"),
            "precision 'bf16' rounds float32, but the network has dtype",
        ),
    ],
)
def test_a_precision_that_cannot_be_is_refused_before_anything_is_read(
    flags: tuple[str, ...], message: str
) -> None:
    outcome = run("train", "--demo", "digits", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"gpu-mlp: {message}")
