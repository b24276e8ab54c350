"""The README's tables of speed, from a result of `gpu-mlp bench --suite full`.

python bench/readme_tables.py bench/results/bench-full-cpu-DATE.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_mlp.benchmark.results import Result, read_result
from gpu_mlp.benchmark.wording import sizes_of, time_of

__all__ = ["fit_table", "step_table"]

NAMES = {"torch": "PyTorch", "jax": "JAX", "sklearn": "scikit-learn", "skorch": "skorch"}
OWN = "gpu_mlp"


def step_table(result: Result) -> str:
    """Steps and inferences in float32, each against the fastest of the others."""
    rows: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in result.rows:
        if row["precision"] == "float32" and row["task"] != "fit":
            rows.setdefault((sizes_of(row), row["batch"]), {})[row["task"]] = row
    lines = [
        [sizes, f"{batch:,}", *_against_the_best(tasks["step"]), *_against_the_best(tasks["inference"])]
        for (sizes, batch), tasks in rows.items()
    ]
    return _markdown(["layers", "batch", "step", "against the best", "inference", "against the best"], lines)


def fit_table(result: Result) -> str:
    """Whole fits against everybody."""
    lines = [
        [
            sizes_of(row),
            f"{row['batch']:,}",
            f"{round(row['contestants'][OWN]['rows_per_second'] * row['contestants'][OWN]['median'] / 2):,}",
            time_of(row["contestants"][OWN]["median"]),
            *(f"{row['ratios'][name]['ratio']:.2f}" if name in row["ratios"] else "" for name in NAMES),
        ]
        for row in result.rows
        if row["task"] == "fit"
    ]
    return _markdown(["layers", "batch", "rows", OWN, *NAMES.values()], lines)


def _against_the_best(row: dict[str, Any]) -> tuple[str, str]:
    own = time_of(row["contestants"][OWN]["median"])
    if not row["ratios"]:
        return own, ""
    name, ratio = min(row["ratios"].items(), key=lambda item: float(item[1]["ratio"]))
    return own, f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) {NAMES[name]}"


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def written() -> Iterator[str]:
        for cells in (header, ["---"] * len(header), *lines):
            yield f"| {' | '.join(cells)} |".replace("| --- ", "|---").replace("|--- |", "|---|")

    return "\n".join(written())


def main() -> None:
    """Print both."""
    result = read_result(Path(sys.argv[1]))
    print(step_table(result), fit_table(result), sep="\n\n")


if __name__ == "__main__":
    main()
