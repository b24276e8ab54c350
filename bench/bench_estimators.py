"""`fit` on the CPU: gpu_mlp's MLPClassifier against scikit-learn's, a loop in PyTorch, and skorch where there is one.

    python bench/bench_estimators.py                  # table on stdout
    python bench/bench_estimators.py --out FILE.json  # and the figures with machine, versions and commit

All train the same network with Adam and float32 on the same rows, for as many epochs, on the same number of threads.
gpu_mlp and scikit-learn draw the same weights and orders of the rows, so their losses are compared epoch by epoch
before anything is timed; of PyTorch and skorch, which draw their own, the last epoch's loss must lie within a quarter.
Rounds alternate (A B C A B C ...). A ratio is the median over the rounds with a 95 % bootstrap interval; above 1
gpu_mlp is faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import gpu_mlp

sys.path.insert(0, str(Path(__file__).parent))
from contest import first_difference, interval
from stamp import stamp

LEARNING_RATE = 1e-3
# What losses of other orders of the rows may differ by.
OTHER_ORDERS = 0.25


@dataclass(frozen=True)
class Problem:
    """Layer sizes, rows to a batch, rows and epochs; and what the project promises against whom."""

    sizes: tuple[int, ...]
    batch: int
    rows: int
    epochs: int
    floors: dict[str, float]


PROBLEMS: Sequence[Problem] = (
    Problem((20, 64, 64, 2), 200, 4000, 20, {"scikit-learn": 3.0, "PyTorch": 2.0, "skorch": 2.0}),
    Problem((784, 512, 512, 10), 256, 5120, 3, {"scikit-learn": 1.5}),
)

# Trains from the start and returns the loss of every epoch.
Fit = Callable[[], list[float]]


def table(problem: Problem) -> tuple[Any, Any]:
    """Rows whose classes can be learnt in part."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(problem.rows, problem.sizes[0])).astype(np.float32)
    scores = x @ rng.normal(size=(problem.sizes[0], problem.sizes[-1])) + rng.normal(size=problem.sizes[-1])
    return x, scores.argmax(axis=1)


