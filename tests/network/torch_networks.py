"""The same networks and losses in PyTorch, differentiated by its autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)

from gpu_mlp.config import Loss
from tests.network.random_networks import Problem

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": torch.clone,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    # F.softplus is f itself above 20, which is off by 2e-9 there; this is the formula throughout.
    "softplus": lambda f: torch.logaddexp(f, torch.zeros_like(f)),
}


def quantile_loss(f: torch.Tensor, y: torch.Tensor, quantile: float) -> torch.Tensor:
    """Koenker and Bassett's check function, which PyTorch lacks."""
    below = torch.clamp(y - f, min=0.0)
    above = torch.clamp(f - y, min=0.0)
    return quantile * below + (1.0 - quantile) * above


def losses_of_rows(loss: Loss, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """l_b, one a row, by PyTorch's own losses."""
    none: Any = {"reduction": "none"}
    match loss.name:
        case "squared_error":
            terms = F.mse_loss(f, y, **none)
        case "absolute_error":
            terms = F.l1_loss(f, y, **none)
        case "huber":
            terms = F.huber_loss(f, y, delta=loss.huber_delta, **none)
        case "quantile":
            terms = quantile_loss(f, y, loss.quantile)
        case "poisson":
            terms = F.poisson_nll_loss(f, y, log_input=True, full=False, **none)
        case "binary_cross_entropy":
            terms = F.binary_cross_entropy_with_logits(f, y, **none)
        case "softmax_cross_entropy":
            return F.cross_entropy(f, y, label_smoothing=loss.label_smoothing, **none)
    return terms.sum(dim=1)


def mean_loss(loss: Loss, f: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """sum(w_b l_b) / sum(w)"""
    rows = losses_of_rows(loss, f, y)
    return rows.mean() if weight is None else (weight * rows).sum() / weight.sum()


def torch_module(problem: Problem) -> torch.nn.Sequential:
    """The problem's network as layers and activations with its parameters."""
    module = torch.nn.Sequential()
    for k, (omega, beta) in enumerate(zip(problem.weights, problem.biases, strict=True)):
        linear = torch.nn.Linear(*omega.shape[::-1], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(omega))
            linear.bias.copy_(torch.tensor(beta))
        module.append(linear)
        if k < len(problem.activations):
            module.append(Elementwise(problem.activations[k]))
    return module


class Elementwise(torch.nn.Module):
    """An activation as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = ACTIVATIONS[name]

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        """h = a[f]"""
        return self.function(f)


@dataclass(frozen=True)
class TorchResult:
    """What autograd gives, as NumPy arrays."""

    loss: float
    f: list[Any]
    h: list[Any]
    dl_df: list[Any]
    dl_dh: list[Any]
    dl_domega: list[Any]
    dl_dbeta: list[Any]


def torch_result(problem: Problem) -> TorchResult:
    """Every value and every gradient of the problem."""
    weights = [torch.tensor(omega, requires_grad=True) for omega in problem.weights]
    biases = [torch.tensor(beta, requires_grad=True) for beta in problem.biases]
    h = [torch.tensor(problem.x, requires_grad=True)]
    f: list[torch.Tensor] = []
    for k, (omega, beta) in enumerate(zip(weights, biases, strict=True)):
        f.append(F.linear(h[-1], omega, beta))
        if k < len(problem.activations):
            h.append(ACTIVATIONS[problem.activations[k]](f[-1]))
    for tensor in (*f, *h[1:]):
        tensor.retain_grad()
    weight = None if problem.sample_weight is None else torch.tensor(problem.sample_weight)
    loss = mean_loss(problem.loss, f[-1], torch.tensor(problem.y), weight)
    loss.backward()  # type: ignore[no-untyped-call]

    def values(tensors: Sequence[torch.Tensor]) -> list[Any]:
        return [tensor.detach().numpy() for tensor in tensors]

    def gradients(tensors: Sequence[torch.Tensor]) -> list[Any]:
        return [np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy() for tensor in tensors]

    return TorchResult(
        loss=loss.item(),
        f=values(f),
        h=values(h),
        dl_df=gradients(f),
        dl_dh=gradients(h),
        dl_domega=gradients(weights),
        dl_dbeta=gradients(biases),
    )
