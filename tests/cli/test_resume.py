"""`train --resume`: an interrupted run goes on to the files that it would have come to."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gpu_mlp
from gpu_mlp.files import checkpoint_file
from gpu_mlp.files.run_folder import RunFolder
from tests.cli.commands import Outcome, run

IRIS = ("train", "--demo", "iris", "--epochs", "6", "--checkpoint-steps", "5")
TABLE = "age,colour,y\n" + "".join(
    f"{20 + n},{('red', 'blue')[n % 2]},{('a', 'b')[n // 2 % 2]}\n" for n in range(40)
)
OWN = ("train", "t.csv", "--target", "y", "--epochs", "6", "--batch-size", "8", "--checkpoint-steps", "5")


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: object, saves: int = 3) -> Outcome:
    """A run that gets a signal while it writes its n-th checkpoint, which is in the middle of an epoch."""
    real, left = RunFolder.save_checkpoint, [None] * saves

    def save(folder: RunFolder, *what: Any) -> None:
        if left:
            left.pop()
        if not left:
            os.kill(os.getpid(), signal.SIGTERM)
        real(folder, *what)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", save)
        outcome = run(*arguments)
    assert outcome.code == 143, outcome.err
    return outcome


def names_in(folder: str) -> list[str]:
    """What is in a run folder, but for what is hidden."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name[0] != ".")


def learnt(folder: str) -> tuple[bytes, list[list[str]], dict[str, Any]]:
    """The parameters, the history without its times, and the metrics."""
    model = gpu_mlp.load(Path(folder, "model.safetensors"), "cpu")
    with Path(folder, "history.csv").open() as file:
        rows = [row[:6] for row in csv.reader(file)]
    return model.network.parameters.flat.tobytes(), rows, model.metadata["metrics"]


@pytest.fixture
def table() -> None:
    Path("t.csv").write_text(TABLE)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("command", [IRIS, OWN, (*OWN, "--patience", "3"), (*OWN, "--schedule", "plateau")])
