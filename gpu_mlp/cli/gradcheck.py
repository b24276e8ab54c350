"""`gpu-mlp gradcheck`: back-propagation against numerical derivatives, for any architecture."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from gpu_mlp.cli.architecture import random_network, random_targets, widths_of
from gpu_mlp.cli.console import print_facts, print_json, print_table
from gpu_mlp.config import Loss, check_choice, check_range
from gpu_mlp.network.gradient_check import GradientReport, check_gradients
from gpu_mlp.network.network import Network

__all__ = ["gradcheck"]


def gradcheck(
    sizes: str = "2-4-7-3-2",
    *,
    activation: str = "relu",
    loss: str = "squared_error",
    batch: int = 16,
    method: str = "auto",
    directions: int = 3,
    seed: int = 0,
    dtype: str = "float64",
    device: str = "auto",
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Compare the gradients of a random network with derivatives that need no back-propagation.

    Exits with 1 where an error is larger than rounding can explain.

    Args:
        sizes: widths of the layers, inputs first and outputs last.
        activation: one for all hidden layers, or one each, comma-separated.
        loss: a loss's name.
        batch: random rows.
        method: complex_step or central_difference; auto is complex_step.
        directions: random directions for all parameters together and for each layer's weights and biases.
        seed: of the network, the rows and the directions.
        dtype: float32 or float64.
        device: auto, cpu, cuda or cuda:N.
        as_json: print one JSON object instead of a table.
    """
    widths = widths_of(sizes)
    settings = Loss(loss)
    check_range("batch", batch, low=1, whole=True)
    check_choice("dtype", dtype, ("float32", "float64"))
    network, rng = random_network(widths, activation, seed, dtype, device)
    x, y = rng.normal(size=(batch, widths[0])), random_targets(rng, settings, batch, widths[-1])
    report = check_gradients(network, x, y, loss=settings, method=method, directions=directions, seed=seed)
    if as_json:
        print_json(
            {**asdict(report), "max_relative_error": report.max_relative_error, "passed": report.passed}
        )
    else:
        _print_report(network, report)
    if not report.passed:
        print(
            f"gpu-mlp: the gradients differ by {report.max_relative_error:.2g}, beyond the tolerance of "
            f"{report.tolerance:.0e}; look for a wrong formula in the backward pass of the layers above",
            file=sys.stderr,
        )
    return 0 if report.passed else 1


def _print_report(network: Network, report: GradientReport) -> None:
    facts = [
        ("network", repr(network).strip("<>")),
        ("loss", f"{report.loss} of {report.rows} random rows"),
        ("method", f"{report.method.replace('_', ' ')}, {report.directions} random directions each"),
    ]
    if report.rows_at_kinks:
        facts.append(("left out", f"{report.rows_at_kinks} rows on a kink, where there is no derivative"))
    if report.directions_at_kinks:
        facts.append(("left out", f"{report.directions_at_kinks} directions whose every step crossed a kink"))
    print_facts(facts, sys.stdout)
    print()
    rows = [[f"{layer.layer}", f"{layer.weights:.1e}", f"{layer.biases:.1e}"] for layer in report.layers]
    print_table(["layer k", "dL/dOmega_k", "dL/dbeta_k"], rows)
    verdict = "passed" if report.passed else "FAILED"
    error = f"{report.max_relative_error:.1e}"
    print(f"\n{verdict}: largest relative error {error}, tolerance {report.tolerance:.0e}")
