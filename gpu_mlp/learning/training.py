"""`train`: the loop over epochs as one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpu_mlp.config import TrainingConfig, check_type, to_tuple
from gpu_mlp.errors import ConfigError
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import History
from gpu_mlp.learning.state import TrainingState
from gpu_mlp.learning.training_run import TrainingRun
from gpu_mlp.learning.validation import Metric
from gpu_mlp.network.network import Network

__all__ = ["train"]

PAIR = "a pair, such as (x, y)"


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
    resume: TrainingState | None = None,
) -> History:
    """Train the network in place on x (N, D_0) and y (N,) or (N, O) and return the history.

    Args:
        network: whose parameters are trained.
        x, y: the table: arrays, memory-mapped ones among them; x may be a sparse matrix. y holds labels (N,) or
            targets (N, O). It is moved to the network's device once, or some rows at a time where it does not fit;
            see `TrainingConfig.stream`. Or x is a `RowSource`, which is read anew in every epoch, a thread ahead, and y
            None: its rows are shuffled `TrainingConfig.buffer_rows` at a time.
        config: how; the defaults of `TrainingConfig` where None.
        validation: (x, y) that are evaluated after every epoch.
        sample_weight: (N,) weights of the rows in the mean loss.
        callbacks: told of progress and epochs.
        metric: of validation outputs and targets; accuracy for labels where None.
        resume: where another run with the same network, settings and table stood: this one goes on to the same bits.

    Raises ShapeError or DataError for arrays that do not fit, ConfigError for a setting out of range, DeviceError
    where the device has too little memory, and DivergenceError where the loss stops being finite: the network then
    holds the weights from before the epoch in which it did.
    """
    config = TrainingConfig() if config is None else config
    check_type("config", config, TrainingConfig, "a TrainingConfig, such as TrainingConfig(epochs=3)")
    callbacks = to_tuple("callbacks", callbacks, "a sequence of callbacks, such as [callback]")
    if validation is not None and len(to_tuple("validation", validation, PAIR)) != 2:
        raise ConfigError(f"validation has {len(validation)} parts, but must be {PAIR}")
    run = TrainingRun(network, x, y, config, validation, sample_weight, metric)
    if resume is not None:
        check_type("resume", resume, TrainingState, "a TrainingState, such as `read_checkpoint` gives")
        run.restore(resume)
    for callback in callbacks:
        callback.on_train_begin(run)
    try:
        run.run(callbacks)
    finally:
        for callback in callbacks:
            callback.on_train_end(run)
    return run.history
