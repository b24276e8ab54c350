"""Training tables with their networks, here and in PyTorch, and a callback that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gpu_mlp.backends.base import Array
from gpu_mlp.config import TrainingConfig
from gpu_mlp.learning.callbacks import Callback, RunView
from gpu_mlp.learning.history import Epoch
from gpu_mlp.learning.randomness import epoch_order
from gpu_mlp.network.network import Network
from tests.network.random_networks import Problem, random_loss, random_targets
from tests.network.torch_networks import mean_loss, torch_module

ROWS = 53  # with batches of 16: three full ones and one of 5
SIZES = (3, 11, 7, 4)


def table_problem(loss: str, *, weighted: bool = False, rows: int = ROWS, seed: int = 0) -> Problem:
    """A whole training table and the network at its start."""
    rng = np.random.default_rng([seed, *loss.encode()])
    return Problem(
        sizes=SIZES,
        activations=("tanh", "gelu"),
        loss=random_loss(rng, loss),
        x=rng.normal(size=(rows, SIZES[0])),
        y=random_targets(rng, loss, rows, SIZES[-1]),
        sample_weight=rng.random(rows) * (rng.random(rows) > 0.2) if weighted else None,
        weights=[rng.normal(0, 0.5, shape) for shape in ((11, 3), (7, 11), (4, 7))],
        biases=[rng.normal(0, 0.5, width) for width in SIZES[1:]],
    )


def network_at_start(problem: Problem, device: str, dtype: Any = "float64") -> Network:
    """The package's network."""
    net = Network(problem.sizes, activation=problem.activations, dtype=dtype, device=device)
    net.set_parameters(problem.weights, problem.biases)
    return net


def config_of(problem: Problem, **settings: Any) -> TrainingConfig:
    """Three epochs in batches of 16 with the problem's loss."""
    loss = problem.loss
    return TrainingConfig(
        **{
            "epochs": 3,
            "batch_size": 16,
            "loss": loss.name,
            "huber_delta": loss.huber_delta,
            "quantile": loss.quantile,
            "label_smoothing": loss.label_smoothing,
            "learning_rate": 0.01,
        }
        | settings
    )


def torch_train(
    problem: Problem,
    config: TrainingConfig,
    optimizer_of: Callable[[Any], torch.optim.Optimizer],
    scheduler_of: Callable[[torch.optim.Optimizer], Any] | None = None,
) -> list[Array]:
    """A plain PyTorch loop over the same batches; the parameters in PyTorch's order."""
    module = torch_module(problem)
    optimizer = optimizer_of(module.parameters())
    scheduler = None if scheduler_of is None else scheduler_of(optimizer)
    x, y = torch.tensor(problem.x), torch.tensor(problem.y)
    weight = None if problem.sample_weight is None else torch.tensor(problem.sample_weight)
    steps = config.epochs * -(-len(x) // config.batch_size)
    for epoch in range(1, config.epochs + 1):
        order = torch.tensor(epoch_order(config.seed, epoch, len(x)))
        for index in order.split(config.batch_size):
            optimizer.zero_grad()
            f = module(x[index])
            mean_loss(problem.loss, f, y[index], None if weight is None else weight[index]).backward()
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
            optimizer.step()
            if scheduler is not None and scheduler.last_epoch < steps - 1:
                scheduler.step()
    return [parameter.detach().numpy() for parameter in module.parameters()]


def parameters_of(net: Network) -> list[Array]:
    """On the host, in PyTorch's order: weights and biases layer by layer."""
    pairs = zip(net.weights, net.biases, strict=True)
    return [np.array(net.ops.to_host(array)) for pair in pairs for array in pair]


def bits(net: Network) -> bytes:
    """Every parameter's bits."""
    return np.array(net.ops.to_host(net.parameters.flat)).tobytes()


class Recorder(Callback):
    """Keeps what it was told, and the weights after every epoch."""

    def __init__(self, net: Network | None = None, log: list[str] | None = None, name: str = "") -> None:
        self.net, self.log, self.name = net, [] if log is None else log, name
        self.weights: list[bytes] = []

    def on_train_begin(self, run: RunView) -> None:
        self.log.append(f"{self.name}begin {run.total_epochs} {run.rows}")

    def on_epoch_end(self, run: RunView, epoch: Epoch) -> None:
        self.log.append(f"{self.name}epoch {epoch.epoch} of {len(run.history)}")
        if self.net is not None:
            self.weights.append(bits(self.net))

    def on_train_end(self, run: RunView) -> None:
        self.log.append(f"{self.name}end {run.history.stopped!r}")
