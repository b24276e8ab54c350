"""How long work on the device takes, by events around many repetitions that are launched as one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

__all__ = ["CudaTimer", "Timer", "Timing"]

Work = Callable[[], None]

# A graph of about so many seconds: its own launch does not count then.
SECONDS_A_GRAPH = 2e-3
MOST_REPETITIONS = 100
ROUNDS = 15


@dataclass(frozen=True)
class Timing:
    """Median seconds of one repetition; "graph", or "launches", in which the time of the host may be hidden or not."""

    seconds: float
    how: str


class Timer(Protocol):
    """Times some work; a test has one that does not."""

    def __call__(self, work: Work) -> Timing: ...


class CudaTimer:
    """Times work on the current device by CUDA events.

    Single launches would show how fast Python submits them, so the work is captured many times over where it can be.
    """

    def __init__(self, cupy: Any, capture: Callable[[Work], Work] | None) -> None:
        self._cupy = cupy
        self._capture = capture

    def __call__(self, work: Work) -> Timing:
        """The median of `ROUNDS` rounds, after a warm-up in which kernels are compiled and products planned."""
        for _ in range(3):
            work()
        self._cupy.cuda.get_current_stream().synchronize()
        once = min(self.elapsed(work) for _ in range(3))
        count = max(1, min(MOST_REPETITIONS, round(SECONDS_A_GRAPH / max(once, 1e-6))))

        def repeated() -> None:
            for _ in range(count):
                work()

        replay, how = self._captured(repeated)
        for _ in range(2):
            replay()
        return Timing(median(self.elapsed(replay) for _ in range(ROUNDS)) / count, how)

    def _captured(self, repeated: Work) -> tuple[Work, str]:
        if self._capture is None:
            return repeated, "launches"
        try:
            return self._capture(repeated), "graph"
        except Exception as error:  # whatever the driver refuses to capture
            return repeated, f"launches ({type(error).__name__}: {str(error)[:120]})"

    def elapsed(self, work: Work) -> float:
        """Seconds between two events."""
        cuda = self._cupy.cuda
        start, end = cuda.Event(), cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(cuda.get_elapsed_time(start, end)) / 1e3
