"""The picture of a run: its losses over the epochs, with the epoch whose weights were kept."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from gpu_mlp.learning.history import History

__all__ = ["draw_losses"]

# Told apart by any kind of colour vision (Okabe and Ito, 2008), and by their lines in grey.
TRAINING, VALIDATION, METRIC, BEST = "#0072B2", "#D55E00", "#009E73", "#555555"
# A loss that falls by less than this factor reads better on a linear axis.
SMALLEST_LOG_RATIO = 3.0


def draw_losses(history: History, *, metric_name: str = "metric") -> bytes:
    """A PNG with the losses and, where there is one, the validation metric below them."""
    # Without pyplot: no state, no display, nothing left open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    metric = [(e.epoch, e.validation_metric) for e in history if e.validation_metric is not None]
    figure = Figure(figsize=(7.0, 6.0 if metric else 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2 if metric else 1, 1, sharex=True, squeeze=False, height_ratios=[2, 1][: 1 + bool(metric)]
    )
    _draw_loss_axes(axes[0, 0], history)
    if metric:
        below = axes[1, 0]
        _line(below, metric, METRIC, "-", None)
        below.set_ylabel(f"validation {metric_name}")
        below.axvline(history.best_epoch, color=BEST, linewidth=1.0, linestyle=":")
    last = axes[-1, 0]
    last.set_xlabel("epoch")
    last.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True))
    last.set_xlim(0.5 if len(history) < 20 else 0, len(history) + (0.5 if len(history) < 20 else 0))
    for ax in axes[:, 0]:
        ax.grid(alpha=0.25, which="major")
        ax.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _draw_loss_axes(ax: Any, history: History) -> None:
    training = [(epoch.epoch, epoch.loss) for epoch in history]
    validation = [(e.epoch, e.validation_loss) for e in history if e.validation_loss is not None]
    _line(ax, training, TRAINING, "-", "training, mean over the epoch's batches")
    if validation:
        _line(ax, validation, VALIDATION, "--", "validation, after the epoch")
    ax.axvline(
        history.best_epoch,
        color=BEST,
        linewidth=1.0,
        linestyle=":",
        label=f"weights of epoch {history.best_epoch}",
    )
    values = np.array([value for _, value in training + validation])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() / values.min() >= SMALLEST_LOG_RATIO:
        ax.set_yscale("log")
        _label_log_axis(ax)
    ax.set_ylabel("loss")
    ax.legend(framealpha=0.9, edgecolor="none")


def _line(ax: Any, points: list[tuple[int, float]], colour: str, style: str, label: str | None) -> None:
    epochs = [epoch for epoch, _ in points]
    values = [value if math.isfinite(value) else math.nan for _, value in points]
    marker = "o" if len(points) < 20 else None  # a run of one epoch is a point
    ax.plot(epochs, values, style, color=colour, linewidth=1.6, marker=marker, markersize=3.5, label=label)


def _label_log_axis(ax: Any) -> None:
    """Plain numbers, and enough of them where the axis spans less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_ylim()
    subs = (1.0, 2.0, 5.0) if math.log10(high / low) < 2.5 else (1.0,)
    ax.yaxis.set_major_locator(LogLocator(subs=subs))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
