"""`train --config`: a run is repeated bit by bit, flags win over the file, and mistakes in it name the file."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from gpu_mlp.config import TrainingConfig
from gpu_mlp.telemetry.measures import MEASURES
from tests.cli.commands import Trained, bits_of, done, run

# Every kind of value: whole numbers, decimals, true and false, text, lists and "none".
EVERYTHING = (
    "--target", "buys", "--ignore", "id", "--ignore", "spends", "--validation", "0.2", "--test", "0.1",
    "--hidden", "8,5", "--activation", "tanh,gelu", "--initializer", "orthogonal", "--dtype", "float64",
    "--epochs", "4", "--batch-size", "16", "--optimizer", "adamw", "--learning-rate", "0.013",
    "--beta1", "0.8", "--weight-decay", "0.02", "--clip-norm", "1.5", "--schedule", "cosine",
    "--warmup-epochs", "1.5", "--dropout", "0.25", "--label-smoothing", "0.1", "--no-shuffle",
    "--patience", "3", "--min-delta", "0.001", "--seed", "18446744073709551615",
)  # fmt: skip


def losses_of(folder: Path) -> list[tuple[str, ...]]:
    """All of history.csv but the times and the telemetry."""
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times = ("seconds", "rows_per_second", "joules_per_million_rows", *MEASURES)
    return [tuple(value for name, value in row.items() if name not in times) for row in rows]


def settings_of(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))


def same_run(first: Path, second: Path) -> bool:
    models = [folder / "model.safetensors" for folder in (first, second)]
    return losses_of(first) == losses_of(second) and bits_of(models[0]) == bits_of(models[1])


def written(text: str | bytes) -> Path:
    path = Path("settings.toml")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_run_is_repeated_bit_by_bit(buyers: Trained) -> None:
    done("train", buyers.table, *EVERYTHING, "--out", "first")
    done("train", "--config", "first/config.toml", "--out", "second")
    assert same_run(Path("first"), Path("second"))
    assert settings_of(Path("first")) == settings_of(Path("second"))
    done("train", "--config", "second/config.toml", "--out", "other", "--seed", "1")  # the negative control
    assert not same_run(Path("first"), Path("other"))


def test_a_run_is_repeated_from_another_folder(
    buyers: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Path("people.csv")
    table.write_bytes(buyers.table.read_bytes() if buyers.table else b"")
    done("train", table, "--target", "buys", "--epochs", "2", "--out", "first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done("train", "--config", "../first/config.toml", "--out", "second")
    assert same_run(tmp_path / "first", Path("second"))


def test_the_digits_are_repeated_bit_by_bit(digits: Trained) -> None:
    """A few epochs of the demo's own settings, dropout and schedule among them."""
    flags = ("--config", digits.folder / "config.toml", "--epochs", "3")
    done("train", *flags, "--out", "first")
    done("train", "--config", "first/config.toml", "--out", "second")
    assert same_run(Path("first"), Path("second"))
    assert settings_of(Path("first")) == settings_of(digits.folder) | {"epochs": 3}
    assert len(losses_of(digits.folder)) == 60


def test_the_file_holds_every_setting_as_it_was(buyers: Trained) -> None:
    done("train", buyers.table, *EVERYTHING, "--out", "run")
    settings = settings_of(Path("run"))
    names = {field.name.replace("_", "-") for field in fields(TrainingConfig)}
    others = (
        "table target task ignore validation test hidden activation initializer dtype device "
        "checkpoint-minutes checkpoint-steps tensorboard"
    )
    assert set(settings) == names | set(others.split())
    assert settings["table"] == str(buyers.table)
    assert settings["ignore"] == ["id", "spends"]
    assert (settings["seed"], settings["learning-rate"]) == (2**64 - 1, 0.013)
    assert (settings["beta1"], settings["beta2"], settings["shuffle"]) == (0.8, "none", False)
    first, *_ = Path("run/config.toml").read_text(encoding="utf-8").splitlines()
    assert first == "# gpu-mlp train --config config.toml repeats this run; flags win over what stands here."


def test_flags_win_over_the_file() -> None:
    config = written("demo = 'iris'\nepochs = 2\nhidden = [5, 4]\nlearning_rate = 0.5\nseed = 3\n")
    document = done("train", "--config", config, "--epochs", "3", "--hidden", "6", "--json").document
    assert (document["epochs"], document["layer_sizes"], document["seed"]) == (3, [4, 6, 3], 3)
    settings = settings_of(Path("runs/iris-1"))
    assert settings["learning-rate"] == 0.5  # the file's, spelled with _
    assert settings["activation"] == "tanh"  # the demo's own
    assert settings["momentum"] == "none"  # the default


