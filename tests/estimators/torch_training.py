"""What an estimator does, done in PyTorch: the same first coefficients, all rows in every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_mlp.estimators.constraints import activation_names
from gpu_mlp.estimators.session import initial_parameters
from tests.network.torch_networks import ACTIVATIONS

__all__ = ["check_against_torch"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def check_against_torch(
    estimator: Any,
    x: NDArray[Any],
    y: Any,
    targets: Any,
    loss: Loss,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    *,
    clip_norm: float | None = None,
    rates: Callable[[int], float] = lambda epoch: 1.0,
    atol: float = 1e-10,
) -> None:
    """Fit the estimator to x and y, PyTorch's module to x and targets, and compare coefficients and losses.

    rates: the factor of the learning rate in every epoch.
    """
    settings = {"random_state": 3, "batch_size": len(x), "shuffle": False, "alpha": 0.0, "device": "cpu"}
    estimator.set_params(**settings, tol=0.0, n_iter_no_change=10_000).fit(x, y)
    targets = torch.tensor(np.asarray(targets))
    sizes = (x.shape[1], *estimator.hidden_layer_sizes, estimator.n_outputs_)
    names = activation_names(estimator.activation)
    coefs, intercepts = initial_parameters(np.random.RandomState(3), names, sizes, np.float64)
    parameters = [torch.tensor(each, requires_grad=True) for each in (*coefs, *intercepts)]
    each_name = (names,) * len(estimator.hidden_layer_sizes) if isinstance(names, str) else names
    steps = optimizer(parameters, lr=estimator.learning_rate_init)
    losses = []
    for epoch in range(estimator.max_iter):
        for group in steps.param_groups:
            group["lr"] = estimator.learning_rate_init * rates(epoch)
        h = torch.tensor(x)
        for k, (omega, beta) in enumerate(
            zip(parameters[: len(coefs)], parameters[len(coefs) :], strict=True)
        ):
            h = h @ omega + beta
            if k < len(each_name):
                h = ACTIVATIONS[each_name[k]](h)
        value = loss(h, targets)
        steps.zero_grad()
        value.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        steps.step()
        losses.append(value.item())
    np.testing.assert_allclose(estimator.loss_curve_, losses, rtol=1e-9, atol=atol)
    for actual, expected in zip((*estimator.coefs_, *estimator.intercepts_), parameters, strict=True):
        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-7, atol=atol)
