"""Names and labels that would move a terminal's cursor are escaped wherever a command prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import done, run

COLUMN, TARGET = "age\x1b[2J", "y\x07"
ROWS = [f"{n},re\x1b[31md{n % 2},q\x1b[1m{n % 3}" for n in range(60)]


@pytest.fixture
def table() -> Path:
    path = Path("t.csv")
    path.write_text("\n".join([f"{COLUMN},b,{TARGET}", *ROWS, ""]), encoding="utf-8")
    return path


def check(text: str) -> None:
    assert text.replace("\n", "").isprintable(), repr(text)


@pytest.mark.parametrize("memory", [(), ("--memory", "64MB")])
def test_what_train_info_and_evaluate_print_is_printable(table: Path, memory: tuple[str, ...]) -> None:
    outcome = done("train", table, "--target", TARGET, "--epochs", "1", *memory, "--out", "run")
    check(outcome.out + outcome.err)
    assert r"column 'y\x07' holds text" in outcome.err
    model = Path("run/model.safetensors")
    for arguments in (("info", model), ("evaluate", model, table)):
        outcome = done(*arguments)
        check(outcome.out + outcome.err)
    # The file is data, from which the labels must come back as they were.
    assert "q\x1b[1m" in done("predict", model, table).out


def test_so_are_refusals(table: Path) -> None:
    done("train", table, "--target", TARGET, "--epochs", "1", "--out", "run")
    Path("other.csv").write_text("a\x1b[2J\n1\n", encoding="utf-8")
    wrong = "\n".join([f"{COLUMN},b,{TARGET}", *ROWS, f"old\x1b[5m,red,{'q'}", ""])
    Path("wrong.csv").write_text(wrong, encoding="utf-8")
    for arguments in (
        ("predict", "run/model.safetensors", "other.csv"),
        ("evaluate", "run/model.safetensors", "wrong.csv"),
        ("train", table, "--target", "x\x1b[0m"),
        ("train", table, "--target", TARGET, "--ignore", "z\x1b"),
        ("train", "wrong.csv", "--target", TARGET, "--memory", "64MB"),
        ("train", "none\x1b.csv", "--target", TARGET),
    ):
        outcome = run(*arguments)
        assert outcome.code == 2, arguments
        check(outcome.err)
        assert r"\x1b" in outcome.err