def test_a_table_or_a_demo_on_the_command_line_replaces_the_files(buyers: Trained) -> None:
    config = written("demo = 'iris'\nepochs = 1\n")
    done("train", buyers.table, "--target", "buys", "--config", config, "--out", "table")
    assert settings_of(Path("table"))["table"] == str(buyers.table)
    assert "demo" not in settings_of(Path("table"))
    done("train", "--config", "table/config.toml", "--demo", "wine", "--ignore", "ash", "--out", "demo")
    assert settings_of(Path("demo"))["target"] == "cultivar"
    assert settings_of(Path("demo"))["ignore"] == ["ash"]


def test_json_and_out_may_stand_in_the_file() -> None:
    config = written("demo = 'iris'\nepochs = 1\njson = true\nout = 'there'\nignore = ['sepal_width_cm']\n")
    document = done("train", "--config", config).document
    assert document["run"] == "there"
    assert document["layer_sizes"][0] == 3


MISTAKES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "unknown key": ("demo = 'iris'\nepoch = 3\n", ("unknown key 'epoch'", "did you mean 'epochs'?")),
    "key like no other": ("zzz = 3\n", ("unknown key 'zzz'", "choose one of table, target, demo")),
    "a file of its own": ("config = 'x.toml'\n", ("unknown key 'config'",)),
    "a table of TOML": ("[training]\nepochs = 3\n", ("unknown key 'training'",)),
    "text for a number": ("demo = 'iris'\nepochs = 'x'\n", ("epochs is 'x'", "a whole number")),
    "a fraction": ("demo = 'iris'\nepochs = 3.5\n", ("epochs is 3.5", "a whole number")),
    "a fraction in quotes": ("demo = 'iris'\nepochs = '3.5'\n", ("epochs is '3.5'", "a whole number")),
    "true for a number": ("demo = 'iris'\nepochs = true\n", ("epochs is 'true'", "a whole number")),
    "text for true or false": ("demo = 'iris'\nshuffle = 'x'\n", ("shuffle is 'x'", "true or false")),
    "a list for a number": ("demo = 'iris'\nepochs = [3, 4]\n", ("epochs is '3,4'", "a whole number")),
    "a date": ("epochs = 2020-01-01\n", ("has a date at 'epochs'", "give text, a number or a list")),
    "out of range": ("demo = 'iris'\nepochs = 0\n", ("epochs is 0", "at least 1")),
    "negative seed": ("demo = 'iris'\nseed = -1\n", ("seed is -1", "at least 0")),
    "not finite": ("demo = 'iris'\nlearning-rate = nan\n", ("learning_rate is nan", "greater than 0")),
    "unknown optimizer": ("demo = 'iris'\noptimizer = 'adm'\n", ("optimizer 'adm'", "did you mean 'adam'?")),
    "not TOML": ("demo =\n", ("is not a TOML file", "line 1", "correct it")),
    "the same key twice": ("seed = 1\nseed = 2\n", ("is not a TOML file", "correct it")),
    "not text": (b"\xff\xfe\x00", ("is not a TOML file", "utf-8")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_file_names_the_file(mistake: str, tmp_path: Path) -> None:
    text, parts = MISTAKES[mistake]
    outcome = run("train", "--config", written(text))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("gpu-mlp: settings.toml")
    assert outcome.err.count("\n") == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["settings.toml"]


def test_what_is_not_a_file_is_refused() -> None:
    Path("folder").mkdir()
    outcome = run("train", "--config", "none.toml")
    assert (outcome.code, outcome.err) == (
        2, "gpu-mlp: none.toml does not exist; check the path after --config\n"
    )  # fmt: skip
    outcome = run("train", "--config", "folder")
    assert outcome.code == 2
    assert "folder cannot be read (Is a directory)" in outcome.err


def test_a_mistake_in_a_flag_names_the_flag_and_not_the_file() -> None:
    outcome = run("train", "--config", written("demo = 'iris'\nepochs = 3\n"), "--epochs", "x")
    assert outcome.err == "gpu-mlp: --epochs is 'x', but must be a whole number\n"
