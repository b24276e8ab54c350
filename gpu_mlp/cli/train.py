"""`gpu-mlp train`: from a table or a demo to a run folder."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from cyclopts import Group, Parameter

from gpu_mlp.backends.base import ROUNDED_PRECISIONS
from gpu_mlp.backends.select import automatic_device
from gpu_mlp.cli.console import error_console, print_facts, print_json, print_metrics
from gpu_mlp.cli.interruption import Interruption
from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import DEMOS, load_demo
from gpu_mlp.data.messages import shown_path
from gpu_mlp.errors import ConfigError
from gpu_mlp.files.run_folder import check_destination, next_free, write_run
from gpu_mlp.files.toml import TomlValue
from gpu_mlp.fitting import FitPlan, FitResult, plan_fit
from gpu_mlp.learning.progress import progress_for
from gpu_mlp.model import METRIC_NAMES

__all__ = ["train"]

INTERRUPTED = 130
NO_FLAG = Parameter(negative="")
DEFAULTS = TrainingConfig()

TABLE = Group("Table", sort_key=1)
NETWORK = Group("Network", sort_key=2)
TRAINING = Group("Training", sort_key=3)
RUN = Group("Run", sort_key=4)


@dataclass(frozen=True)
class _Network:
    """The flags of the architecture."""

    hidden: str
    activation: str
    initializer: str
    dtype: str

    def arguments(self) -> dict[str, Any]:
        """As `plan_fit` takes them."""
        names = tuple(name.strip() for name in self.activation.split(","))
        return {
            "hidden_layer_sizes": hidden_layers(self.hidden),
            "activation": names[0] if len(names) == 1 else names,
            "initializer": self.initializer,
            "dtype": cast(Literal["float32", "float64"], self.dtype),
        }


def train(
    table: Annotated[Path | None, Parameter(group=TABLE)] = None,
    *,
    target: Annotated[str | None, Parameter(group=TABLE)] = None,
    demo: Annotated[str | None, Parameter(group=TABLE)] = None,
    task: Annotated[str, Parameter(group=TABLE)] = "auto",
    ignore: Annotated[tuple[str, ...], Parameter(group=TABLE, negative="", show_default=False)] = (),
    validation: Annotated[float, Parameter(group=TABLE)] = 0.15,
    test: Annotated[float, Parameter(group=TABLE)] = 0.15,
    hidden: Annotated[str, Parameter(group=NETWORK)] = "128,64",
    activation: Annotated[str, Parameter(group=NETWORK)] = "relu",
    initializer: Annotated[str, Parameter(group=NETWORK)] = "auto",
    dtype: Annotated[str, Parameter(group=NETWORK)] = "float32",
    training: Annotated[TrainingConfig, Parameter(name="*", group=TRAINING)] = DEFAULTS,
    device: Annotated[str, Parameter(group=RUN)] = "auto",
    out: Annotated[Path | None, Parameter(group=RUN)] = None,
    config: Annotated[Path | None, Parameter(group=RUN)] = None,
    as_json: Annotated[bool, Parameter(name="--json", group=RUN, negative="")] = False,
) -> int:
    """Train a network on a table and write a run folder with the model, its history and its settings.

    Try: gpu-mlp train --demo digits, or gpu-mlp train table.csv --target COLUMN

    Args:
        table: CSV or Parquet file with a header.
        target: column to predict.
        demo: built-in table instead of a file: digits, breast-cancer, wine, iris, diabetes or spirals.
        task: classification or regression; auto tells by the target.
        ignore: column that is never read; repeat the flag for more.
        validation: share of the rows that is evaluated after every epoch.
        test: share of the rows that is evaluated at the end.
        hidden: widths of the hidden layers, comma-separated; 0 for none.
        activation: one for all hidden layers, or one each, comma-separated.
        initializer: auto is he_normal before units of the ReLU family, else glorot_uniform.
        dtype: float32 or float64.
        device: auto, cpu, cuda or cuda:N.
        out: run folder to make; runs/NAME-1, runs/NAME-2, ... when unset.
        config: TOML file with flags as keys, such as a run's config.toml; flags win over it.
        as_json: print one JSON object instead of a table.
    """
    network = _Network(hidden, activation, initializer, dtype)
    source, target, name = _source(table, demo, target)
    check_destination(next_free(name) if out is None else out)
    plan = plan_fit(
        source,
        target,
        task=task,
        validation=validation,
        test=test,
        ignore=ignore,
        config=training,
        device=device,
        **network.arguments(),
    )
    settings: dict[str, TomlValue] = {
        **({"demo": demo} if demo is not None else {"table": str(cast(Path, table).absolute())}),
        "target": target,
        "task": plan.target.task,
        "ignore": list(ignore),
        "validation": validation,
        "test": test,
        **asdict(network),
        "device": device,
        **{key.replace("_", "-"): "none" if v is None else v for key, v in asdict(plan.config).items()},
    }
    console = error_console()
    print_facts(_facts(plan, device))
    started = time.monotonic()
    with Interruption(console) as interruption:  # until all is written: Ctrl-C must not lose what was learnt
        result = plan.run([progress_for(console, plan.metric_name), interruption])
        seconds = time.monotonic() - started
        place = partial(next_free, name) if out is None else out
        destination, files = write_run(
            place, result.model, result.history, settings, metric_name=plan.metric_name
        )
        if as_json:
            print_json(_document(plan, result, destination, seconds))
        else:
            _print_result(result, destination, files, seconds)
    return INTERRUPTED if interruption.interrupted else 0


def hidden_layers(text: str) -> tuple[int, ...]:
    """The widths in "128,64"; none in "" and "0". Raises ConfigError."""
    if text.strip() in ("", "0"):
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 10**7 for part in parts):
        raise ConfigError(
            f"--hidden is {text!r}, but must be positive whole numbers with commas between them, "
            "such as 128,64, or 0 for no hidden layer"
        )
    return tuple(map(int, parts))


def _source(table: Path | None, demo: str | None, target: str | None) -> tuple[Any, str, str]:
    """What to read, the target column, and a name for the run."""
    if (table is None) == (demo is None):
        given = "neither a table nor" if table is None else f"both the table {shown_path(str(table))} and"
        raise ConfigError(
            f"train was given {given} --demo; give either TABLE --target COLUMN, "
            f"or --demo with one of {', '.join(DEMOS)}"
        )
    if demo is not None:
        rows, column, _ = load_demo(demo)
        return rows, target or column, demo
    if target is None:
        raise ConfigError(f"{shown_path(str(table))} needs --target with the name of the column to predict")
    return table, target, cast(Path, table).name.split(".")[0] or "table"


def _facts(plan: FitPlan, device: str) -> list[tuple[str, str]]:
    """What was inferred, and what is going to happen."""
    table, split, config, network = plan.table, plan.split, plan.config, plan.network_config
    sizes = network.layer_sizes
    parameters = sum(rows * (columns + 1) for columns, rows in pairwise(sizes))
    activations = ", ".join(dict.fromkeys(network.activations)) or "no hidden layer"
    why = automatic_device()[1] if device == "auto" else "asked for by --device"
    architecture = "-".join(map(str, sizes))
    products = f", products in {config.precision}" if config.precision in ROUNDED_PRECISIONS else ""
    counts = f"{len(split.train)} train, {len(split.validation)} validate, {len(split.test)} test"
    return [
        ("table", f"{table.origin}: {table.rows} rows, {len(table.names) - 1} feature columns"),
        ("task", plan.reason),
        ("rows", f"{counts} (seed {config.seed})"),
        ("network", f"{architecture}, {activations}, {parameters} parameters, {network.dtype}{products}"),
        (
            "training",
            f"{config.loss}, {config.optimizer}, batches of {config.batch_size}, {config.epochs} epochs",
        ),
        ("device", f"{plan.ops.device} ({why})"),
    ]


def _print_result(result: FitResult, destination: Path, files: list[str], seconds: float) -> None:
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


def _document(plan: FitPlan, result: FitResult, destination: Path, seconds: float) -> dict[str, Any]:
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
