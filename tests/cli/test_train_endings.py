"""What becomes of a trained network where something comes between its last epoch and its run folder."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gpu_mlp.files.run_folder import RunFolder
from tests.cli.commands import run

TRAIN = ("train", "--demo", "iris", "--epochs", "2")
FILES = ["config.toml", "history.csv", "loss.png", "model.safetensors"]


def before(owner: Any, name: str, happens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`happens` is called just before the function of that name."""
    real = getattr(owner, name)

    def call(*arguments: Any, **settings: Any) -> Any:
        happens()
        return real(*arguments, **settings)

    monkeypatch.setattr(owner, name, call)


TRAINING = importlib.import_module("gpu_mlp.cli.train")


@pytest.mark.parametrize(("owner", "moment"), [(RunFolder, "finish"), (TRAINING, "print_result")])
def test_ctrl_c_after_the_last_epoch_loses_nothing(
    owner: Any, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before(owner, moment, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    outcome = run(*TRAIN, "--out", "run")
    assert outcome.code == 130
    assert "nothing was written" not in outcome.err
    assert "run folder: run (" in outcome.out
    assert sorted(path.name for path in Path("run").iterdir()) == FILES


def test_a_second_run_at_once_gets_the_next_number(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [TRAIN]  # run while the first is under way
    before(TRAINING, "_train", lambda: others and run(*others.pop()), monkeypatch)
    outcome = run(*TRAIN)
    assert outcome.code == 0, outcome.err
    assert "run folder: runs/iris-1 (" in outcome.out
    for folder in ("runs/iris-1", "runs/iris-2"):
        assert sorted(path.name for path in Path(folder).iterdir()) == FILES


def test_a_run_that_diverges_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(
        "train", "--demo", "diabetes", "--optimizer", "sgd", "--learning-rate", "1e30", "--out", "new/run"
    )
    assert outcome.code == 4
    assert not Path("new").exists()


def test_a_table_whose_model_no_file_could_hold_is_refused_before_training() -> None:
    rows = "".join(f"{'x' * 20_000}{n},{n % 2}\n" for n in range(60))
    Path("t.csv").write_text("word,y\n" + rows * 2)
    outcome = run("train", "t.csv", "--target", "y", "--out", "new/run")
    assert outcome.code == 2
    assert "the categories of the table take 1" in outcome.err
    assert outcome.err.endswith("ignore text columns with many long categories\n")
    assert not Path("new").exists()
