"""`gpu-mlp explain`: one step of back-propagation, worked through, for any architecture or a trained model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gpu_mlp.cli.architecture import random_network, widths_of
from gpu_mlp.cli.loading import load_model
from gpu_mlp.cli.output import check_new_file, write_text
from gpu_mlp.cli.samples import samples_of_model, samples_of_network
from gpu_mlp.config import Loss, check_choice, check_range
from gpu_mlp.data.messages import quoted, shown_path
from gpu_mlp.errors import ConfigError
from gpu_mlp.explanation.explain import Explanation
from gpu_mlp.explanation.explain import explain as explain_network
from gpu_mlp.explanation.quantities import NOTATIONS
from gpu_mlp.network.parameters import ParameterLayout

__all__ = ["explain"]

SUFFIXES = {"terminal": ".txt", "html": ".html", "latex": ".tex", "json": ".json"}
DEFAULT_SIZES = "2-4-7-3-2"
MOST_PARAMETERS = 50_000_000  # half a gigabyte with the gradients


def explain(
    sizes: str = "",
    *,
    model: Path | None = None,
    inputs: Annotated[str, Parameter(name="--input", allow_leading_hyphen=True)] = "",
    target: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    batch: int | None = None,
    loss: str = "auto",
    activation: str = "",
    seed: int = 0,
    notation: str = "columns",
    fmt: Annotated[str, Parameter(name="--format")] = "auto",
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    device: str = "auto",
) -> int:
    """Work one step of back-propagation through: every equation with its shapes, its numbers and where they come from.

    Exits with 1 where a gradient differs from finite differences.

    Without --model the network has random weights and biases. Without --input the samples are random, too.

    Args:
        sizes: widths of the layers, inputs first and outputs last; 2-4-7-3-2 when unset.
        model: model.safetensors of a run folder, instead of sizes.
        inputs: one number for each input, comma-separated, and semicolons between samples: 0.5,-1.2; of a model the
            raw values of its columns.
        target: of every sample a class, or a number for each output; of a model the raw value of its target. Random
            when unset.
        batch: so many random samples; 1 when unset.
        loss: a loss's name; auto is the model's, or softmax_cross_entropy for classes and else squared_error.
        activation: one for all hidden layers, or one each, comma-separated; relu when unset.
        seed: of the weights, biases, samples and targets that are random.
        notation: columns, with samples as columns as in books, or rows, as in code.
        fmt: terminal, html, latex or json; auto goes by the ending of --out and else is terminal.
        out: .txt, .html, .tex or .json file to write instead of stdout.
        overwrite: replace the file at --out.
        device: auto, cpu, cuda or cuda:N.
    """
    chosen = _format(fmt, out)
    if out is not None:
        check_new_file("--out", out, (SUFFIXES[chosen],), overwrite=overwrite)
    check_choice("notation", notation, NOTATIONS)
    if loss != "auto":
        Loss(loss)
    if batch is not None:
        check_range("batch", batch, low=1, whole=True)
        if inputs:
            raise ConfigError("--batch draws random samples, but --input gives some; give one of the two")
    if model is None:
        widths = widths_of(sizes or DEFAULT_SIZES)
        _check_size(widths)
        network, rng = random_network(widths, activation or "relu", seed, "float64", device)
        x, y, settings = samples_of_network(network, rng, inputs, target, batch or 1, loss)
        explained = explain_network(network, x, y, loss=settings, notation=notation)
    else:
        if sizes:
            raise ConfigError(f"{sizes!r} and --model both name a network; give one of the two")
        if activation:
            raise ConfigError(f"--activation is {activation!r}, but a model has its own; leave it out")
        loaded = load_model(model, device)
        x, y, settings = samples_of_model(loaded, seed, inputs, target, batch or 1, loss)
        explained = explain_network(loaded, x, y, loss=settings, notation=notation)
    written = _written(explained, chosen)
    if out is None:
        sys.stdout.write(written)
    else:
        write_text("--out", out, written)
    wrong = [check.key for check in explained.checks if check.passed is False]
    if wrong:
        print(
            f"gpu-mlp: {', '.join(wrong)} differ from finite differences beyond the tolerance; look for a wrong "
            "formula in the backward pass",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _check_size(widths: tuple[int, ...]) -> None:
    parameters = ParameterLayout(widths).parameter_count
    if parameters > MOST_PARAMETERS:
        raise ConfigError(
            f"the network would have {parameters:,} parameters, but a walkthrough has room for {MOST_PARAMETERS:,}; "
            "give smaller layers"
        )


def _format(fmt: str, out: Path | None) -> str:
    if fmt == "auto":
        by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
        if out is None:
            return "terminal"
        if out.suffix.lower() not in by_suffix:
            raise ConfigError(
                f"--out {shown_path(out)} ends in {quoted(out.suffix)}, but must end in {' or '.join(by_suffix)}"
            )
        return by_suffix[out.suffix.lower()]
    check_choice("format", fmt, SUFFIXES)
    return fmt


def _written(explained: Explanation, fmt: str) -> str:
    match fmt:
        case "html":
            return explained.html()
        case "latex":
            return explained.latex()
        case "json":
            return json.dumps(explained.document(), ensure_ascii=False, allow_nan=False) + "\n"
    return explained.text()
