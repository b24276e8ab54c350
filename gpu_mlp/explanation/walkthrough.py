"""The walkthrough: all that is told of one step of back-propagation, in whatever format."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_mlp.config import Loss
from gpu_mlp.explanation.cost import Cost
from gpu_mlp.explanation.derivative_check import ArrayCheck
from gpu_mlp.explanation.quirks import Quirks
from gpu_mlp.explanation.steps import Walk
from gpu_mlp.network.network import Network

__all__ = ["Walkthrough"]


@dataclass(frozen=True, repr=False)
class Walkthrough:
    """walk: every quantity and every step. quirks, cost and checks as their classes say."""

    network: Network
    loss: Loss
    walk: Walk
    quirks: Quirks
    cost: Cost
    checks: tuple[ArrayCheck, ...]

    @property
    def name(self) -> str:
        """The network: "2-4-7-3-2"."""
        return "-".join(map(str, self.network.layer_sizes))
