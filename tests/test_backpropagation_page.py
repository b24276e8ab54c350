"""docs/backpropagation.md: its command prints all that the page quotes, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import gpu_mlp
from gpu_mlp.explanation.cost import cost_of
from tests.cli.commands import done

DOCS = Path(gpu_mlp.__file__).parent.parent / "docs"
PAGE = (DOCS / "backpropagation.md").read_text(encoding="utf-8")


def spaced(text: str) -> str:
    return " ".join(text.split())


def printed() -> str:
    (command,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    program, *arguments = shlex.split(command)
    assert program == "gpu-mlp"
    return done(*arguments).out


def test_every_line_that_is_quoted_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_MLP_DEVICE", "cpu")
    text = spaced(printed())
    blocks = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        for line in block.splitlines():
            assert spaced(line) in text, line


def test_the_figures_and_files_that_it_names_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) == 8
    for link in links:
        assert (DOCS / link).exists(), link


def test_its_figures_are_of_its_command() -> None:
    (command,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    assert f'COMMAND = "{command} --out"' in (DOCS / "figures" / "make.py").read_text(encoding="utf-8")


def test_its_factor_is_the_packages() -> None:
    assert f"for 784-512-512-10 it is {cost_of((784, 512, 512, 10)).factor:,.0f}." in spaced(PAGE)
