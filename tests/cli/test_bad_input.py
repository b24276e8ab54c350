"""Bad input is refused in one sentence that helps, with the right exit code, and leaves nothing behind.

The list of cases is in bad_input.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_mlp.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergenceError,
    GpuMlpError,
    ModelFileError,
    RunFolderError,
)
from tests.backends.fake_cupy import install, no_memory_of_devices
from tests.cli.bad_input import CASES, GOOD, MODEL, PEOPLE, Case
from tests.cli.commands import Outcome, everything_in, run, train

BUILTIN: dict[type[GpuMlpError], type[Exception]] = {
    DataError: ValueError,
    ConfigError: ValueError,
    ModelFileError: ValueError,
    DeviceError: RuntimeError,
    RunFolderError: RuntimeError,
    DivergenceError: ArithmeticError,
}
# Rows are not split alike, and a header of zeros is refused before the rows are read.
ELSE = ("too few rows", "more classes than rows to train on", "zeros")
FROM_A_TABLE = [
    name
    for name, case in CASES.items()
    if case.arguments[:1] == ("train",) and "--demo" not in case.arguments and name not in ELSE
]
FROM_PYTHON = [name for name, case in CASES.items() if case.python is not None]


@pytest.fixture(scope="module")
def good_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return train(folder, folder / "people.csv", "--target", "y", "--epochs", "2", "--hidden", "4").model


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without CuPy, whatever this one has."""
    install(monkeypatch, None)
    with no_memory_of_devices():
        yield


def lay(case: Case, good_model: Path) -> None:
    """The good model and the case's files, in the working folder."""
    shutil.copy(good_model, MODEL)
    for name, content in case.files.items():
        path = Path(name)
        if content is None:
            path.mkdir()
        else:
            data = content(good_model.read_bytes()) if callable(content) else content
            path.write_bytes(data.encode() if isinstance(data, str) else data)


def check_refusal(case: Case, outcome: Outcome, before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """What every refusal must be; its sentence comes back."""
    assert outcome.code == case.code, outcome.err
    assert outcome.out == ""
    *progress, last = outcome.err.splitlines()
    assert outcome.err == "".join(f"{line}\n" for line in [*progress, last])
    assert not progress or case.error is DivergenceError, outcome.err
    assert "gpu-mlp: " not in "".join(progress)
    assert last.startswith("gpu-mlp: ")
    assert last.isprintable()
    assert len(last) < 400
    absent = [part for part in case.says if part not in last]
    assert not absent, f"{absent} not in {last!r}"
    assert after == before
    return last.removeprefix("gpu-mlp: ")


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_one_sentence_and_leaves_nothing(name: str, good_model: Path) -> None:
    case = CASES[name]
    lay(case, good_model)
    before = everything_in(Path())
    check_refusal(case, run(*case.arguments), before, everything_in(Path()))


@pytest.mark.parametrize("name", FROM_A_TABLE)
def test_a_table_that_is_read_some_rows_at_a_time_is_refused_in_the_same_words(
    name: str, good_model: Path
) -> None:
    case = CASES[name]
    lay(case, good_model)
    before = everything_in(Path())
    refusal = check_refusal(case, run(*case.arguments), before, everything_in(Path()))
    outcome = run(*case.arguments, "--memory", "512MB")
    assert check_refusal(case, outcome, before, everything_in(Path())) == refusal


@pytest.mark.parametrize("name", FROM_PYTHON)
def test_python_raises_the_same_sentence(name: str, good_model: Path) -> None:
    case = CASES[name]
    lay(case, good_model)
    before = everything_in(Path())
    assert case.python is not None
    with pytest.raises(BUILTIN[case.error]) as caught:
        case.python()
    assert type(caught.value) is case.error
    assert f"gpu-mlp: {caught.value}" == run(*case.arguments).err.splitlines()[-1]
    assert everything_in(Path()) == before


@pytest.mark.parametrize("name", GOOD)
def test_what_the_cases_spoil_is_taken(name: str, good_model: Path) -> None:
    case = GOOD[name]
    lay(case, good_model)
    outcome = run(*case.arguments)
    assert outcome.code == 0, outcome.err
    assert case.python is not None
    case.python()


def test_every_exception_is_one_of_the_package_and_a_builtin_one() -> None:
    assert {case.error for case in CASES.values()} == set(BUILTIN)
    for error, builtin in BUILTIN.items():
        assert issubclass(error, GpuMlpError)
        assert issubclass(error, builtin)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(0, "", "gpu-mlp: t.csv is wrong\n"),
        Outcome(2, "run folder: runs/t-1\n", "gpu-mlp: t.csv is wrong\n"),
        Outcome(2, "", "t.csv is wrong\n"),
        Outcome(2, "", "gpu-mlp: t.csv is wrong"),
        Outcome(2, "", "gpu-mlp: it is wrong\n"),
        Outcome(2, "", "Traceback:\ngpu-mlp: t.csv is wrong\n"),
        Outcome(2, "", "gpu-mlp: t.csv\ngpu-mlp: t.csv is wrong\n"),
        Outcome(2, "", "gpu-mlp: t.csv is\twrong\n"),
        Outcome(2, "", f"gpu-mlp: t.csv is {'very ' * 100}wrong\n"),
    ],
)
def test_the_check_of_a_refusal_refuses(outcome: Outcome) -> None:
    """The negative control of `check_refusal`: a right one passes, and each of these is wrong in one thing."""
    case = Case(("train", "t.csv"), ("t.csv", "wrong"))
    check_refusal(case, Outcome(2, "", "gpu-mlp: t.csv is wrong\n"), {}, {})
    with pytest.raises(AssertionError):
        check_refusal(case, outcome, {}, {})


def test_the_check_of_a_refusal_sees_what_is_left_behind() -> None:
    case = Case(("train", "t.csv"), ("wrong",))
    outcome = Outcome(2, "", "gpu-mlp: wrong\n")
    for after in ({"runs": b""}, {".t-1.x.tmp": b""}):
        with pytest.raises(AssertionError):
            check_refusal(case, outcome, {}, after)
    Path("runs/t-1").mkdir(parents=True)
    assert set(everything_in(Path())) == {"runs", "runs/t-1"}
