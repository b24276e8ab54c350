"""`Sampler`: meters that are read in a thread of their own, a few times a second."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gpu_mlp.telemetry.measures import Meter, Reading, summarised

__all__ = ["Sampler"]

# A reading of a GPU and the process takes below 0.1 ms, so a few thousandths of one thread's time.
SECONDS_BETWEEN_READINGS = 0.2


class Sampler:
    """Reads meters from `start` to `stop`; `take` says what the stretch since the last `take` came to."""

    def __init__(self, meters: Sequence[Meter], seconds: float = SECONDS_BETWEEN_READINGS) -> None:
        self._meters, self._seconds = list(meters), seconds
        self._readings: list[Reading] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first reading, and go on in a thread."""
        self._over.clear()
        self._readings = []
        self._read()
        self._thread = threading.Thread(target=self._work, name="gpu_mlp-telemetry", daemon=True)
        self._thread.start()

    def take(self) -> dict[str, float | str]:
        """The measures since the last time, or the start, up to now."""
        with self._lock:
            self._read()
            found = summarised(self._readings)
            self._readings = self._readings[-1:]  # where the next stretch begins
        return found

    def stop(self) -> None:
        """End the thread, and close the meters."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for meter in self._meters:
            meter.close()

    def _work(self) -> None:
        while not self._over.wait(self._seconds):
            with self._lock:
                self._read()

    def _read(self) -> None:
        self._readings.append({name: value for meter in self._meters for name, value in meter.read().items()})
