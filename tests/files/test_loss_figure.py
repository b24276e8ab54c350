"""`draw_losses`: a PNG for every history a run may leave, drawn without pyplot's state."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gpu_mlp.files import loss_figure
from gpu_mlp.files.loss_figure import BEST, METRIC, TRAINING, VALIDATION, draw_losses
from tests.files.histories import history_of

NAN, INF = math.nan, math.inf
DOWN = [1.0 / epoch for epoch in range(1, 301)]

HISTORIES: dict[str, tuple[Sequence[float], Sequence[float] | None, Sequence[float] | None]] = {
    "one epoch": ([0.7], [0.8], [0.5]),
    "one epoch alone": ([0.7], None, None),
    "many epochs": (DOWN, [2 * loss for loss in DOWN], [1 - loss / 2 for loss in DOWN]),
    "no metric": (DOWN[:30], DOWN[:30], None),
    "only NaN": ([NAN] * 3, [NAN] * 3, [NAN] * 3),
    "some NaN": ([1.0, 0.5, 0.2], [NAN, 1.0, INF], [0.1, NAN, 0.3]),
    "constant": ([1.0] * 25, [1.0] * 25, [1.0] * 25),
    "zero": ([0.0] * 3, [0.0] * 3, [0.0] * 3),
    "negative, as Poisson's may be": ([3.0, -1.0, -5.0], [2.0, -2.0, -4.0], [9.0, 3.0, 1.0]),
    "all of float32": ([3e38, 1.0, 1e-45], None, None),
}


def pixels(path: Path) -> np.ndarray[Any, Any]:
    """(height, width, 3), decoded to the last byte."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has_colour(image: np.ndarray[Any, Any], colour: str) -> bool:
    """Whether some pixel has exactly this colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((image == wanted).all(axis=2).any())


@pytest.mark.parametrize("name", HISTORIES)
def test_every_history_becomes_a_picture_of_its_lines(name: str, tmp_path: Path) -> None:
    losses, validation, metric = HISTORIES[name]
    path = tmp_path / "loss.png"
    path.write_bytes(draw_losses(history_of(losses, validation, metric), metric_name="accuracy"))
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = pixels(path)
    assert image.shape == (900 if metric else 630, 1050, 3)  # 7 by 6 or 4.2 inches at 150 dots an inch
    assert [entry.name for entry in tmp_path.iterdir()] == ["loss.png"]
    for values, colour in ((losses, TRAINING), (validation, VALIDATION), (metric, METRIC)):
        in_legend = values is not None and colour != METRIC
        seen = values is not None and np.isfinite(values).any()
        assert has_colour(image, colour) == (seen or in_legend), colour


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, in order."""
    figures: list[Figure] = []
    real = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **settings: Any) -> None:
        figures.append(self)
        real(self, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def line_of(axes: Axes, colour: str) -> tuple[list[float], list[float]]:
    """Epochs and values of the line of this colour."""
    (line,) = (line for line in axes.lines if line.get_color() == colour)
    x, y = (np.asarray(values, dtype=float).tolist() for values in line.get_data())
    return x, y


def test_the_lines_are_the_historys_numbers_and_the_best_epoch_is_marked(
    drawn: list[Figure], tmp_path: Path
) -> None:
    history = history_of([3.0, 2.0, 1.0], [3.5, 2.5, 2.75], [0.1, 0.6, 0.5], best_epoch=2)
    draw_losses(history, metric_name="accuracy")
    losses, metric = drawn[0].axes
    assert line_of(losses, TRAINING) == ([1, 2, 3], [3.0, 2.0, 1.0])
    assert line_of(losses, VALIDATION) == ([1, 2, 3], [3.5, 2.5, 2.75])
    assert line_of(metric, METRIC) == ([1, 2, 3], [0.1, 0.6, 0.5])
    assert line_of(losses, BEST)[0] == line_of(metric, BEST)[0] == [2, 2]
    legend = losses.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[-1] == "weights of epoch 2"
    assert (losses.get_ylabel(), metric.get_ylabel()) == ("loss", "validation accuracy")
    assert metric.get_xlabel() == "epoch"


def test_what_is_not_finite_is_a_gap_in_the_line(drawn: list[Figure], tmp_path: Path) -> None:
    draw_losses(history_of([1.0, INF, NAN, -INF, 2.0]))
    _, values = line_of(drawn[0].axes[0], TRAINING)
    assert [math.isnan(value) for value in values] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([3.1, 1.0], "log"),
        ([2.9, 1.0], "linear"),
        ([3.1, 0.0], "linear"),
        ([NAN, INF], "linear"),
        ([3.1, NAN, 1.0], "log"),
        ([INF, 2.9, 1.0], "linear"),
    ],
)
def test_losses_that_fall_far_are_shown_on_a_logarithmic_axis(
    losses: list[float], scale: str, drawn: list[Figure], tmp_path: Path
) -> None:
    draw_losses(history_of(losses))
    assert drawn[0].axes[0].get_yscale() == scale


def test_a_single_epoch_is_a_point_that_can_be_seen(drawn: list[Figure], tmp_path: Path) -> None:
    draw_losses(history_of([0.5]))
    draw_losses(history_of(DOWN))
    assert [figure.axes[0].lines[0].get_marker() for figure in drawn] == ["o", "None"]


def test_pyplot_is_neither_loaded_nor_is_its_state_touched() -> None:
    code = (
        "import sys\n"
        "from tests.files.histories import history_of\n"
        "from gpu_mlp.files.loss_figure import draw_losses\n"
        "draw_losses(history_of([2.0, 1.0], [2.0, 1.5], [0.1, 0.2]))\n"
        "assert 'matplotlib' in sys.modules\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(loss_figure.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, cwd=root
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_the_users_settings_of_matplotlib_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    draw_losses(history_of([2.0, 1.0]))
    assert dict(mpl.rcParams) == before


def test_the_same_history_gives_the_same_picture() -> None:
    one, other = (draw_losses(history_of(*HISTORIES["many epochs"])) for _ in range(2))
    assert one == other
