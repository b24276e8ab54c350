"""The contestants by the names that --against takes."""

from __future__ import annotations

from collections.abc import Callable

from gpu_mlp.benchmark.contestants.base import Contestant
from gpu_mlp.benchmark.contestants.jax_jit import Jax
from gpu_mlp.benchmark.contestants.own import Own
from gpu_mlp.benchmark.contestants.pytorch import PyTorch
from gpu_mlp.benchmark.contestants.scikit_learn import ScikitLearn
from gpu_mlp.benchmark.contestants.skorch_net import Skorch
from gpu_mlp.config import check_choice

__all__ = ["PEERS", "contestants_of"]

PEERS: dict[str, Callable[[], Contestant]] = {
    "torch": PyTorch,
    "torch.compile": lambda: PyTorch(compiled=True),
    "jax": Jax,
    "sklearn": ScikitLearn,
    "skorch": Skorch,
}


def contestants_of(devices: tuple[str, ...], peers: tuple[str, ...]) -> list[Contestant]:
    """gpu_mlp on each device, then the peers. Raises ConfigError for a peer that is unknown."""
    for name in peers:
        check_choice("peer", name, PEERS)
    return [*map(Own, devices), *(PEERS[name]() for name in dict.fromkeys(peers))]
