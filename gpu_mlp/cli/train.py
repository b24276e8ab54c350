"""`gpu-mlp train`: from a table or a demo to a run folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from cyclopts import Group, Parameter

from gpu_mlp.cli.console import error_console, print_facts, print_json, report_error
from gpu_mlp.cli.facts import plan_facts
from gpu_mlp.cli.interruption import Interruption
from gpu_mlp.cli.reading import reading_progress
from gpu_mlp.cli.train_result import document_of, print_result
from gpu_mlp.config import TrainingConfig
from gpu_mlp.data import DEMOS, load_demo
from gpu_mlp.data.locations import located, without_secrets
from gpu_mlp.data.messages import shown_path
from gpu_mlp.errors import ConfigError
from gpu_mlp.files.checkpoints import Checkpoints, check_intervals
from gpu_mlp.files.model_file import check_description
from gpu_mlp.files.run_folder import RunFolder
from gpu_mlp.files.run_places import check_destination, next_free
from gpu_mlp.files.tensorboard import TensorBoard, check_tensorboard
from gpu_mlp.files.toml import TomlValue
from gpu_mlp.fit_plan import FitPlan
from gpu_mlp.fitting import plan_fit
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.progress import progress_for
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.resuming import check_same_run, describe_run
from gpu_mlp.telemetry import Telemetry

__all__ = ["train"]

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
    table: Annotated[str | None, Parameter(group=TABLE)] = None,
    *,
    target: Annotated[str | None, Parameter(group=TABLE)] = None,
    demo: Annotated[str | None, Parameter(group=TABLE)] = None,
    task: Annotated[str, Parameter(group=TABLE)] = "auto",
    ignore: Annotated[tuple[str, ...], Parameter(group=TABLE, negative="", show_default=False)] = (),
    encoding: Annotated[str | None, Parameter(group=TABLE)] = None,
    validation: Annotated[float, Parameter(group=TABLE)] = 0.15,
    test: Annotated[float, Parameter(group=TABLE)] = 0.15,
    hidden: Annotated[str, Parameter(group=NETWORK)] = "128,64",
    activation: Annotated[str, Parameter(group=NETWORK)] = "relu",
    initializer: Annotated[str, Parameter(group=NETWORK)] = "auto",
    dtype: Annotated[str, Parameter(group=NETWORK)] = "float32",
    training: Annotated[TrainingConfig, Parameter(name="*", group=TRAINING)] = DEFAULTS,
    device: Annotated[str, Parameter(group=RUN)] = "auto",
    memory: Annotated[str | None, Parameter(group=RUN)] = None,
    out: Annotated[Path | None, Parameter(group=RUN)] = None,
    config: Annotated[Path | None, Parameter(group=RUN)] = None,
    resume: Annotated[Path | None, Parameter(group=RUN)] = None,
    checkpoint_minutes: Annotated[float | None, Parameter(group=RUN)] = 10.0,
    checkpoint_steps: Annotated[int | None, Parameter(group=RUN)] = None,
    tensorboard: Annotated[bool, Parameter(group=RUN, negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", group=RUN, negative="")] = False,
) -> int:
    """Train a network on a table and write a run folder with the model, its history and its settings.

    Try: gpu-mlp train --demo digits, or gpu-mlp train table.csv --target COLUMN

    Args:
        table: CSV, Parquet, Feather, NPY, NPZ or IDX file, or a folder of such files; or a URL such as s3://bucket/t.csv.
        target: column to predict.
        demo: built-in table instead of a file: digits, breast-cancer, wine, iris, diabetes or spirals.
        task: classification or regression; auto tells by the target.
        ignore: column that is never read; repeat the flag for more.
        encoding: of a CSV, such as cp1252; when unset UTF-8, or UTF-16 where the file begins with its mark.
        validation: share of the rows that is evaluated after every epoch.
        test: share of the rows that is evaluated at the end.
        hidden: widths of the hidden layers, comma-separated; 0 for none.
        activation: one for all hidden layers, or one each, comma-separated.
        initializer: auto is he_normal before units of the ReLU family, else glorot_uniform.
        dtype: float32 or float64.
        device: auto, cpu, cuda or cuda:N.
        memory: for a table that is larger than memory, how much there is for rows, such as 512MB: the table is read
            anew in each epoch and shuffled a part at a time.
        out: run folder to make; runs/NAME-1, runs/NAME-2, ... when unset.
        config: TOML file with flags as keys, such as a run's config.toml; flags win over it.
        resume: run folder of a run that was interrupted, to go on to the bits that it would have come to.
        checkpoint_minutes: minutes between two checkpoints in the run folder; none for no checkpoint by time.
        checkpoint_steps: training steps between two checkpoints.
        tensorboard: write every epoch's measures for TensorBoard into the run folder.
        as_json: print one JSON object instead of a table.
    """
    network = _Network(hidden, activation, initializer, dtype)
    source, target, name = _source(table, demo, target)
    place = partial(next_free, name) if out is None else out
    check_intervals(checkpoint_minutes, checkpoint_steps)
    if tensorboard:
        check_tensorboard()
    if resume is None:
        check_destination(place() if callable(place) else place)
    with ExitStack() as stack:
        folder = None if resume is None else stack.enter_context(RunFolder.open(resume))
        with reading_progress(error_console()) as report:
            plan = plan_fit(
                source,
                target,
                task=task,
                validation=validation,
                test=test,
                ignore=ignore,
                encoding=encoding,
                config=training,
                device=device,
                memory=memory,
                report=report,
                **network.arguments(),
            )
        settings: dict[str, TomlValue] = {
            **({"demo": demo} if demo is not None else {"table": _where(cast(str, table))}),
            "target": target,
            "task": plan.target.task,
            "ignore": list(ignore),
            "validation": validation,
            "test": test,
            **asdict(network),
            **({} if encoding is None else {"encoding": encoding}),
            "device": device,
            **({} if memory is None else {"memory": memory}),
            "checkpoint-minutes": _or_none(checkpoint_minutes),
            "checkpoint-steps": _or_none(checkpoint_steps),
            "tensorboard": tensorboard,
            **{key.replace("_", "-"): _or_none(value) for key, value in asdict(plan.config).items()},
        }
        check_description(plan.preparation, plan.target)
        state = None if folder is None else _state_of(folder, plan)
        if folder is None:
            folder = stack.enter_context(RunFolder.create(place, settings))
        every = partial(Checkpoints, minutes=checkpoint_minutes, steps=checkpoint_steps)
        print_facts(plan_facts(plan, device, state))
        more = [TensorBoard(folder.path / "tensorboard")] if tensorboard else []
        return _train(plan, folder, state, every, more, as_json=as_json)


def _train(
    plan: FitPlan,
    folder: RunFolder,
    state: TrainingState | None,
    every: Callable[[RunFolder, dict[str, Any]], Checkpoints],
    more: Sequence[Callback],
    *,
    as_json: bool,
) -> int:
    """Train in a folder and print what came of it; the exit code."""
    console, started = error_console(), time.monotonic()
    with Interruption(console) as interruption:  # until all is written: Ctrl-C must not lose what was learnt
        listeners = [
            Telemetry.of_device(plan.ops),
            progress_for(console, plan.metric_name),
            interruption,
            every(folder, describe_run(plan)),
            *more,
        ]
        try:
            result = plan.run(listeners, resume=state)
        except KeyboardInterrupt:
            if not folder.has_checkpoint:
                raise
            report_error(f"interrupted; {_how_to_go_on(folder)}")
            return interruption.exit_code
        seconds = time.monotonic() - started
        history = result.history
        complete = history.stopped != "interrupted" or len(history) == plan.config.epochs
        files = folder.finish(result.model, history, metric_name=plan.metric_name, complete=complete)
        if as_json:
            print_json(document_of(plan, result, folder.path, seconds))
        else:
            print_result(result, folder.path, files, seconds)
        if not complete:
            print(_how_to_go_on(folder), file=sys.stderr)
    return interruption.exit_code


def _state_of(folder: RunFolder, plan: FitPlan) -> TrainingState | None:
    """Where the run in the folder stood, which must be the one that is planned; None where it had saved nothing."""
    saved = folder.last_checkpoint()
    if saved is None:
        return None
    state, description = saved
    check_same_run(description, plan)
    if len(state.history) > plan.config.epochs:
        raise ConfigError(
            f"the run in {shown_path(folder.path)} has done {len(state.history)} epochs, but --epochs is "
            f"{plan.config.epochs}; give at least as many"
        )
    return state


def _how_to_go_on(folder: RunFolder) -> str:
    return f"go on with gpu-mlp train --resume {shown_path(folder.path)}"


def _where(table: str) -> str:
    """As a run's settings name it: from any working folder, and without a password."""
    place = located(table)
    return str(place.absolute() if isinstance(place, Path) else place)


def _or_none(value: Any) -> TomlValue:
    return "none" if value is None else cast(TomlValue, value)


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


def _source(table: str | None, demo: str | None, target: str | None) -> tuple[Any, str, str]:
    """What to read, the target column, and a name for the run."""
    if (table is None) == (demo is None):
        given = (
            "neither a table nor"
            if table is None
            else f"both the table {shown_path(without_secrets(table))} and"
        )
        raise ConfigError(
            f"train was given {given} --demo; give either TABLE --target COLUMN, "
            f"or --demo with one of {', '.join(DEMOS)}"
        )
    if demo is not None:
        rows, column, _ = load_demo(demo)
        return rows, target or column, demo
    if target is None:
        raise ConfigError(
            f"{shown_path(without_secrets(str(table)))} needs --target with the name of the column to predict"
        )
    return table, target, located(cast(str, table)).name.split(".")[0] or "table"
