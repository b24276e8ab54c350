"""The solvers: epochs of mini-batches, or L-BFGS on the whole table."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result

from gpu_mlp.backends.numpy_backend import numpy_ops
from gpu_mlp.config import Loss, TrainingConfig
from gpu_mlp.errors import ConfigError
from gpu_mlp.estimators.held_out import check_both, given_rows, split
from gpu_mlp.estimators.session import OptimizerMemory
from gpu_mlp.estimators.stochastic import StochasticRun
from gpu_mlp.learning.epochs import EpochRunner
from gpu_mlp.learning.objective import Objective
from gpu_mlp.learning.optimizers import SGD, Adam, Optimizer, optimizer_from
from gpu_mlp.learning.placement import place_table
from gpu_mlp.learning.steps import TrainingStep
from gpu_mlp.learning.tables import Table
from gpu_mlp.network.parameters import ParameterBuffer

__all__ = ["objective", "packed_objective", "solve"]

LARGEST_DROPOUT_SEED = 2**31 - 1
AUTO_BATCH = 200
# Parameters that only mean something where there are mini-batches and epochs.
FOR_BATCHES = ("dropout", "optimizer", "schedule", "clip_norm", "callbacks", "progress")


def solve(
    estimator: Any,
    x: Any,
    y: NDArray[Any],
    sample_weight: Any,
    *,
    incremental: bool,
    validation: tuple[Any, Any],
) -> None:
    """Train the estimator's network on x (N, D) and y (N, O) by the solver that it names."""
    check_both(*validation)
    if estimator.solver == "lbfgs":
        _refuse_what_needs_batches(estimator, validation[0])
        _solve_lbfgs(estimator, x, y, sample_weight)
    else:
        _solve_stochastic(estimator, x, y, sample_weight, incremental, validation)


def _refuse_what_needs_batches(estimator: Any, x_val: Any) -> None:
    """L-BFGS has neither mini-batches nor epochs."""
    given = {name: getattr(estimator, name) for name in FOR_BATCHES}
    names = [name for name, value in given.items() if value] + (["X_val"] if x_val is not None else [])
    if names:
        raise ConfigError(
            f"solver 'lbfgs' takes the whole table at once and cannot use {', '.join(names)}; "
            "choose solver 'adam' or 'sgd', or leave them out"
        )


def objective(estimator: Any, table: Table, loss: Loss) -> Objective:
    """What L-BFGS minimises, on the device."""
    network = estimator._session.network
    table, _ = place_table(network, loss, table, "never")
    return Objective(
        network, loss, table, l2_penalty=estimator.alpha, precision=estimator.precision or "auto"
    )


def packed_objective(
    estimator: Any, packed: NDArray[Any], x: Any, y: NDArray[Any], sample_weight: Any
) -> tuple[float, NDArray[Any]]:
    """The objective and its gradient, of parameters packed as scikit-learn packs them.

    packed: all coefficients (in, out) row by row, then all intercepts.
    """
    network, loss = estimator._session.network, estimator._loss()
    evaluate = objective(estimator, estimator._table(x, y, sample_weight, loss), loss)
    sizes = list(pairwise(network.layer_sizes))
    places = np.cumsum([0, *(i * o for i, o in sizes), *(o for _, o in sizes)])
    parts = [packed[start:stop] for start, stop in pairwise(places)]
    buffer = ParameterBuffer(numpy_ops(), network.parameters.layout, np.float64)
    buffer.weights.assign([part.reshape(size).T for part, size in zip(parts, sizes, strict=False)])
    buffer.biases.assign(parts[len(sizes) :])
    value, buffer.flat[...] = evaluate(buffer.flat.copy())
    return value, np.concatenate([*(each.T.ravel() for each in buffer.weights), *buffer.biases])


