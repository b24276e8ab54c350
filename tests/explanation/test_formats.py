"""The terminal's text and LaTeX's document."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gpu_mlp
from gpu_mlp.explanation.explain import Explanation, explain
from gpu_mlp.explanation.folding import fold
from gpu_mlp.explanation.numbers import number
from tests.explanation.examples import explained, problems, textbook

PDFLATEX = shutil.which("pdflatex")


def large() -> Explanation:
    """Folded everywhere."""
    network = gpu_mlp.Network((50, 40, 30), dtype="float64", device="cpu")
    return explain(network, np.linspace(-1, 1, 20 * 50).reshape(20, 50), np.arange(20) % 30)


def linear() -> Explanation:
    """Without hidden layers."""
    return explain(gpu_mlp.Network((3, 1), dtype="float64", device="cpu"), [1.0, 2.0, 3.0], 0.5)


def deep() -> Explanation:
    """More layers than an equation has room for."""
    return explain(
        gpu_mlp.Network((2,) * 14, dtype="float64", activation="tanh", device="cpu"), [1.0, 2.0], 1
    )


def batch_in_rows() -> Explanation:
    return textbook(notation="rows", batch=5)


def other_loss() -> Explanation:
    network = gpu_mlp.Network((2, 4, 3, 2), dtype="float64", activation=("gelu_tanh", "elu"), device="cpu")
    return explain(network, [[1.0, 2.0], [1e-4, 0.5]], [[0.1, 0.2], [1.0, 2.0]], loss="huber")


EXAMPLES = {
    "textbook": textbook,
    "large": large,
    "linear": linear,
    "deep": deep,
    "batch in rows": batch_in_rows,
    "other loss": other_loss,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_terminal_of_100_columns_has_room(name: str) -> None:
    text = EXAMPLES[name]().text()
    assert max(map(len, text.splitlines())) <= 100
    assert not re.search(r"[ \t]$|\x1b|nan|\{", text, re.MULTILINE)


def test_every_format_holds_for_every_random_network() -> None:
    for problem in problems(20):
        for notation in ("columns", "rows"):
            found = explained(problem, notation)
            assert max(map(len, found.text().splitlines())) <= 100
            check_latex(found.latex())


def test_every_matrix_of_a_small_network_stands_in_the_text_once() -> None:
    found = textbook()
    text = found.text()
    for quantity in found.walk.quantities.values():
        numbers = [number(float(value)) for value in quantity.values.ravel()]
        lines = [" ".join(line.split()) for line in text.split(f", {quantity.name}", 1)[1].splitlines()]
        assert " ".join(numbers) in " ".join(lines).replace(" = ", " "), quantity.key


def test_a_bracket_is_told_with_its_step() -> None:
    text = textbook().text()
    assert "dL/df₃, the bracket, already computed in step 10" in text
    assert text.count("the bracket, already computed in step") == 14
    assert "f₂, kept, already computed in step 5" in text
    assert "Ω₃ᵀ, the local derivative, given above" in text


def test_what_is_left_out_is_counted() -> None:
    assert fold(5, 8).shown == (0, 1, 2, 3, 4)
    assert fold(512, 8).shown == (0, 1, 2, 3, 4, 5, 6, 511)
    assert fold(512, 8).left_out == 504
    text = large().text()
    assert "... 42 more rows ..." in text  # of 50 inputs
    line = next(line for line in text.splitlines() if line.strip().startswith("h₀ ="))
    (more,) = re.findall(r"\.\.\. (\d+) more \.\.\.", line)
    assert len(re.findall(r"-?\d\.\d{4}", line)) + int(more) == 20  # samples
    assert r"_{40 \times 50}" in large().latex()


def test_a_deep_composition_has_its_ends() -> None:
    text = deep().text()
    assert "output = f₁₂[a[f₁₁[a[f₁₀[... a[f₂[a[f₁[a[f₀[x]]]]]] ...]]]]]" in " ".join(text.split())


def check_latex(document: str) -> None:
    """Environments and braces close in the order in which they open."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", document):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    plain = re.sub(r"\\[{}]", "", document)
    assert plain.count("{") == plain.count("}")
    assert plain.isascii()
    assert not any(re.search(r"\de[+-]\d", shown) for shown in re.findall(r"\\\[(.*?)\\\]", plain, re.DOTALL))
    assert set(re.findall(r"\\usepackage(?:\[.*\])?\{(\w+)\}", document)) == {"geometry", "amsmath"}


def test_unbalanced_latex_would_be_seen() -> None:
    """The negative control."""
    with pytest.raises(AssertionError):
        check_latex(textbook().latex().replace(r"\end{bmatrix}", "", 1))


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", EXAMPLES)
def test_latex_compiles(name: str, tmp_path: Path) -> None:
    (tmp_path / "e.tex").write_text(EXAMPLES[name]().latex(), encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "e.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "e.pdf").read_bytes().startswith(b"%PDF")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", done.stdout)]
    assert max(wide, default=0.0) < 20.0, wide