def test_it_comes_to_the_same_model_and_history(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    assert run(*command, "--out", "whole").code == 0
    outcome = interrupted(monkeypatch, *command, "--out", "run")
    assert outcome.err.endswith("go on with gpu-mlp train --resume run\n")
    assert "checkpoint-15.safetensors" in names_in("run")
    assert learnt("run") != learnt("whole")  # what it had learnt so far
    resumed = run("train", "--resume", "run")
    assert resumed.code == 0, resumed.err
    assert "resumed   after 15 steps" in resumed.err
    assert learnt("run") == learnt("whole")
    files = ["config.toml", "history.csv", "loss.png", "model.safetensors"]
    assert names_in("run") == files
    assert Path("run/config.toml").read_text() == Path("whole/config.toml").read_text()


def test_a_run_folder_of_a_later_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_file, "KIND", replace(checkpoint_file.KIND, version=9))
        interrupted(patch, *IRIS, "--out", "run")
    before = {name: Path("run", name).read_bytes() for name in names_in("run")}
    outcome = run("train", "--resume", "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert "has format version 9, but this gpu_mlp reads up to 1; upgrade gpu_mlp" in outcome.err
    assert {name: Path("run", name).read_bytes() for name in names_in("run")} == before
    Path("run/config.toml").write_text(Path("run/config.toml").read_text() + "invented = 3\n")
    outcome = run("train", "--resume", "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert "run/config.toml has the unknown key 'invented'" in outcome.err


def test_it_may_be_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run(*IRIS, "--out", "whole")
    interrupted(monkeypatch, *IRIS, "--out", "run", saves=1)
    interrupted(monkeypatch, "train", "--resume", "run", saves=2)
    assert run("train", "--resume", "run").code == 0
    assert learnt("run") == learnt("whole")


def test_a_run_that_had_saved_nothing_starts_anew() -> None:
    run(*IRIS, "--out", "whole")
    with RunFolder.create(Path("run"), {}) as folder:
        folder._keep = True  # as where the process was killed
        Path("run/config.toml").write_text(Path("whole/config.toml").read_text())
    assert run("train", "--resume", "run").code == 0
    assert learnt("run") == learnt("whole")


def test_a_longer_run_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = (*IRIS, "--schedule", "constant", "--out")
    interrupted(monkeypatch, *constant, "run")
    assert run("train", "--resume", "run", "--epochs", "8", "--stream", "always").code == 0
    whole = ("--epochs=8" if part == "6" else part for part in constant if part != "--epochs")
    assert run(*whole, "whole").code == 0
    assert learnt("run") == learnt("whole")


def test_before_its_first_epoch_is_done_there_is_a_model_too(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = interrupted(monkeypatch, *IRIS, "--out", "run", saves=1)
    assert "0 epochs in" in outcome.err
    assert names_in("run") == [
        "checkpoint-5.safetensors",
        "config.toml",
        "history.csv",
        "model.safetensors",
    ]
    assert gpu_mlp.load("run/model.safetensors", "cpu").metadata["best_epoch"] == 0


TURNED = "colour,age,y\n" + "".join(f"{c},{a},{y}\n" for a, c, y in csv.reader(TABLE.splitlines()[1:]))


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (TABLE.replace("20,", "21,", 1), "column 'age' has other values"),
        (TABLE.replace("age", "years", 1), "column 'age' is gone"),
        (
            TABLE.replace(",y\n", ",z,y\n", 1).replace(",a\n", ",1,a\n").replace(",b\n", ",2,b\n"),
            "layer_sizes 3-",
        ),
        (TABLE + "9,red,a\n", "with 28 rows to train, 6 to validate and 6 to test, but now has 29, 6 and 6"),
        (TABLE.replace("red", "rot"), "column 'colour' has other values"),
        (TABLE.replace(",b\n", ",c\n"), "the target 'y'"),
        (TURNED, "its columns are in another order"),
    ],
)
def test_another_table_is_refused_with_what_has_changed(
    monkeypatch: pytest.MonkeyPatch, content: str, what: str
) -> None:
    interrupted(monkeypatch, *OWN, "--out", "run")
    before = names_in("run")
    Path("t.csv").write_text(content)
    outcome = run("train", "--resume", "run")
    assert outcome.code == 2
    assert what in outcome.err.splitlines()[-1]
    assert outcome.err.endswith("or start a new run\n")
    assert names_in("run") == before


@pytest.mark.usefixtures("table")
def test_values_that_no_statistic_shows_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two colours change places."""
    interrupted(monkeypatch, *OWN, "--out", "run")
    lines = TABLE.splitlines(keepends=True)
    lines[2], lines[3] = lines[2].replace("blue", "red"), lines[3].replace("red", "blue")
    Path("t.csv").write_text("".join(lines))
    outcome = run("train", "--resume", "run")
    assert "the values of the table have changed" in outcome.err or "'colour' has other values" in outcome.err


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--hidden", "5"), "layer_sizes 4-64-32-3 of the network, but would go on with 4-5-3"),
        (("--learning-rate", "0.5"), "learning_rate 0.005 of the training, but would go on with 0.5"),
        (("--seed", "4"), "seed"),
        (("--epochs", "1"), "has done 1 epochs, but --epochs is 1"),
        (("--out", "other"), "--resume run was given with --out"),
        (("--config", "c.toml"), "--resume run was given with --config"),
        (("--validation", "0.3"), "with 106 rows to train, 22 to validate and 22 to test, but now has "),
    ],
)
def test_other_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], what: str
) -> None:
    interrupted(monkeypatch, *IRIS, "--out", "run")
    outcome = run("train", "--resume", "run", *flags)
    if flags[0] == "--epochs":
        what = "has done 2 epochs, but --epochs is 1"
    assert outcome.code == 2
    assert what in outcome.err.splitlines()[-1]


def test_what_is_no_interrupted_run_is_refused() -> None:
    assert "none is no run folder" in run("train", "--resume", "none").err
    run(*IRIS, "--out", "run")
    outcome = run("train", "--resume", "run")
    assert outcome.code == 2
    assert (
        "came to its end, so there is nothing to resume; start a new one with --config run/config.toml"
        in outcome.err
    )


def test_a_damaged_checkpoint_is_refused_where_none_is_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, *IRIS, "--out", "run", saves=1)
    Path("run/checkpoint-5.safetensors").write_bytes(b"damaged")
    outcome = run("train", "--resume", "run")
    assert outcome.code == 2
    assert "run/checkpoint-5.safetensors is too short" in outcome.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--checkpoint-minutes", "0"), "checkpoint_minutes is 0.0, but must be greater than 0"),
        (("--checkpoint-steps", "0"), "checkpoint_steps is 0, but must be"),
    ],
)
def test_intervals_that_are_none_are_refused_before_the_table_is_read(
    flags: tuple[str, ...], message: str
) -> None:
    outcome = run("train", "none.csv", "--target", "y", *flags)
    assert outcome.code == 2
    assert outcome.err.startswith(f"gpu-mlp: {message}")
