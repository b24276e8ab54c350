"""Help, versions and exit codes: what the command line says of itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

import gpu_mlp
from gpu_mlp.cli import main
from gpu_mlp.cli.evaluate import evaluate
from gpu_mlp.cli.export import export
from gpu_mlp.cli.gradcheck import gradcheck
from gpu_mlp.cli.info import info
from gpu_mlp.cli.predict import predict
from gpu_mlp.cli.train import train
from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import DeviceError, DivergenceError
from tests.cli.commands import done, run

COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "export": export,
    "gradcheck": gradcheck,
    "info": info,
}


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands_and_the_exit_codes(arguments: tuple[str, ...]) -> None:
    outcome = done(*arguments)
    assert outcome.err == ""
    assert all(re.search(rf"^│ {command} ", outcome.out, re.MULTILINE) for command in COMMANDS)
    assert "gpu-mlp train --demo digits" in outcome.out
    assert (
        "0 done, 1 failed, 2 bad usage or input, 3 device unavailable, 4 diverged, 130/143 interrupted."
        in outcome.out
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_describes_every_flag(command: str) -> None:
    outcome = done(command, "--help")
    assert outcome.out.startswith(f"Usage: gpu-mlp {command} ")
    assert "\x1b" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 112
    documented = re.findall(r"^ {4}(\w+): (\S+ \S+)", inspect.getdoc(COMMANDS[command]) or "", re.MULTILINE)
    assert len(documented) >= 2
    for name, words in documented:
        flag = "json" if name == "as_json" else name.replace("_", "-")
        assert re.search(rf"--{flag} .*{re.escape(words)}", outcome.out), flag


def test_every_setting_of_training_is_a_flag_with_its_default() -> None:
    text = done("train", "--help").out
    for field in fields(TrainingConfig):
        assert f"--{field.name.replace('_', '-')} " in text
    for said in ("--epochs INT", "[default: 50]", "[default: 128]", "[default: adam]", "[default: 128,64]"):
        assert said in text


def test_the_version_is_the_package_s() -> None:
    assert done("--version").out == f"{gpu_mlp.__version__}\n"


def test_arguments_are_the_process_s_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu-mlp", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"{gpu_mlp.__version__}\n"


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown command": (("trian",), "there is no command 'trian'; did you mean 'train'?"),
    "command like no other": (
        ("xyz",),
        "there is no command 'xyz'; choose one of train, predict, evaluate, export, explain, gradcheck, info, bench",
    ),
    "flag without a command": (("--foo=1",), "gpu-mlp has no flag --foo; see gpu-mlp --help"),
    "unknown flag": (("train", "--epoch", "3"), "train has no flag --epoch; did you mean '--epochs'?"),
    "unknown flag with =": (
        ("train", "--leraning-rate=3"), "train has no flag --leraning-rate; did you mean '--learning-rate'?"
    ),
    "flag like no other": (("train", "--zzzzz"), "train has no flag --zzzzz; see gpu-mlp train --help"),
    "short flag": (("train", "-e", "3"), "train has no flag -e; see gpu-mlp train --help"),
    "flag of another command": (
        ("info", "--probabilities"), "info has no flag --probabilities; see gpu-mlp info --help"
    ),
    "flag that does not print": (
        ("train", "--e\x1b[31m"), r"train has no flag '--e\x1b[31m'; see gpu-mlp train --help"
    ),
    "no value": (
        ("train", "--epochs"), "--epochs needs a value; give one after it, or see gpu-mlp train --help"
    ),
    "flag for a value": (
        ("train", "--epochs", "--demo", "iris"),
        "--epochs needs a value; give one after it, or see gpu-mlp train --help",
    ),
    "given twice": (("train", "--seed", "1", "--seed", "2"), "--seed was given more than once; give it once"),
    "no table": (("predict", "m.safetensors"), "predict needs TABLE; see gpu-mlp predict --help"),
    "no model": (("evaluate",), "evaluate needs MODEL; see gpu-mlp evaluate --help"),
    "too much": (
        ("train", "a.csv", "b.csv", "c d"),
        "train was given 'b.csv', 'c d' beyond what it takes; quote names with spaces, or see gpu-mlp train --help",
    ),
    "no number": (
        ("train", "--learning-rate", "fast"), "--learning-rate is 'fast', but must be a number"
    ),
    "a fraction": (("train", "--epochs", "1.5"), "--epochs is '1.5', but must be a whole number"),
    "half a number": (("train", "--epochs", "3x"), "--epochs is '3x', but must be a whole number"),
    "neither true nor false": (
        ("train", "--shuffle=perhaps"), "--shuffle is 'perhaps', but must be true or false"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, tmp_path: Path) -> None:
    arguments, sentence = MISTAKES[mistake]
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"gpu-mlp: {sentence}\n"
    assert list(tmp_path.iterdir()) == []


def test_numbers_may_be_written_as_people_write_them() -> None:
    document = done(
        "train", "--demo", "iris", "--epochs", "2.0", "--learning-rate", "1e-2", "--json"
    ).document
    assert document["epochs"] == 2


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def cuda_error(message: str) -> Exception:
    """As CuPy raises it once a kernel has broken the context."""
    return type("CUDARuntimeError", (RuntimeError,), {"__module__": "cupy_backends.cuda.api.runtime"})(
        message
    )


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (MemoryError("800 GB"), 1, "the computer could not go on (MemoryError: 800 GB); free some space"),
        (OSError(28, "Disc full"), 1, "the computer could not go on (OSError: [Errno 28] Disc full); free"),
        (
            cuda_error("cudaErrorIllegalAddress: an illegal memory access was encountered"),
            1,
            "the CUDA device failed (CUDARuntimeError: cudaErrorIllegalAddress: an illegal memory access was",
        ),
        (DeviceError("no GPU\nat all"), 3, r"no GPU\nat all"),
        (DivergenceError("too fast", step=1, layer=None), 4, "too fast"),
    ],
)
def test_every_end_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, code: int, sentence: str
) -> None:
    monkeypatch.setattr("gpu_mlp.fit_plan.train", raising(error))
    outcome = run("train", "--demo", "iris")
    assert (outcome.code, outcome.out) == (code, "")
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"gpu-mlp: {sentence}")
    assert outcome.err.count("gpu-mlp: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_the_package_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_mlp.fit_plan.train", raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run("train", "--demo", "iris")
