"""Results with times that are drawn, as two runs on a machine with noise would have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_mlp.benchmark.results import Result

__all__ = ["drawn_result"]

STEPS = {"tiny/64": 9e-5, "small/128": 2.8e-4, "tabular/256": 2e-3, "mnist/256": 4.7e-3}
ROUNDS = 9


def drawn_result(
    seed: int, *, slower: float = 1.0, noise: float = 0.04, drift: float = 0.02, machine_slower: float = 1.0
) -> Result:
    """noise: between the rounds; drift: between runs, of each contestant in each case.

    slower: a factor of gpu_mlp's times; machine_slower: of everybody's.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name, seconds in STEPS.items():
        contestants: dict[str, Any] = {}
        for who, factor in (("gpu_mlp", slower), ("torch", 3.0)):
            times = (
                seconds
                * factor
                * machine_slower
                * np.exp(rng.normal(0, drift) + rng.normal(0, noise, ROUNDS))
            )
            contestants[who] = {"seconds": times.tolist(), "median": float(np.median(times))}
        rows.append({"key": f"{name}/float32/step", "contestants": contestants, "ratios": {}, "skipped": {}})
    machine = {"processor": "a", "threads": 2, "versions": {"numpy": "2.0"}}
    return Result("quick", {"rounds": ROUNDS, "seconds": 0.08}, machine, {}, rows, finished=True)
