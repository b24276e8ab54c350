"""What a contestant must offer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.cases import Case, Data
from gpu_mlp.benchmark.limits import Ceilings
from gpu_mlp.telemetry.measures import Meter

__all__ = ["Contestant", "Fit", "Peer", "UnableError", "Work"]


class UnableError(Exception):
    """A contestant cannot do a case; the message is the reason, which stands in the table."""


class Work(Protocol):
    """A case that a contestant has set up, with its data in place."""

    def run(self, count: int) -> float | None:
        """So many steps, inferences or fits, one after the other; returns when the last is done.

        Returns the seconds that a device of its own was at work, or None.

        A fit begins with the data's weights each time, and draws an order of the rows for each epoch.
        """

    def result(self) -> NDArray[Any]:
        """Of the last of them, on the host: the loss before the step (), or the outputs f_K (B, O).

        Of a fit, every epoch's mean loss (E,) of one more, which takes the rows as they stand.
        """


class Contestant(Protocol):
    """Somebody who can do a case.

    Attributes:
        name: in tables and results.
    """

    name: str

    def missing(self) -> str:
        """Why it cannot take part on this machine; empty where it can."""

    def set_threads(self, threads: int) -> None:
        """How many of the processor's it may use; called before the first case."""

    def meters(self) -> list[Meter]:
        """Of what it computes on, beside the processor."""

    def ceilings(self, precisions: tuple[str, ...]) -> Ceilings | None:
        """Of a device of its own; None for the processor."""

    def set_up(self, case: Case, data: Data) -> Work:
        """Make everything but the first run. Raises UnableError."""


class Peer:
    """What holds of most peers: they are there, compute on the processor alone, and have BLAS's threads."""

    def missing(self) -> str:
        """Nothing."""
        return ""

    def set_threads(self, threads: int) -> None:
        """BLAS has the number that threadpoolctl was told for all."""

    def meters(self) -> list[Meter]:
        """None."""
        return []

    def ceilings(self, precisions: tuple[str, ...]) -> Ceilings | None:
        """The processor's are measured for everybody."""
        return None


class Fit:
    """The work of a whole fit, which `losses` does."""

    def run(self, count: int) -> None:
        """So many fits."""
        for _ in range(count):
            self.losses(shuffle=True)

    def result(self) -> NDArray[Any]:
        """Every epoch's loss of one more, whose rows come as they stand."""
        return np.asarray(self.losses(shuffle=False))

    def losses(self, *, shuffle: bool) -> list[float]:
        """Fit from the data's weights; the mean loss of every epoch."""
        raise NotImplementedError
