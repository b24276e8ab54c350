"""What is shown: text escaped for a terminal, tables for a person, JSON for a machine, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpu_mlp.data.messages import shown
from gpu_mlp.learning.progress import number

__all__ = [
    "HELP_WIDTH",
    "PipeConsole",
    "error_console",
    "print_facts",
    "print_json",
    "print_metrics",
    "print_table",
    "report_error",
    "shown",
]

PLAIN_WIDTH = 1000  # off a terminal nothing is wrapped
HELP_WIDTH = 100


class PipeConsole(Console):
    """A rich console with colour and live displays on a terminal only; a closed pipe is left to `main`."""

    def __init__(self, stream: TextIO, plain_width: int = PLAIN_WIDTH) -> None:
        terminal = stream.isatty()
        super().__init__(
            file=stream,
            force_terminal=terminal,
            no_color=None if terminal else True,
            width=None if terminal else plain_width,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=not terminal,
        )

    def on_broken_pipe(self) -> None:
        """Do not exit here, as rich would: what is to be done then, `main` knows."""
        raise BrokenPipeError


def error_console() -> PipeConsole:
    """The console of progress and logs."""
    return PipeConsole(sys.stderr)


def report_error(sentence: str) -> None:
    """One line on stderr."""
    print(f"gpu-mlp: {shown(sentence)}", file=sys.stderr, flush=True)


def print_json(document: dict[str, Any]) -> None:
    """One JSON object on stdout; what is not finite becomes null."""
    print(json.dumps(_finite(document), ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def print_facts(facts: Sequence[tuple[str, str]], stream: TextIO | None = None) -> None:
    """Lines of a name and what is to be said of it, aligned; to stderr unless said otherwise."""
    stream = stream or sys.stderr
    width = max(len(name) for name, _ in facts)
    for name, fact in facts:
        print(f"{name:<{width}}  {shown(fact)}", file=stream)
    stream.flush()


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, its first column to the left and the others to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(Text(shown(header)), justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    # Rendered in memory first, so that a pipe closed by its reader is met by one write and not inside rich.
    console = PipeConsole(sys.stdout)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_metrics(names: dict[str, str], parts: dict[str, dict[str, float]]) -> None:
    """Metrics down, parts of the table across; empty parts are left out."""
    filled = {part: metrics for part, metrics in parts.items() if metrics}
    keys = [key for key in names if any(key in metrics for metrics in filled.values())]
    rows = [
        [names[key], *(number(metrics[key]) if key in metrics else "-" for metrics in filled.values())]
        for key in keys
    ]
    print_table(["metric", *filled], rows)