def estimator_fit(kind: Any, problem: Problem, x: Any, y: Any, **more: Any) -> Fit:
    """scikit-learn's class or ours."""

    def fit() -> list[float]:
        estimator = kind(
            problem.sizes[1:-1],
            alpha=0.0,
            batch_size=problem.batch,
            learning_rate_init=LEARNING_RATE,
            max_iter=problem.epochs,
            tol=0.0,
            n_iter_no_change=np.inf,
            random_state=0,
            **more,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(x, y)
        return [float(loss) for loss in estimator.loss_curve_]

    return fit


def torch_module(problem: Problem) -> Any:
    """The network with initial weights like scikit-learn's; two classes have two outputs."""
    import torch

    torch.manual_seed(0)
    layers: list[Any] = []
    for k, (inputs, outputs) in enumerate(zip(problem.sizes, problem.sizes[1:], strict=False)):
        linear = torch.nn.Linear(inputs, outputs)
        bound = (6.0 / (inputs + outputs)) ** 0.5
        torch.nn.init.uniform_(linear.weight, -bound, bound)
        torch.nn.init.uniform_(linear.bias, -bound, bound)
        layers += [linear] if k == 0 else [torch.nn.ReLU(), linear]
    return torch.nn.Sequential(*layers)


def torch_fit(problem: Problem, x: Any, y: Any) -> Fit:
    """The loop as PyTorch's users write it, over slices of a shuffled tensor."""
    import torch

    inputs, targets = torch.tensor(x), torch.tensor(y)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def fit() -> list[float]:
        model = torch_module(problem)
        optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        losses = []
        for _ in range(problem.epochs):
            order = torch.randperm(len(inputs))
            rows, labels, total = inputs[order], targets[order], 0.0
            for start in range(0, len(rows), problem.batch):
                batch = slice(start, start + problem.batch)
                optimizer.zero_grad()
                loss = cross_entropy(model(rows[batch]), labels[batch])
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(labels[batch])
            losses.append(total / len(rows))
        return losses

    return fit


def skorch_fit(problem: Problem, x: Any, y: Any) -> Fit:
    """skorch's classifier with the same module and optimizer."""
    import torch
    from skorch import NeuralNetClassifier  # type: ignore[import-not-found, import-untyped, unused-ignore]

    def fit() -> list[float]:
        net = NeuralNetClassifier(
            torch_module(problem),
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            batch_size=problem.batch,
            max_epochs=problem.epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        net.fit(x, y)
        return [float(loss) for loss in net.history[:, "train_loss"]]

    return fit


def contestants(problem: Problem) -> dict[str, Fit]:
    """Everybody who is installed, gpu_mlp first."""
    from sklearn.neural_network import MLPClassifier

    x, y = table(problem)
    found = {
        "gpu_mlp": estimator_fit(gpu_mlp.MLPClassifier, problem, x, y, device="cpu"),
        "scikit-learn": estimator_fit(MLPClassifier, problem, x, y),
        "PyTorch": torch_fit(problem, x, y),
    }
    if find_spec("skorch") is not None:
        found["skorch"] = skorch_fit(problem, x, y)
    return found


def check_losses(losses: dict[str, list[float]]) -> None:
    """Exit with a message unless all learn the same."""
    own = losses["gpu_mlp"]
    epoch = first_difference(own, losses["scikit-learn"])
    if epoch is not None:
        sys.exit(
            f"epoch {epoch}: gpu_mlp has loss {own[epoch - 1]:.7f}, scikit-learn "
            f"{losses['scikit-learn'][epoch - 1]:.7f}; not timed, since the work differs"
        )
    for name, theirs in losses.items():
        if abs(theirs[-1] - own[-1]) > OTHER_ORDERS * own[-1]:
            sys.exit(f"{name} ends at loss {theirs[-1]:.4f}, gpu_mlp at {own[-1]:.4f}; not timed")


def seconds_of(fit: Fit) -> float:
    """One whole fit."""
    started = time.perf_counter()
    fit()
    return time.perf_counter() - started


def measure(problem: Problem, rounds: int) -> list[dict[str, Any]]:
    """One row for each rival of gpu_mlp."""
    fits = contestants(problem)
    check_losses({name: fit() for name, fit in fits.items()})
    times = {name: np.zeros(rounds) for name in fits}
    for at in range(rounds):
        for name, fit in fits.items():
            times[name][at] = seconds_of(fit)
    own, rows = times["gpu_mlp"], []
    for name in list(fits)[1:]:
        ratios = times[name] / own
        low, high = interval(ratios)
        rows.append(
            {
                **asdict(problem),
                "rival": name,
                "gpu_mlp_seconds": float(np.median(own)),
                "rival_seconds": float(np.median(times[name])),
                "ratio": float(np.median(ratios)),
                "ratio_low": low,
                "ratio_high": high,
                "floor": problem.floors.get(name),
                "rounds": rounds,
            }
        )
    return rows


def show(row: dict[str, Any]) -> None:
    """A line of the table."""
    print(
        f"{'-'.join(map(str, row['sizes'])):<16} {row['batch']:>5}  {row['rival']:<13} "
        f"{row['gpu_mlp_seconds']:>9.3f} {row['rival_seconds']:>9.3f} {row['ratio']:>6.2f}  "
        f"{row['ratio_low']:>5.2f} to {row['ratio_high']:<5.2f} {row['floor'] or '-':>6}",
        flush=True,
    )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; those of the process where None."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="fits of each contestant (default 11)")
    parser.add_argument("--threads", type=int, default=None, help="threads of all (default: all processors)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 3:
        parser.error(f"--rounds is {arguments.rounds}, but a median with an interval needs at least 3")
    return arguments


def main() -> None:
    """Measure, show, and write where asked."""
    arguments = parse()
    import torch
    from threadpoolctl import threadpool_limits

    threads = arguments.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    print(f"{threads} threads, {arguments.rounds} rounds, medians")
    header = f"{'layers':<16} {'batch':>5}  {'against':<13} {'gpu_mlp s':>9} {'theirs s':>9} {'ratio':>6}"
    print(f"{header}  {'95 % interval':<14} {'floor':>6}")
    rows = []
    with threadpool_limits(threads, user_api="blas"):
        for problem in PROBLEMS:
            for row in measure(problem, arguments.rounds):
                rows.append(row)
                show(row)
        document = {**stamp(), "threads": threads, "rows": rows}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