def _solve_lbfgs(estimator: Any, x: Any, y: NDArray[Any], sample_weight: Any) -> None:
    network, loss = estimator._session.network, estimator._loss()
    verbose = estimator.verbose is True or estimator.verbose >= 1
    result = scipy.optimize.minimize(
        objective(estimator, estimator._table(x, y, sample_weight, loss), loss),
        network.ops.to_host(network.parameters.flat).astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
            **_get_additional_lbfgs_options_dict("iprint", 1 if verbose else -1),
        },
    )
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    network.parameters.flat[...] = network.ops.to_device(result.x.astype(network.dtype))
    constants = estimator._row_constants(y)
    estimator.loss_ = result.fun
    if constants is not None:
        estimator.loss_ += float(np.average(constants, weights=sample_weight))


def _solve_stochastic(
    estimator: Any,
    x: Any,
    y: NDArray[Any],
    sample_weight: Any,
    incremental: bool,
    validation: tuple[Any, Any],
) -> None:
    held_out = None
    if validation[0] is not None:
        held_out = given_rows(estimator, *validation)
    elif estimator.early_stopping:
        (x, y, sample_weight), held_out = split(estimator, x, y, sample_weight)
    if held_out is not None and estimator.validation_scores_ is None:
        estimator.validation_scores_ = []
    step = _step(estimator, _batch_size(estimator, x.shape[0]), incremental=incremental)
    loss = step.loss
    epochs = EpochRunner(step, estimator._table(x, y, sample_weight, loss), "auto")

    def validate() -> float:
        assert held_out is not None
        score: float = estimator._validation_score(*held_out)
        return score

    run = StochasticRun(
        estimator, epochs, estimator._row_constants(y), None if held_out is None else validate
    )
    run.run(incremental=incremental, callbacks=estimator._listeners())
    estimator._optimizer.keep(step)


def _batch_size(estimator: Any, rows: int) -> int:
    if estimator.batch_size == "auto":
        return min(AUTO_BATCH, rows)
    if estimator.batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=6
        )
    return int(np.clip(estimator.batch_size, 1, rows))


def _step(estimator: Any, batch_size: int, *, incremental: bool) -> TrainingStep:
    """A step of the estimator's network; `partial_fit` goes on with the optimizer of the last call."""
    network = estimator._session.network
    fresh = not incremental or not hasattr(estimator, "_optimizer")
    if fresh:
        estimator._optimizer = OptimizerMemory(estimator.learning_rate_init)
    last: TrainingStep | None = estimator.__dict__.get("_step")
    if (
        incremental
        and not fresh
        and last is not None
        and last.network is network
        and last.batch_size == batch_size
    ):
        return last
    # Only where there is dropout, so that without it the numbers drawn are scikit-learn's.
    seed = int(estimator._random_state.randint(LARGEST_DROPOUT_SEED)) if estimator.dropout else 0
    step = TrainingStep(
        network,
        loss=estimator._loss(),
        optimizer=_optimizer(estimator),
        batch_size=batch_size,
        clip_norm=estimator.clip_norm,
        l2_penalty=estimator.alpha,
        dropout=estimator.dropout,
        seed=seed,
        precision=estimator.precision or "auto",
    )
    if not fresh:
        estimator._optimizer.give(step)
    if incremental:
        estimator._step = step
    return step


def _optimizer(estimator: Any) -> Optimizer:
    """scikit-learn's two with its formulas, or one of the package's by name."""
    rate, momentum = estimator.learning_rate_init, estimator.momentum
    betas = {"beta1": estimator.beta_1, "beta2": estimator.beta_2, "epsilon": estimator.epsilon}
    if estimator.optimizer is not None:
        name = estimator.optimizer
        settings: dict[str, Any] = {"optimizer": name, "learning_rate": rate, **betas}
        if name in ("momentum", "nesterov"):
            settings["momentum"] = momentum
        return optimizer_from(TrainingConfig(**settings))
    if estimator.solver == "sgd":
        return SGD(rate, momentum=momentum, nesterov=estimator.nesterovs_momentum and momentum > 0.0)
    return Adam(rate, **betas, epsilon_hat=True)
