"""What `train` says before it begins: what was inferred, and what is going to happen."""

from __future__ import annotations

from itertools import pairwise

from gpu_mlp.backends.base import ROUNDED_PRECISIONS
from gpu_mlp.backends.select import automatic_device
from gpu_mlp.fit_plan import FitPlan
from gpu_mlp.learning.state import TrainingState

__all__ = ["plan_facts"]


def plan_facts(plan: FitPlan, device: str, state: TrainingState | None) -> list[tuple[str, str]]:
    """What was inferred, and what is going to happen."""
    rows, config, network = plan.rows, plan.config, plan.network_config
    sizes = network.layer_sizes
    parameters = sum(rows * (columns + 1) for columns, rows in pairwise(sizes))
    activations = ", ".join(dict.fromkeys(network.activations)) or "no hidden layer"
    why = automatic_device()[1] if device == "auto" else "asked for by --device"
    architecture = "-".join(map(str, sizes))
    products = f", products in {config.precision}" if config.precision in ROUNDED_PRECISIONS else ""
    counts = f"{rows['train']} train, {rows['validation']} validate, {rows['test']} test"
    columns = len(plan.preparation.features)
    return [
        ("table", f"{plan.origin}: {sum(rows.values())} rows, {columns} feature columns"),
        ("task", plan.reason),
        ("rows", f"{counts} (seed {config.seed})"),
        *([("memory", plan.memory)] if plan.memory else []),
        ("network", f"{architecture}, {activations}, {parameters} parameters, {network.dtype}{products}"),
        (
            "training",
            f"{config.loss}, {config.optimizer}, batches of {config.batch_size}, {config.epochs} epochs",
        ),
        ("device", f"{plan.ops.device} ({why})"),
        *(
            []
            if state is None
            else [("resumed", f"after {state.steps} steps, {len(state.history)} whole epochs")]
        ),
    ]
