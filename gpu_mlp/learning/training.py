"""`train`: epochs of steps with validation, early stopping, a schedule, callbacks and a history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_mlp.backends.base import Array
from gpu_mlp.config import TrainingConfig, check_type, to_tuple
from gpu_mlp.errors import ConfigError, DivergenceError
from gpu_mlp.learning.callbacks import Callback, EarlyStopping, Epoch, History
from gpu_mlp.learning.epochs import EpochRunner
from gpu_mlp.learning.loss_scaling import all_skipped
from gpu_mlp.learning.optimizers import optimizer_from
from gpu_mlp.learning.placement import place_table
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.learning.schedules import schedule_from
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.tables import Table, given_table
from gpu_mlp.learning.validation import Metric, default_metric, validate
from gpu_mlp.network.network import Network

__all__ = ["train"]

PAIR = "a pair, such as (x, y)"
DIVERGENCE_HINT = "lower the learning rate, clip the gradients' norm, or scale the inputs and targets"


def train(
    network: Network,
    x: Any,
    y: Any,
    config: TrainingConfig | None = None,
    *,
    validation: tuple[Any, Any] | None = None,
    sample_weight: Any = None,
    callbacks: Sequence[Callback] = (),
    metric: Metric | None = None,
) -> History:
    """Train the network in place on x (N, D_0) and y (N,) or (N, O) and return the history.

    Args:
        network: whose parameters are trained.
        x, y: the table: arrays, memory-mapped ones among them; x may be a sparse matrix. y holds labels (N,) or
            targets (N, O). It is moved to the network's device once, or some rows at a time where it does not fit;
            see `TrainingConfig.stream`.
        config: how; the defaults of `TrainingConfig` where None.
        validation: (x, y) that are evaluated after every epoch.
        sample_weight: (N,) weights of the rows in the mean loss.
        callbacks: told of progress and epochs.
        metric: of validation outputs and targets; accuracy for labels where None.

    Raises ShapeError or DataError for arrays that do not fit, ConfigError for a setting out of range, DeviceError
    where the device has too little memory, and DivergenceError where the loss stops being finite: the network then
    holds the weights from before the epoch in which it did.
    """
    config = TrainingConfig() if config is None else config
    check_type("config", config, TrainingConfig, "a TrainingConfig, such as TrainingConfig(epochs=3)")
    callbacks = to_tuple("callbacks", callbacks, "a sequence of callbacks, such as [callback]")
    if validation is not None and len(to_tuple("validation", validation, PAIR)) != 2:
        raise ConfigError(f"validation has {len(validation)} parts, but must be {PAIR}")
    run = _Run(network, x, y, config, validation, sample_weight, metric)
    for callback in callbacks:
        callback.on_train_begin(run)
    try:
        run.run(callbacks)
    finally:
        for callback in callbacks:
            callback.on_train_end(run)
    return run.history


class _Run:
    """One call of `train`."""

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
        ops = network.ops
        y = ops.as_array(y)
        self.network, self.config = network, config
        self.loss = config.loss_settings(labels=y.ndim == 1 and y.dtype.kind in "iub")
        table = given_table(network, self.loss, "training table", x, y, sample_weight)
        validation_table = (
            None if validation is None else given_table(network, self.loss, "validation table", *validation)
        )
        self.metric = default_metric(self.loss) if metric is None else metric
        self.total_epochs, self.rows = config.epochs, len(table)
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
        )
        self._saved = [array.copy() for array in self._state()]
        self._stopping: EarlyStopping | None = None
        if config.patience is not None:
            self._stopping = EarlyStopping(config.patience, config.min_delta, network.parameters.flat)
        self._stop_reason = ""
        # Tables go where they are read from now that all other memory is allocated; the training's comes first.
        self._epochs = EpochRunner(self.step, table, config.stream)
        self.steps_per_epoch = self._epochs.steps_per_epoch
        self.validation: Table | None = None
        if validation_table is not None:
            self.validation, _ = place_table(
                network, self.loss, validation_table, config.stream, precision=config.precision
            )

    def stop(self, reason: str) -> None:
        """End the run after the current epoch."""
        self._stop_reason = reason

    def run(self, callbacks: Sequence[Callback]) -> None:
        """All epochs."""
        stopping = self._stopping
        for number in range(1, self.total_epochs + 1):
            epoch = self._epoch(number, callbacks)
            self.history.epochs.append(epoch)
            self.history.best_epoch = number
            self.schedule.observe(epoch.monitored)
            for callback in callbacks:
                callback.on_epoch_end(self, epoch)
            if stopping is not None and stopping.should_stop(epoch):
                self.stop(f"no improvement for {stopping.patience} epochs")
            if self._stop_reason:
                break
        self.history.stopped = self._stop_reason or "all epochs done"
        if stopping is not None:
            stopping.restore()
            self.history.best_epoch = stopping.best_epoch

    def _epoch(self, number: int, callbacks: Sequence[Callback]) -> Epoch:
        for saved, array in zip(self._saved, self._state(), strict=True):
            saved[...] = array
        order = self._order(number)
        started = time.perf_counter()
        # Overflow is looked for once an epoch, in the losses, and reported with its step and layer.
        losses = self._steps(number, order, self.steps_per_epoch, callbacks)
        seconds = time.perf_counter() - started
        if not np.isfinite(losses).all():
            self._report_divergence(number, order, int(np.flatnonzero(~np.isfinite(losses))[0]), losses)
        if not bool(self.network.ops.xp.isfinite(self.network.parameters.flat).all()):
            self._report_infinite_parameters(number)
        scaling = self.step.loss_scale
        if scaling is not None and all_skipped(scaling, self.steps_per_epoch, number):
            self._report_infinite_gradients(number)
        validation_loss, validation_metric = None, None
        if self.validation is not None:
            validation_loss, validation_metric = validate(
                self.network, self.loss, self.validation, self.metric, precision=self.config.precision
            )
        return Epoch(
            epoch=number,
            step=self.step.optimizer.step,
            learning_rate=self.step.learning_rate,
            loss=self._epochs.mean_loss(losses, order),
            validation_loss=validation_loss,
            validation_metric=validation_metric,
            seconds=seconds,
            rows_per_second=self.rows / seconds,
        )

    def _steps(
        self, number: int, order: Array, count: int, callbacks: Sequence[Callback] = ()
    ) -> np.ndarray[Any, Any]:
        """The losses of the first `count` steps of an epoch."""
        rate = self.step.optimizer.optimizer.learning_rate
        done = (number - 1) * self.steps_per_epoch
        total = self.total_epochs * self.steps_per_epoch
        rates = [rate * self.schedule.factor(done + i, self.steps_per_epoch, total) for i in range(count)]

        def report(rows: int) -> None:
            for callback in callbacks:
                callback.on_progress(self, rows)

        return self._epochs.run(order, rates, report)

    def _order(self, number: int) -> Array:
        """Which rows come when in an epoch, (N,), on the host."""
        if not self.config.shuffle:
            return np.arange(self.rows, dtype=np.int64)
        return epoch_order(self.config.seed, number, self.rows)

    def _state(self) -> list[Array]:
        state = [self.network.parameters.flat, *self.step.optimizer.arrays.values()]
        if (scaling := self.step.loss_scale) is not None:
            state += [scaling.scale, scaling.steps]
        return state

    def _restore_epoch_start(self, number: int) -> None:
        for saved, array in zip(self._saved, self._state(), strict=True):
            array[...] = saved
        self.step.optimizer.step = (number - 1) * self.steps_per_epoch

    def _report_divergence(self, number: int, order: Array, at: int, losses: np.ndarray[Any, Any]) -> None:
        """Repeat the epoch, which is deterministic, up to the step whose loss was not finite; look at its layers."""
        value = float(losses[at])
        self._restore_epoch_start(number)
        self._steps(number, order, at + 1)
        _, room = self.step.room_for(min(self.step.batch_size, self.rows - at * self.step.batch_size))
        finite = room.finite_layers()
        self._restore_epoch_start(number)
        step = (number - 1) * self.steps_per_epoch + at + 1
        layer = finite.index(False) if False in finite else None
        where = "in the loss itself" if layer is None else f"in the pre-activations of layer {layer}"
        raise DivergenceError(
            f"the loss became {value} at step {step} (epoch {number}), first {where}; {DIVERGENCE_HINT}",
            step=step,
            layer=layer,
        )

    def _report_infinite_parameters(self, number: int) -> None:
        """An update overflowed and no loss showed it: the epoch's last one, or one that an activation hid."""
        ops, network = self.network.ops, self.network
        layers = zip(network.weights, network.biases, strict=True)
        finite = [all(bool(ops.xp.isfinite(array).all()) for array in layer) for layer in layers]
        layer, step = finite.index(False), number * self.steps_per_epoch
        self._restore_epoch_start(number)
        raise DivergenceError(
            f"the parameters of layer {layer} were no longer finite after step {step} (epoch {number}); "
            + DIVERGENCE_HINT,
            step=step,
            layer=layer,
        )

    def _report_infinite_gradients(self, number: int) -> None:
        """Half precision let no step of an epoch through: what overflowed is hidden from the loss by an activation."""
        step = number * self.steps_per_epoch
        self._restore_epoch_start(number)
        raise DivergenceError(
            f"the gradients were not finite in any step of epoch {number}, up to step {step}, however small the loss's "
            "scale; scale the inputs and targets, or use bf16",
            step=step,
            layer=None,
        )
