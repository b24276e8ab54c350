"""The benchmark: case after case, everybody compared before anybody is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.benchmark.cases import Case, data_of
from gpu_mlp.benchmark.contestants import Contestant, UnableError, Work
from gpu_mlp.benchmark.limits import Ceilings, floor_of, measure_ceilings
from gpu_mlp.benchmark.machine import available_bytes, describe_machine
from gpu_mlp.benchmark.results import Result
from gpu_mlp.benchmark.timing import Method, Times, ratio_of, seconds_of_harness, timed
from gpu_mlp.telemetry import ProcessorMeter
from gpu_mlp.telemetry.measures import Meter

__all__ = ["COMPARED_STEPS", "run_benchmark"]

COMPARED_STEPS = 20
# What losses and outputs may differ by, of the larger of theirs and 1: by rounding in another order, 20 steps on, and
# by Adam's epsilon, which scikit-learn adds before the correction of the bias; and where products are rounded, or in
# a fit, whose hundreds of steps enlarge both.
TOLERANCE, LOOSE = 1e-3, 5e-2


def run_benchmark(
    suite: str,
    cases: Sequence[Case],
    contestants: Sequence[Contestant],
    method: Method,
    threads: int,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Result:
    """Measure every case; report hears of each row. An interruption leaves what was measured, marked unfinished.

    The first contestant is who the others are held against.
    """
    absent = {each.name: reason for each in contestants if (reason := each.missing())}
    present = [each for each in contestants if each.name not in absent]
    result = Result(suite, asdict(method), {})
    meters: list[Meter] = [ProcessorMeter(), *(meter for each in present for meter in each.meters())]
    with _threads(threads, present):
        result.machine = describe_machine(threads)
        result.method["harness_seconds"] = seconds_of_harness(method)
        try:
            ceilings = measure_ceilings(_measurable(cases))
            result.ceilings = ceilings.document()
            gpu = next((found for each in present if (found := each.ceilings(_precisions(cases)))), None)
            result.gpu_ceilings = None if gpu is None else gpu.document()
            for case in cases:
                row = _row(case, present, dict(absent), method, meters)
                floors = {"floor": _floor(case, ceilings), "gpu_floor": gpu and _floor(case, gpu)}
                result.rows.append(row | floors)
                report(result.rows[-1])
        except KeyboardInterrupt:
            return result
    result.finished = True
    return result


def _precisions(cases: Sequence[Case]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(case.precision for case in cases))


def _measurable(cases: Sequence[Case]) -> tuple[str, ...]:
    """The precisions in which NumPy multiplies."""
    return tuple(name for name in ("float32", "float64") if any(case.precision == name for case in cases))


def _floor(case: Case, ceilings: Ceilings) -> dict[str, Any] | None:
    floor = floor_of(case, ceilings)
    return None if floor is None else {**asdict(floor), "seconds": floor.seconds, "binds": floor.binds}


@contextmanager
def _threads(threads: int, contestants: Sequence[Contestant]) -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    for contestant in contestants:
        contestant.set_threads(threads)
    with threadpool_limits(threads, user_api="blas"):
        yield


def _row(
    case: Case,
    contestants: Sequence[Contestant],
    skipped: dict[str, str],
    method: Method,
    meters: Sequence[Meter],
) -> dict[str, Any]:
    works: dict[str, Work] = {}
    first_seconds: dict[str, float] = {}
    free = available_bytes()
    needed = case.bytes_needed * len(contestants)
    if free is not None and needed > free:
        reason = f"needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
        return _measured(case, {}, {}, {each.name: reason for each in contestants} | skipped)
    data = data_of(case)
    for contestant in contestants:
        try:
            work = contestant.set_up(case, data)
        except UnableError as error:
            skipped[contestant.name] = str(error)
            continue
        started = time.perf_counter()
        work.run(1)
        first_seconds[contestant.name] = time.perf_counter() - started
        works[contestant.name] = work
    for name, reason in _different(case, works).items():
        skipped[name] = reason
        del works[name]
    times = timed(works, method, meters=meters) if works else {}
    return _measured(case, times, first_seconds, skipped)


def _different(case: Case, works: Mapping[str, Work]) -> dict[str, str]:
    """Who computes something else than the first, and what."""
    steps = COMPARED_STEPS if case.task == "step" else 1
    found = {name: _results(work, steps) for name, work in works.items()}
    if not found:
        return {}
    (own, expected), *others = found.items()
    is_exact = case.precision in ("float32", "float64") and case.task != "fit"
    tolerance = TOLERANCE if is_exact else LOOSE
    reasons = {}
    for name, given in others:
        for number, (ours, theirs) in enumerate(zip(expected, given, strict=True), start=1):
            distance = float(np.max(np.abs(_comparable(case, ours) - _comparable(case, theirs))))
            if not distance <= tolerance * max(1.0, float(np.max(np.abs(ours)))):
                what = {
                    "step": f"after {number} steps the loss",
                    "inference": "an output",
                    "fit": "an epoch's loss",
                }[case.task]
                reasons[name] = (
                    f"computes something else: {what} differs from that of {own} by {distance:.2g}"
                )
                break
    return reasons


def _results(work: Work, steps: int) -> list[NDArray[Any]]:
    """The first run has been done."""
    results = [work.result()]
    for _ in range(steps - 1):
        work.run(1)
        results.append(work.result())
    return results


def _comparable(case: Case, values: NDArray[Any]) -> NDArray[np.float64]:
    """Outputs of a classification up to a number for each row, which its softmax does not tell."""
    values = np.asarray(values, np.float64)
    if case.task == "inference" and not case.problem.is_regression:
        values = values - values.mean(axis=1, keepdims=True)
    flat: NDArray[np.float64] = values.reshape(-1)
    return flat


def _measured(
    case: Case, times: Mapping[str, Times], first_seconds: Mapping[str, float], skipped: dict[str, str]
) -> dict[str, Any]:
    names = list(times)
    return {
        "key": case.key,
        "problem": case.problem.name,
        "layer_sizes": list(case.problem.layer_sizes),
        "batch": case.batch,
        "precision": case.precision,
        "task": case.task,
        "contestants": {
            name: {
                "seconds": [float(value) for value in each.seconds],
                "median": float(np.median(each.seconds)),
                "noise": _noise(each.seconds),
                "first_seconds": first_seconds[name],
                "rows_per_second": case.batch * case.repeats / float(np.median(each.seconds)),
                "measures": each.measured(),
            }
            for name, each in times.items()
        },
        "ratios": {
            name: {
                **asdict(found := ratio_of(times[name].seconds, times[names[0]].seconds)),
                "verdict": found.verdict,
            }
            for name in names[1:]
        },
        "skipped": skipped,
    }


def _noise(seconds: NDArray[np.float64]) -> float:
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
