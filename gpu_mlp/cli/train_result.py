"""What `train` says when it is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gpu_mlp.cli.console import print_metrics
from gpu_mlp.data.messages import shown_path
from gpu_mlp.fit_plan import FitPlan, FitResult
from gpu_mlp.metrics import METRIC_NAMES

__all__ = ["document_of", "print_result"]


def print_result(result: FitResult, destination: Path, files: list[str], seconds: float) -> None:
    """For a person: what was done on stderr, the metrics and the files on stdout."""
    history = result.history
    print(
        f"{len(history)} epochs in {seconds:.1f} s ({history.stopped}), "
        f"weights of epoch {history.best_epoch}",
        file=sys.stderr,
    )
    parts = {
        "train": result.training_metrics,
        "validation": result.validation_metrics,
        "test": result.test_metrics,
    }
    print_metrics(METRIC_NAMES, parts)
    print(f"\nrun folder: {shown_path(str(destination))} ({', '.join(files)})")


def document_of(plan: FitPlan, result: FitResult, destination: Path, seconds: float) -> dict[str, Any]:
    """For a machine: one object."""
    summary = result.model.metadata
    return {
        "run": str(destination),
        "model": str(destination / "model.safetensors"),
        "task": plan.target.task,
        "reason": plan.reason,
        "loss": plan.loss.name,
        "layer_sizes": list(plan.network_config.layer_sizes),
        "device": plan.ops.device,
        "seconds": round(seconds, 3),
        **{key: summary[key] for key in ("rows", "epochs", "best_epoch", "stopped", "seed", "metrics")},
    }
