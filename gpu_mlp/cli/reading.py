"""How far a table has been read, on stderr: a line that changes on a terminal, some lines off one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["reading_progress"]

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_CHANGES = 0.1


@contextmanager
def reading_progress(console: Console) -> Iterator[Callable[[int], None]]:
    """What is to be told of the rows read so far."""
    terminal = console.is_terminal and not console.is_dumb_terminal
    pause = SECONDS_BETWEEN_CHANGES if terminal else SECONDS_BETWEEN_LINES
    told = time.monotonic()

    def is_due() -> bool:
        nonlocal told
        if time.monotonic() < told + pause:
            return False
        told = time.monotonic()
        return True

    if not terminal:
        yield lambda rows: console.print(f"read {rows} rows") if is_due() else None
        return
    with console.status("reading the table") as status:
        yield lambda rows: status.update(f"reading the table: {rows} rows") if is_due() else None
