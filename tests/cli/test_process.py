"""`python -m gpu_mlp` as a process: exit codes, pipes that close, Ctrl-C, and what a machine without extras says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import gpu_mlp
from tests.cli.commands import Trained, environment, everything_in, finished, start
from tests.cli.tables import people, write_csv

ENDLESS = ("train", "--demo", "digits", "--epochs", "100000", "--out", "run")


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """All of stderr up to the line that begins with `text`."""
    seen = ""
    assert process.stderr is not None
    for line in process.stderr:
        seen += line
        if line.startswith(text):
            return seen
    raise AssertionError(f"{text!r} never came: {seen}")


def test_the_exit_code_is_the_process_s(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "x,y\n" + "".join(f"{n},{n * 0.5}\n" for n in range(30)), encoding="utf-8"
    )
    wild = ("train", "t.csv", "--target", "y", "--learning-rate", "1e30", "--optimizer", "sgd")
    for code, arguments, sentence in (
        (2, ("predict", "no.safetensors", "t.csv"), "no.safetensors does not exist; check the path"),
        (3, ("gradcheck", "--device", "cuda:9999"), ""),
        (4, wild, "the loss became "),
    ):
        outcome = finished(start(tmp_path, *arguments))
        assert (outcome.code, outcome.out) == (code, "")
        assert outcome.err.splitlines()[-1].startswith(f"gpu-mlp: {sentence}"), outcome.err
    outcome = finished(start(tmp_path, "--version"))
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{gpu_mlp.__version__}\n", "")
    assert set(everything_in(tmp_path)) == {"t.csv"}


def test_results_go_to_stdout_and_the_rest_to_stderr(tmp_path: Path) -> None:
    outcome = finished(start(tmp_path, "train", "--demo", "iris", "--epochs", "3", "--json"))
    assert outcome.code == 0, outcome.err
    assert outcome.document["epochs"] == 3
    assert outcome.err.count("epoch ") == 3
    assert "\x1b" not in outcome.out + outcome.err
    assert (tmp_path / "runs/iris-1/loss.png").is_file()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(buyers: Trained, tmp_path: Path, unbuffered: str) -> None:
    table = write_csv(tmp_path / "many.csv", people(60_000))
    process = start(tmp_path, "predict", buyers.model, table, PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None
    assert process.stdout.readline() == "buys\n"
    process.stdout.close()
    process.stdout = None
    outcome = finished(process)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [("train", "--help"), ("gradcheck",), ("train", "--demo", "iris", "--epochs", "1", "--out", "run")],
)
def test_a_reader_that_is_gone_from_the_start_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    process = start(tmp_path, *arguments)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    outcome = finished(process)
    assert outcome.code == 0
    assert "Error" not in outcome.err
    assert (tmp_path / "run" / "model.safetensors").is_file() == ("--demo" in arguments)


def test_training_that_ends_because_nobody_reads_its_progress_is_not_done(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = start(tmp_path, "train", "--demo", "iris", "--out", "run", stderr=theirs)
    os.close(theirs)
    outcome = finished(process)
    assert (outcome.code, outcome.out) == (1, "")
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_after_saving(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, *ENDLESS)
    try:
        wait_for(process, "epoch 1/")
        time.sleep(0.3)
        process.send_signal(number)
        outcome = finished(process, seconds=30)
    finally:
        process.kill()
    assert outcome.code == code, outcome.err
    assert "(interrupted), weights of epoch " in outcome.err
    assert outcome.err.endswith("go on with gpu-mlp train --resume run\n")
    assert outcome.out.startswith("metric ")
    checkpoint, *files = sorted(path.name for path in (tmp_path / "run").iterdir() if path.name[0] != ".")
    assert files == ["config.toml", "history.csv", "loss.png", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    model = gpu_mlp.load(tmp_path / "run/model.safetensors", "cpu")
    assert model.metadata["stopped"] == "interrupted"
    rows = (tmp_path / "run/history.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert 1 <= len(rows) == model.metadata["epochs"] < 100_000
    state, _ = gpu_mlp.read_checkpoint(tmp_path / "run" / checkpoint)
    assert state.arrays["parameters"].size == model.network.parameters.flat.size
    assert len(state.history) == len(rows)
    settings = tomllib.loads((tmp_path / "run/config.toml").read_text(encoding="utf-8"))
    assert settings["epochs"] == 100_000


def test_ctrl_c_before_there_is_anything_to_save_writes_nothing(tmp_path: Path) -> None:
    """While the table is read: here it is a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "t.csv")
    process = start(tmp_path, "train", "t.csv", "--target", "y")
    try:
        writer = os.open(tmp_path / "t.csv", os.O_WRONLY)  # waits until the process has opened it
        time.sleep(0.5)  # and now it reads
        process.send_signal(signal.SIGINT)
        outcome = finished(process, seconds=30)
        os.close(writer)
    finally:
        process.kill()
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "gpu-mlp: interrupted; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


PRESSED_WHILE_IMPORTING = """
import os, runpy, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "cyclopts":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
runpy.run_module("gpu_mlp", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_while_the_command_is_imported_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRESSED_WHILE_IMPORTING, "info"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment()
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "gpu-mlp: interrupted; nothing was written\n"


def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("größe,y\n", encoding="utf-8")
    outcome = finished(start(tmp_path, "train", "t.csv", "--target", "y", PYTHONIOENCODING="ascii"))
    assert outcome.code == 2
    assert "('gr\\xf6\\xdfe', 'y')" in outcome.err


def test_a_device_from_the_environment_is_said_to_be(tmp_path: Path) -> None:
    flags = ("train", "--demo", "iris", "--epochs", "1", "--out", "run")
    outcome = finished(start(tmp_path, *flags, GPU_MLP_DEVICE="cuda:9999"))
    assert (outcome.code, outcome.out) == (3, "")
    assert everything_in(tmp_path) == {}
