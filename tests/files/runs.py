"""Run folders of runs that never took place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpu_mlp.files.run_folder import RunFolder
from gpu_mlp.learning.history import History
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.model import Model
from tests.files.histories import history_of


def write_run(
    destination: Path | Callable[[], Path],
    model: Model,
    history: History,
    settings: Mapping[str, Any],
    *,
    metric_name: str = "metric",
) -> tuple[Path, list[str]]:
    """From the first to the last: its path and the names of its files."""
    with RunFolder.create(destination, settings) as folder:
        return folder.path, folder.finish(model, history, metric_name=metric_name)


def state_of(steps: int, *, size: int = 40, seed: int = 0) -> TrainingState:
    """After so many steps, of ten an epoch."""
    rng = np.random.default_rng([seed, steps])
    arrays = {
        "parameters": rng.normal(size=size).astype(np.float32),
        "optimizer.decayed_sum": rng.normal(size=size),
        "best_loss": np.array(np.inf),
    }
    if steps % 10:
        arrays["losses"] = rng.normal(size=steps % 10).astype(np.float32)
    history = history_of(list(rng.random(steps // 10)), list(rng.random(steps // 10)))
    return TrainingState(97, 10, steps % 10, 0.125 * (steps % 10), arrays, history)
