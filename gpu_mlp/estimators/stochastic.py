"""The epochs of `fit` and `partial_fit` as scikit-learn counts, stops and prints them.

The steps are `learning.epochs.EpochRunner`'s; here is what scikit-learn decides between two epochs: the order of the
rows by its `RandomState`, whether the loss or the validation score got better, and the next learning rate.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpu_mlp.config import TrainingConfig
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.epochs import EpochRunner
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.schedules import schedule_from

__all__ = ["StochasticRun"]

SMALLEST_RATE = 1e-6
ADAPTIVE_DIVISOR = 5.0


class StochasticRun:
    """The epochs of one call, told to callbacks as `train` tells its own.

    Args:
        estimator: whose parameters are read, and whose `loss_curve_`, `n_iter_` and the like are written.
        epochs: the steps on the training rows.
        constants: (N,), what scikit-learn's loss of every row has beside the package's, or None.
        validate: the score of the validation rows, or None without any.
    """

    def __init__(
        self,
        estimator: Any,
        epochs: EpochRunner,
        constants: np.ndarray[Any, Any] | None,
        validate: Callable[[], float] | None,
    ) -> None:
        self._estimator, self._epochs, self._constants, self._validate = (
            estimator,
            epochs,
            constants,
            validate,
        )
        self.total_epochs, self.rows = estimator.max_iter, epochs.rows
        self.history: History = estimator.history_
        settings = TrainingConfig(schedule=estimator.schedule or "constant", epochs=estimator.max_iter)
        self._schedule = schedule_from(settings)
        self._order = np.arange(self.rows)
        self._parameters = epochs.step.network.parameters.flat
        self._best = self._parameters.copy()
        self._stop_reason = ""

    def stop(self, reason: str) -> None:
        """End the run after the current epoch."""
        self._stop_reason = reason

    def run(self, *, incremental: bool, callbacks: Sequence[Callback]) -> None:
        """All epochs, or one if incremental."""
        estimator = self._estimator
        for callback in callbacks:
            callback.on_train_begin(self)
        try:
            estimator.n_iter_ = 0
            for _ in range(estimator.max_iter):
                self._epoch(callbacks)
                if self._is_over() or incremental:
                    break
                if estimator.n_iter_ == estimator.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) "
                        "reached and the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
            if not self.history.stopped and not incremental:
                self.history.stopped = "all epochs done"
        except KeyboardInterrupt:
            self.history.stopped = "interrupted"
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            if estimator.early_stopping:
                self._parameters[...] = self._best
            for callback in callbacks:
                callback.on_train_end(self)

    def _epoch(self, callbacks: Sequence[Callback]) -> None:
        estimator, epochs = self._estimator, self._epochs
        if estimator.shuffle:
            # The numbers that scikit-learn's `shuffle` draws, without its checks.
            permutation = np.arange(self.rows)
            estimator._random_state.shuffle(permutation)
            self._order = self._order[permutation]
        steps, done = epochs.steps_per_epoch, estimator.n_iter_ * epochs.steps_per_epoch
        rate = estimator._optimizer.learning_rate
        total = estimator.max_iter * steps
        rates = [rate * self._schedule.factor(done + i, steps, total) for i in range(steps)]

        def report(rows: int) -> None:
            for callback in callbacks:
                callback.on_progress(self, rows)

        started = time.perf_counter()
        epochs.begin(self._order)
        epochs.run(rates, report)
        losses = epochs.losses()
        seconds = time.perf_counter() - started
        estimator.n_iter_ += 1
        estimator.loss_ = self._mean_loss(losses)
        estimator.t_ += self.rows
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        score = None if self._validate is None else self._validate()
        self._count_improvement(score)
        self._schedule.observe(estimator.loss_ if score is None else -score)
        epoch = Epoch(
            epoch=len(self.history) + 1,
            step=epochs.step.optimizer.step,
            learning_rate=rates[-1],
            loss=estimator.loss_,
            validation_loss=None,
            validation_metric=score,
            seconds=seconds,
            rows_per_second=self.rows / seconds,
        )
        self.history.epochs.append(epoch)
        for callback in callbacks:
            callback.on_epoch_end(self, epoch)

    def _mean_loss(self, losses: np.ndarray[Any, Any]) -> float:
        """Every batch's loss by its number of rows."""
        starts = np.arange(0, self.rows, self._epochs.step.batch_size)
        sizes = np.diff([*starts, self.rows])
        values = losses.astype(np.float64)
        if self._constants is not None:
            values = values + self._epochs.mean_of_batches(self._constants[self._order], self._order)
        return float(np.dot(values, sizes) / self.rows)

    def _count_improvement(self, score: float | None) -> None:
        """By the validation score where it is asked to decide, else by the loss; the best parameters are kept."""
        estimator, tol = self._estimator, self._estimator.tol
        if score is not None:
            estimator.validation_scores_.append(score)
            if estimator.verbose:
                print(f"Validation score: {score:f}")
        if estimator.early_stopping:
            assert score is not None
            better = not score < estimator.best_validation_score_ + tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                self._best[...] = self._parameters
                self.history.best_epoch = estimator.n_iter_
        else:
            better = not estimator.loss_ > estimator.best_loss_ - tol
            if estimator.loss_ < estimator.best_loss_:
                estimator.best_loss_ = estimator.loss_
            self.history.best_epoch = estimator.n_iter_
        estimator._no_improvement_count = 0 if better else estimator._no_improvement_count + 1

    def _is_over(self) -> bool:
        """After an epoch: the learning rate of the next, and whether there is a next."""
        estimator = self._estimator
        rate = estimator._optimizer.learning_rate
        if estimator.uses_sgd and estimator.learning_rate == "invscaling":
            self._set_rate(float(estimator.learning_rate_init) / (estimator.t_ + 1) ** estimator.power_t)
        if self._stop_reason:
            self.history.stopped = self._stop_reason
            return True
        if not estimator._no_improvement_count > estimator.n_iter_no_change:
            return False
        what = (
            "Validation score did not improve"
            if estimator.early_stopping
            else "Training loss did not improve"
        )
        message = (
            f"{what} more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs."
        )
        adaptive = estimator.uses_sgd and estimator.learning_rate == "adaptive"
        if adaptive and rate > SMALLEST_RATE:
            self._set_rate(rate / ADAPTIVE_DIVISOR)
            message += f" Setting learning rate to {estimator._optimizer.learning_rate:f}"
            estimator._no_improvement_count = 0
        else:
            message += (" Learning rate too small." if adaptive else "") + " Stopping."
            self.history.stopped = message
        if estimator.verbose:
            print(message)
        return bool(self.history.stopped)

    def _set_rate(self, rate: float) -> None:
        """scikit-learn's velocity has the learning rate in it, the package's has not."""
        memory, velocity = self._estimator._optimizer, self._epochs.step.optimizer.arrays.get("velocity")
        if velocity is not None:
            velocity *= memory.learning_rate / rate
        memory.learning_rate = rate
