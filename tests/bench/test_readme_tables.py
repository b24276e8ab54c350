"""The README's tables of speed are those of the result that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gpu_mlp
from bench.readme_tables import fit_table, step_table
from gpu_mlp.benchmark.results import Result, read_result

REPOSITORY = Path(gpu_mlp.__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def named_result() -> Result:
    (path,) = set(re.findall(r"\]\((bench/results/bench-full[^)]*\.json)\)", README))
    return read_result(REPOSITORY / path)


def test_both_tables_stand_in_the_readme() -> None:
    result = named_result()
    assert result.finished
    for table in (step_table(result), fit_table(result)):
        assert table in README


@pytest.mark.parametrize("task", ["step", "fit"])
def test_another_figure_would_be_seen(task: str) -> None:
    """The negative control."""
    result = named_result()
    row = next(row for row in result.rows if row["task"] == task and row["precision"] == "float32")
    row["contestants"]["gpu_mlp"]["median"] *= 2.0
    table = step_table(result) if task == "step" else fit_table(result)
    assert table not in README
