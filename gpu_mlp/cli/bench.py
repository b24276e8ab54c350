"""`gpu-mlp bench`: this machine's CPU and GPU, and other libraries, on the same work; and two results compared."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from gpu_mlp.backends.blas_threads import blas_threads
from gpu_mlp.backends.select import automatic_device
from gpu_mlp.benchmark.cases import cases_of
from gpu_mlp.benchmark.comparison import compare_results, noted_differences
from gpu_mlp.benchmark.contestants import contestants_of
from gpu_mlp.benchmark.machine import notes_on_machine
from gpu_mlp.benchmark.page import page_of
from gpu_mlp.benchmark.results import Result, read_result
from gpu_mlp.benchmark.run import run_benchmark
from gpu_mlp.benchmark.timing import Method
from gpu_mlp.benchmark.wording import busy, compared, energy, share_of_limit, sizes_of, time_of
from gpu_mlp.cli.console import error_console, print_facts, print_json, print_table
from gpu_mlp.cli.output import check_new_file, write_text
from gpu_mlp.config import check_range
from gpu_mlp.data.messages import shown_path
from gpu_mlp.errors import ConfigError

__all__ = ["bench_app"]

METHODS = {"quick": Method(9, 0.08), "full": Method(15, 0.3)}
INTERRUPTED = 130
ENERGY = "a million rows"
HEADER = ["layers", "batch", "task", "precision", "who", "time", "noise", "busy", ENERGY]
HEADER += ["of the limit", "ratio", "95 % interval", "gpu_mlp is"]


def bench(
    *,
    suite: str = "quick",
    against: str = "sklearn,torch,jax",
    problems: str = "",
    precisions: str = "",
    device: str = "auto",
    threads: int | None = None,
    rounds: int | None = None,
    out: Path | None = None,
    html: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Time training steps and inferences of gpu_mlp and of what else is installed, in turn, on this machine.

    All do the same work from the same weights; who computes something else is named and not timed. A ratio above 1 says
    that gpu_mlp is faster.

    Args:
        suite: quick, below a minute on two cores, or full.
        against: peers, comma-separated: torch, torch.compile, jax, sklearn, skorch; none for nobody.
        problems: only these, comma-separated: tiny, small, tabular, mnist, wide.
        precisions: in place of the suite's own, comma-separated: float32, float64, tf32, bf16, fp16.
        device: cpu, or cuda or cuda:N beside it; auto takes a GPU where there is one.
        threads: of the processor, for everybody; what BLAS has when unset.
        rounds: of everybody in turn; the suite's own when unset.
        out: .json file to write.
        html: .html file to write, a report with charts.
        overwrite: replace the files at --out and --html.
        as_json: print the result as one JSON object instead of a table.
    """
    cases = cases_of(suite, _names(problems), _names(precisions))
    peers = () if against.strip() in ("", "none") else _names(against)
    chosen = automatic_device()[0] or "cpu" if device == "auto" else device
    contestants = contestants_of(("cpu",) if chosen == "cpu" else ("cpu", chosen), peers)
    if threads is not None:
        check_range("threads", threads, low=1, whole=True)
    if rounds is not None:
        check_range("rounds", rounds, low=3, whole=True)
    if out is not None:
        check_new_file("--out", out, (".json",), overwrite=overwrite)
    if html is not None:
        check_new_file("--html", html, (".html",), overwrite=overwrite)
    method = METHODS[suite] if rounds is None else Method(rounds, METHODS[suite].seconds)
    with error_console().status("measuring") as status:
        result = run_benchmark(
            suite,
            cases,
            contestants,
            method,
            blas_threads() if threads is None else threads,
            lambda row: status.update(f"measured {row['key']}"),
        )
    if as_json:
        print_json(result.document())
    else:
        _print_result(result)
    if out is not None:
        write_text("--out", out, json.dumps(result.document(), indent=1) + "\n")
    if html is not None:
        write_text("--html", html, page_of(result))
    return 0 if result.finished else INTERRUPTED


def compare(
    old: Path, new: Path, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> int:
    """Tell what has changed between two results by more than noise; exits with 1 where gpu_mlp became slower.

    "others" says how the times of the others in the same case have changed. What they did as well, the machine did;
    measure such a case again.

    Args:
        old: what --out wrote before.
        new: what --out wrote now.
        as_json: print one JSON object instead of a table.
    """
    before, after = read_result(old), read_result(new)
    changes = compare_results(before, after)
    if not changes:
        raise ConfigError(
            f"{shown_path(old)} and {shown_path(new)} have no case in common; measure the same suite"
        )
    for note in noted_differences(before, after):
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        rows = [{**asdict(change), "verdict": change.verdict} for change in changes]
        print_json({"changes": rows, "regressions": sum(change.is_regression for change in changes)})
    else:
        print_table(
            ["case", "who", "new / old", "95 % interval", "others", ""],
            [
                [
                    each.key,
                    each.contestant,
                    f"{each.own.ratio:.2f}",
                    f"{each.own.low:.2f} to {each.own.high:.2f}",
                    "" if each.others is None else f"{each.others.ratio:.2f}",
                    each.verdict,
                ]
                for each in changes
            ],
        )
    return 1 if any(change.is_regression for change in changes) else 0


def show(
    result: Path,
    *,
    html: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print the table of a result that was measured before, or write its report.

    Args:
        result: what --out wrote.
        html: .html file to write, a report with charts.
        overwrite: replace the file at --html.
    """
    found = read_result(result)
    if html is not None:
        check_new_file("--html", html, (".html",), overwrite=overwrite)
    _print_result(found)
    if html is not None:
        write_text("--html", html, page_of(found))
    return 0


def bench_app() -> App:
    """The command with its subcommand."""
    app = App(name="bench")
    app.default(bench)
    app.command(compare)
    app.command(show)
    return app


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _print_result(result: Result) -> None:
    machine = result.machine
    print_facts(
        [
            ("machine", f"{machine['processors']} x {machine['processor']}, {machine['threads']} threads"),
            ("versions", ", ".join(f"{name} {found}" for name, found in machine["versions"].items())),
            ("method", _method_of(result)),
        ],
        sys.stdout,
    )
    print()
    for note in notes_on_machine(machine):
        print(f"note: {note}", file=sys.stderr)
    with_energy = any(energy(row, who) for row in result.rows for who in row["contestants"])
    header = [name for name in HEADER if name != ENERGY or with_energy]
    print_table(header, [line for row in result.rows for line in _lines(row, with_energy=with_energy)])
    skipped = {
        f"{row['key']}, {who}: {reason}" for row in result.rows for who, reason in row["skipped"].items()
    }
    if skipped:
        print("\nnot timed")
        print("\n".join(sorted(skipped)))
    if not result.finished:
        print("\ninterrupted: the rows above are those measured before")


def _method_of(result: Result) -> str:
    method, harness = result.method, result.method.get("harness_seconds")
    text = f"suite {result.suite}, {method['rounds']} rounds in turn, medians of a run"
    return text if harness is None else f"{text}; measuring adds {harness * 1e9:.0f} ns to a run"


def _lines(row: dict[str, Any], *, with_energy: bool) -> list[list[str]]:
    """A case: a line for everybody; energy only where somebody's is known."""
    case = [sizes_of(row), str(row["batch"]), row["task"], row["precision"]]
    return [
        [
            *case,
            who,
            time_of(measured["median"]),
            f"{measured['noise']:.0%}",
            busy(row, who),
            *([energy(row, who)] if with_energy else []),
            " ".join(share_of_limit(row, who) or ()),
            *compared(row, who),
        ]
        for who, measured in row["contestants"].items()
    ]
