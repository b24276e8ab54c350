"""The report: every figure has its mark, nothing comes from elsewhere, and a browser draws it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gpu_mlp.benchmark.cases import PROBLEMS, Case
from gpu_mlp.benchmark.charts import Line, Point, bars, lines
from gpu_mlp.benchmark.page import page_of
from gpu_mlp.benchmark.results import Result
from tests.browser import CHROMIUM

CEILINGS = {"products": {"float32": {"64": 1e10, "1024": 1e11}}, "copies": {"1024": 1e11, "1048576": 1e10}}
MACHINE = {
    "processor": "a processor",
    "processors": 2,
    "threads": 2,
    "memory_bytes": 2**33,
    "system": "Linux",
    "blas": ["openblas"],
    "versions": {"numpy": "2.0"},
}


def row(name: str, batch: int, **more: Any) -> dict[str, Any]:
    """A case that gpu_mlp and torch were timed on, and jax was not."""
    case = Case(PROBLEMS[name], batch, "float32", "step")
    seconds = 1e-6 * batch
    measured = {
        who: {
            "seconds": [factor * seconds] * 3,
            "median": factor * seconds,
            "noise": 0.02,
            "first_seconds": 1.5,
            "rows_per_second": batch / (factor * seconds),
        }
        for who, factor in (("gpu_mlp", 1.0), ("torch", 2.0))
    }
    return {
        "key": case.key,
        "problem": name,
        "layer_sizes": list(case.problem.layer_sizes),
        "batch": batch,
        "precision": "float32",
        "task": "step",
        "contestants": measured,
        "ratios": {"torch": {"ratio": 2.0, "low": 1.9, "high": 2.1, "verdict": "faster"}},
        "floor": {"compute": 1e-7, "memory": 2e-7, "calls": 1e-8, "seconds": 2e-7, "binds": "memory"},
        "skipped": {"jax": "is not installed"},
        **more,
    }


def result(*rows: dict[str, Any]) -> Result:
    return Result("quick", {"rounds": 3, "seconds": 0.1}, MACHINE, CEILINGS, list(rows), finished=True)


RESULT = result(row("tiny", 64), row("mnist", 64), row("mnist", 256), row("mnist", 1024))


def marks(page: str) -> dict[str, list[str]]:
    """The classes of everything that stands for a figure, by chart."""
    found = {}
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        tree = ElementTree.fromstring(drawing)
        found[tree.attrib["aria-label"]] = [
            element.tag
            for element in tree.iter()
            if element.find("title") is not None and element is not tree
        ]
    return found


def check_marks(page: str) -> None:
    assert marks(page) == {
        "time of a step or an inference": ["rect"] * 8,
        "784-512-512-10, float32, step": ["circle"] * 6,
        "784-512-512-10, float32, step, speed-up": ["circle"] * 3,
        "roofline of the processor": ["circle"] * 4,
    }


def test_every_figure_has_a_mark() -> None:
    check_marks(page_of(RESULT))


def test_a_missing_mark_would_be_seen() -> None:
    """The negative control."""
    page = page_of(RESULT)
    with pytest.raises(AssertionError):
        check_marks(re.sub(r"<circle.*?</circle>", "", page, count=1, flags=re.DOTALL))


def test_every_figure_stands_in_the_table() -> None:
    page = page_of(RESULT)
    for text in (
        "64 \N{MICRO SIGN}s",
        "2.00",
        "1.90 to 2.10",
        "faster",
        "2%",
        "1.5 s",
        "is not installed",
        "a processor",
    ):
        assert f">{text}<" in page or f">{text}," in page or f"x {text}<" in page, text
    assert page.count("is not installed") == 4
    assert "0% (memory)" in page


def test_nothing_comes_from_elsewhere() -> None:
    page = page_of(RESULT)
    assert not re.search(r"https?:|url\(|<script|<link|src=|@import", page)
    assert len(page) < 100_000


def test_names_from_a_file_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>&\"'"
    spoiled = row("tiny", 64, skipped={evil: evil})
    spoiled["contestants"][evil] = spoiled["contestants"]["torch"]
    page = page_of(replace(result(spoiled), suite=evil, machine={**MACHINE, "processor": evil}))
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_an_unfinished_result_and_one_without_rows_are_pages_too() -> None:
    assert "was interrupted" in page_of(replace(RESULT, finished=False))
    page = page_of(result())
    assert "<svg" not in page
    assert "The machine" in page


def test_the_crossover_is_told() -> None:
    def with_gpu(batch: int, verdict: str) -> dict[str, Any]:
        found = row("mnist", batch)
        found["contestants"]["gpu_mlp cuda"] = found["contestants"]["torch"]
        found["ratios"]["gpu_mlp cuda"] = {"ratio": 1.0, "low": 1.0, "high": 1.0, "verdict": verdict}
        return found

    # The ratio is the GPU's time over the CPU's: where the CPU is slower, the GPU is worth it.
    page = page_of(result(with_gpu(64, "faster"), with_gpu(256, "slower"), with_gpu(1024, "slower")))
    assert "The GPU is worth it from batch 256 on." in page
    page = page_of(result(with_gpu(64, "faster"), with_gpu(256, "even")))
    assert "The GPU is worth it at none of these batches." in page


def test_a_bar_is_as_long_as_its_part_of_the_longest() -> None:
    tree = ElementTree.fromstring(
        bars("t", [("g", [("a", 1.0, "1"), ("b", 4.0, "4")]), ("h", [("a", 9.0, "9")])])
    )
    widths = [float(rect.attrib["width"]) for rect in tree.iter("rect")]
    assert widths[0] == pytest.approx(widths[1] / 4, abs=0.1)
    assert widths[2] == widths[1]


def test_a_point_lies_where_its_logarithms_say() -> None:
    points = [Point(1.0, 10.0, "low"), Point(10.0, 100.0, "middle"), Point(100.0, 1000.0, "high")]
    tree = ElementTree.fromstring(lines("t", "x", "y", [Line("a", points)]))
    x, y = ([float(circle.attrib[at]) for circle in tree.iter("circle")] for at in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)
    assert x[0] < x[1]
    assert y[0] > y[1]  # up


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_every_mark(tmp_path: Path, width: int) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(page_of(RESULT), encoding="utf-8")
    browser = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    size = f"--window-size={width},2400"
    shot = subprocess.run(
        [*browser, size, f"--screenshot={picture}", page.as_uri()],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert shot.returncode == 0, shot.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
    drawn = subprocess.run(
        [*browser, size, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    check_marks(re.sub(r'xmlns(:\w+)?="[^"]*"', "", drawn.stdout))
