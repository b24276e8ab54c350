"""`TrainingRun`: epochs of steps with validation, early stopping, a schedule, callbacks and a history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.config import TrainingConfig
from gpu_mlp.errors import ShapeError
from gpu_mlp.learning import divergence
from gpu_mlp.learning.callbacks import Callback, EarlyStopping
from gpu_mlp.learning.epochs import EpochRunner
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.loss_scaling import all_skipped
from gpu_mlp.learning.moving_arrays import MovingArrays, fill, on_host
from gpu_mlp.learning.optimizers import optimizer_from
from gpu_mlp.learning.placement import place_table
from gpu_mlp.learning.row_source import RowSource
from gpu_mlp.learning.schedules import schedule_from
from gpu_mlp.learning.source_epochs import BUFFER_ROWS, SourceEpochs
from gpu_mlp.learning.state import TrainingState, take
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.table_epochs import Epochs, TableEpochs
from gpu_mlp.learning.tables import Table, given_table
from gpu_mlp.learning.validation import Metric, default_metric, validate
from gpu_mlp.network.network import Network

__all__ = ["TrainingRun"]


class TrainingRun:
    """One call of `train`, as its callbacks see it."""

    def __init__(
        self,
        network: Network,
        x: Any,
        y: Any,
        config: TrainingConfig,
        validation: tuple[Any, Any] | None,
        sample_weight: Any,
        metric: Metric | None,
    ) -> None:
        self.network, self.config = network, config
        if isinstance(x, RowSource):
            _, y = next(x.blocks())  # to see of which kind the targets are
        y = network.ops.as_array(y)
        self.loss = config.loss_settings(labels=y.ndim == 1 and y.dtype.kind in "iub")
        rows: Table | RowSource = x
        if not isinstance(x, RowSource):
            rows = given_table(network, self.loss, "training table", x, y, sample_weight)
        validation_table = (
            None if validation is None else given_table(network, self.loss, "validation table", *validation)
        )
        self.metric = default_metric(self.loss) if metric is None else metric
        self.total_epochs = config.epochs
        self.rows = len(rows) if isinstance(rows, Table) else rows.rows
        self.history = History()
        self.schedule = schedule_from(config)
        self.step = TrainingStep(
            network,
            loss=self.loss,
            optimizer=optimizer_from(config),
            batch_size=min(config.batch_size, self.rows),
            clip_norm=config.clip_norm,
            dropout=config.dropout,
            seed=config.seed,
            precision=config.precision,
            beside_reader=isinstance(rows, RowSource),
        )
        self._moving = MovingArrays(self.step)
        self._stopping: EarlyStopping | None = None
        if config.patience is not None:
            self._stopping = EarlyStopping(config.patience, config.min_delta, network.parameters.flat)
        self._stop_reason, self._at_once = "", False
        self._pause, self._pause_step = False, 0
        self._seconds = 0.0
        # Tables go where they are read from now that all other memory is allocated; the training's comes first.
        seed = config.seed if config.shuffle else None
        self._epochs: Epochs = (
            TableEpochs(EpochRunner(self.step, rows, config.stream), seed)
            if isinstance(rows, Table)
            else SourceEpochs(self.step, rows, config.buffer_rows or BUFFER_ROWS, seed)
        )
        self.steps_per_epoch = self._epochs.steps_per_epoch
        self.validation: Table | None = None
        if validation_table is not None:
            self.validation, _ = place_table(
                network,
                self.loss,
                validation_table,
                config.stream,
                precision=config.precision,
                more_bytes=self._epochs.bytes_to_come,
            )

    # ---- what callbacks may ask for

    @property
    def steps_done(self) -> int:
        """Since the start of the run."""
        return self.step.optimizer.step

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End the run after the current epoch, or within it after the current step."""
        self._stop_reason, self._at_once = reason, self._at_once or at_once

    def pause(self, step: int | None = None) -> None:
        """Call `on_pause` of all callbacks between two steps: soon, or once `step` steps of the run are done."""
        if step is None:
            self._pause = True
        else:
            self._pause_step = step

    def state(self) -> TrainingState:
        """All that the run is now, copied to the host; waits for the device."""
        position = self._position()
        arrays = self._moving.saved(with_start=position > 0)
        if self._stopping is not None:
            arrays["best"] = on_host(self.network.ops, self._stopping.best)
        if position:
            arrays["losses"] = self._epochs.losses().copy()
        numbers = {f"schedule.{name}": value for name, value in self.schedule.state().items()}
        if self._stopping is not None:
            numbers |= {"best_loss": self._stopping.best_loss, "best_epoch": self._stopping.best_epoch}
        history = History(
            list(self.history.epochs), self.history.best_epoch, measures=dict(self.history.measures)
        )
        return TrainingState(
            rows=self.rows,
            steps_per_epoch=self.steps_per_epoch,
            position=position,
            seconds=self._seconds if position else 0.0,
            arrays=arrays | {name: np.array(value, np.float64) for name, value in numbers.items()},
            history=history,
        )

    # ---- the run

    def restore(self, state: TrainingState) -> None:
        """Stand where another run stood. Raises ShapeError where it had another table, network or other settings."""
        if (state.rows, state.steps_per_epoch) != (self.rows, self.steps_per_epoch):
            raise ShapeError(
                f"the saved state is of {state.rows} rows in {state.steps_per_epoch} steps an epoch, but this table "
                f"has {self.rows} rows in {self.steps_per_epoch} steps; go on with the table that it was saved with"
            )
        self._moving.restore(state)
        self.step.optimizer.step = state.steps
        self.schedule.restore(
            {name: float(take(state, f"schedule.{name}", ())) for name in self.schedule.state()}
        )
        if (stopping := self._stopping) is not None:
            fill(self.network.ops, {"best": stopping.best}, state)
            stopping.best_loss = float(take(state, "best_loss", ()))
            stopping.best_epoch = int(take(state, "best_epoch", ()))
        self.history.epochs[:] = state.history.epochs
        self.history.best_epoch = state.history.best_epoch
        self.history.measures.update(state.history.measures)
        self._seconds = state.seconds
        if state.position:
            losses = take(state, "losses", (state.position,)).astype(self.network.dtype)
            self._epochs.begin(len(self.history) + 1, losses)

    def run(self, callbacks: Sequence[Callback]) -> None:
        """All epochs that are left."""
        try:
            self._all_epochs(callbacks)
        finally:
            self._epochs.close()

    def _all_epochs(self, callbacks: Sequence[Callback]) -> None:
        while len(self.history) < self.total_epochs and not self._is_over():
            epoch = self._epoch(len(self.history) + 1, callbacks)
            if epoch is None:  # stopped within it
                break
            self.history.epochs.append(epoch)
            self.history.best_epoch = epoch.epoch
            self.schedule.observe(epoch.monitored)
            if self._stopping is not None:
                self._stopping.should_stop(epoch)
            for callback in callbacks:
                callback.on_epoch_end(self, epoch)
            if self._at_once and len(self.history) < self.total_epochs:
                self._hold(callbacks)
        self.history.stopped = self._stop_reason or "all epochs done"
        if self._stopping is not None and len(self.history):
            self._stopping.restore()
            self.history.best_epoch = self._stopping.best_epoch

    def _is_over(self) -> bool:
        stopping = self._stopping
        if stopping is not None and stopping.is_over(len(self.history)):
            self.stop(f"no improvement for {stopping.patience} epochs")
        return bool(self._stop_reason)

    def _epoch(self, number: int, callbacks: Sequence[Callback]) -> Epoch | None:
        """None where the run is stopped before its end."""
        if self._position() == 0:
            self._moving.mark_start()
            self._epochs.begin(number)
        # Overflow is looked for once an epoch, in the losses, and reported with its step and layer.
        while self._epochs.done < self.steps_per_epoch:
            self._steps(number, callbacks)
            if self._epochs.done < self.steps_per_epoch and self._is_due():
                self._hold(callbacks)
                if self._at_once:
                    return None
        losses, seconds = self._epochs.losses(), self._seconds
        self._seconds = 0.0
        self._check_finite(number, losses)
        validation_loss, validation_metric = None, None
        if self.validation is not None:
            validation_loss, validation_metric = validate(
                self.network, self.loss, self.validation, self.metric, precision=self.config.precision
            )
        return Epoch(
            epoch=number,
            step=self.step.optimizer.step,
            learning_rate=self.step.learning_rate,
            loss=self._epochs.mean_loss(losses),
            validation_loss=validation_loss,
            validation_metric=validation_metric,
            seconds=seconds,
            rows_per_second=self.rows / seconds,
        )

    def _hold(self, callbacks: Sequence[Callback]) -> None:
        self._pause = False
        for callback in callbacks:
            callback.on_pause(self)

    def _position(self) -> int:
        """Steps done of an epoch that is not at its end."""
        return self._epochs.done % self.steps_per_epoch

    def _is_due(self) -> bool:
        return self._pause or self._at_once or self.step.optimizer.step == self._pause_step

    def _steps(self, number: int, callbacks: Sequence[Callback]) -> None:
        """The steps of an epoch up to its end, or until a pause is due."""
        first = (number - 1) * self.steps_per_epoch
        last = self.steps_per_epoch
        if first + self._epochs.done < self._pause_step < first + last:
            last = self._pause_step - first

        def report(rows: int) -> None:
            for callback in callbacks:
                callback.on_progress(self, rows)

        started = time.perf_counter()
        self._epochs.run(
            self._learning_rates(first + self._epochs.done, first + last),
            report,
            lambda: self._pause or self._at_once,
        )
        self._epochs.losses()  # waits for the device
        self._seconds += time.perf_counter() - started

    def _learning_rates(self, first: int, last: int) -> list[float]:
        rate, steps = self.step.optimizer.optimizer.learning_rate, self.steps_per_epoch
        total = self.total_epochs * steps
        return [rate * self.schedule.factor(i, steps, total) for i in range(first, last)]

    # ---- where an epoch did not stay finite

    def _restore_epoch_start(self, number: int) -> None:
        self._moving.back_to_start()
        self.step.optimizer.step = (number - 1) * self.steps_per_epoch

    def _check_finite(self, number: int, losses: NDArray[Any]) -> None:
        """Raise DivergenceError, with the weights of before the epoch, where it did not stay finite."""
        step = number * self.steps_per_epoch
        if not np.isfinite(losses).all():
            at, value = divergence.first_bad(losses), float(losses[divergence.first_bad(losses)])
            divergence.report_loss(
                value, step - self.steps_per_epoch + at + 1, number, self._finite_layers(number, at)
            )
        if not bool(self.network.ops.xp.isfinite(self.network.parameters.flat).all()):
            layer = divergence.first_infinite_layer(self.network)
            self._restore_epoch_start(number)
            divergence.report_parameters(layer, step, number)
        scaling = self.step.loss_scale
        if scaling is not None and all_skipped(scaling, self.steps_per_epoch, number):
            self._restore_epoch_start(number)
            divergence.report_gradients(step, number)

    def _finite_layers(self, number: int, at: int) -> list[bool]:
        """Repeat the epoch, which is deterministic, up to the step whose loss was not finite; look at its layers."""
        self._restore_epoch_start(number)
        self._epochs.begin(number)
        first = (number - 1) * self.steps_per_epoch
        self._epochs.run(self._learning_rates(first, first + at + 1))
        _, room = self.step.room_for(min(self.step.batch_size, self.rows - at * self.step.batch_size))
        finite = room.finite_layers()
        self._restore_epoch_start(number)
        return finite
