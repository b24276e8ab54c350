"""One training step on the CPU: gpu_mlp on NumPy against eager PyTorch, the same work in the same process.

    python bench/bench_step.py                    # table on stdout
    python bench/bench_step.py --out FILE.json    # and the figures with machine, versions and commit
    python bench/bench_step.py --without-numba    # as where Numba is not installed

Both train the same network from the same weights on the same batch with Adam, softmax cross-entropy and float32, on
the same number of threads. Before anything is timed, 20 steps of each are compared: what computes something
else is reported and not timed. Rounds alternate (A B A B ...), each after a pause and a few steps that do not
count, so that one library's idle threads do not spin through the other's time. A ratio is the median over the
pairs, with a 95 % bootstrap interval; above 1 gpu_mlp is faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gpu_mlp

sys.path.insert(0, str(Path(__file__).parent))
from contest import COMPARED_STEPS, first_difference, interval
from stamp import stamp

# The floor that the project promises for each problem.
PROBLEMS: Sequence[tuple[tuple[int, ...], int, float]] = (
    ((2, 4, 7, 3, 2), 64, 5.0),
    ((64, 128, 64, 10), 128, 2.0),
    ((784, 512, 512, 10), 256, 1.0),
    ((784, 512, 512, 10), 2048, 1.0),
)
LEARNING_RATE = 1e-3
SECONDS_A_BLOCK = 0.5
PAUSE = 0.05
UNCOUNTED_STEPS = 3
ALLOCATION_STEPS = 100

# Does one training step and returns the loss, without reading it.
Step = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """What was measured of one problem; seconds are medians of a step, ratios torch / gpu_mlp of the pairs."""

    layer_sizes: tuple[int, ...]
    batch: int
    gpu_mlp_seconds: float
    torch_seconds: float
    ratio: float
    ratio_low: float
    ratio_high: float
    floor: float
    rounds: int
    peak_growth_bytes: int


def problem(sizes: tuple[int, ...], batch: int) -> tuple[gpu_mlp.Network, Any, Any]:
    """A network and a batch with labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, sizes[0])).astype(np.float32)
    labels = rng.integers(0, sizes[-1], batch)
    return gpu_mlp.Network(sizes, activation="relu", seed=0, device="cpu"), x, labels


def own_step(network: gpu_mlp.Network, x: Any, labels: Any) -> Step:
    """The step that users call."""
    step = gpu_mlp.TrainingStep(
        network, loss="softmax_cross_entropy", optimizer=gpu_mlp.Adam(LEARNING_RATE), batch_size=len(x)
    )
    return lambda: step(x, labels)


def torch_step(network: gpu_mlp.Network, x: Any, labels: Any) -> Step:
    """The same step as PyTorch's users write it, from the same weights."""
    import torch

    layers: list[Any] = []
    for k, (omega, beta) in enumerate(zip(network.weights, network.biases, strict=True)):
        linear = torch.nn.Linear(omega.shape[1], omega.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(omega))
            linear.bias.copy_(torch.tensor(beta))
        layers += [linear] if k == 0 else [torch.nn.ReLU(), linear]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    cross_entropy = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.tensor(x), torch.tensor(labels)

    def step() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def compare_losses(own: Step, other: Step) -> None:
    """Exit with a message unless both compute the same losses."""
    pairs = [(float(own()), float(other())) for _ in range(COMPARED_STEPS)]
    ours, theirs = zip(*pairs, strict=True)
    number = first_difference(ours, theirs)
    if number is not None:
        a, b = pairs[number - 1]
        sys.exit(
            f"step {number}: gpu_mlp has loss {a:.7f}, PyTorch {b:.7f}; not timed, since the work differs"
        )


def seconds_a_step(step: Step, count: int) -> float:
    """The mean over a block of steps."""
    time.sleep(PAUSE)
    for _ in range(UNCOUNTED_STEPS):
        step()
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count


def peak_growth(step: Step) -> int:
    """By how many bytes the peak of Python's and NumPy's memory rises over 100 steps."""
    step()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(ALLOCATION_STEPS):
            step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def measure(sizes: tuple[int, ...], batch: int, floor: float, rounds: int) -> Row:
    """One problem, both contestants in turn."""
    network, x, labels = problem(sizes, batch)
    other, own = torch_step(network, x, labels), own_step(network, x, labels)
    compare_losses(own, other)
    counts = [max(1, round(SECONDS_A_BLOCK / seconds_a_step(step, UNCOUNTED_STEPS))) for step in (own, other)]
    times = np.array(
        [[seconds_a_step(own, counts[0]), seconds_a_step(other, counts[1])] for _ in range(rounds)]
    )
    ratios = times[:, 1] / times[:, 0]
    low, high = interval(ratios)
    ours, theirs = (float(value) for value in np.median(times, axis=0))
    ratio = float(np.median(ratios))
    return Row(sizes, batch, ours, theirs, ratio, low, high, floor, rounds, peak_growth(own))


def show(row: Row) -> None:
    """A line of the table."""
    sizes = "-".join(map(str, row.layer_sizes))
    print(
        f"{sizes:<18} {row.batch:>5} {row.gpu_mlp_seconds * 1e6:>11.1f} {row.torch_seconds * 1e6:>11.1f} "
        f"{row.ratio:>6.2f}  {row.ratio_low:>5.2f} to {row.ratio_high:<5.2f} {row.floor:>6.1f} "
        f"{row.peak_growth_bytes:>9}",
        flush=True,
    )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; those of the process where None."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each problem (default 15)")
    parser.add_argument("--threads", type=int, default=None, help="threads of both (default: all processors)")
    parser.add_argument("--without-numba", action="store_true", help="as where Numba is not installed")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 3:
        parser.error(f"--rounds is {arguments.rounds}, but a median with an interval needs at least 3")
    return arguments


def hide_numba() -> None:
    """Let every later `import numba` fail: gpu_mlp imports it with the first large step."""
    sys.modules["numba"] = None  # type: ignore[assignment]


def main() -> None:
    """Measure, show, and write where asked."""
    arguments = parse()
    if arguments.without_numba:
        hide_numba()
    import torch
    from threadpoolctl import threadpool_limits

    threads = arguments.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    print(f"{threads} threads, {arguments.rounds} rounds, medians")
    header = f"{'layers':<18} {'batch':>5} {'gpu_mlp us':>11} {'torch us':>11} {'ratio':>6}"
    print(f"{header}  {'95 % interval':<14} {'floor':>6} {'growth B':>9}")
    rows = []
    with threadpool_limits(threads, user_api="blas"):
        for sizes, batch, floor in PROBLEMS:
            rows.append(measure(sizes, batch, floor, arguments.rounds))
            show(rows[-1])
        document = {
            **stamp(),
            "threads": threads,
            "without_numba": arguments.without_numba,
            "rows": [asdict(row) for row in rows],
        }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
