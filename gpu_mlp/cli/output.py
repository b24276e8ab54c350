"""Files that a command is asked to write, looked at before the work."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpu_mlp.data.messages import quoted, shown_path
from gpu_mlp.errors import ConfigError
from gpu_mlp.files.atomic_file import write_atomically

__all__ = ["check_new_file", "refused_to_write", "write_text"]


def check_new_file(what: str, out: Path, suffixes: Sequence[str], *, overwrite: bool) -> None:
    """Raise ConfigError for what could not be written after the work; `what` is the argument's name."""
    shown = shown_path(out)
    if out.suffix.lower() not in suffixes:
        raise ConfigError(
            f"{what} {shown} ends in {quoted(out.suffix)}, but must end in {' or '.join(suffixes)}"
        )
    if out.is_dir():
        raise ConfigError(f"{what} {shown} is a folder; give the name of a file in it")
    if out.exists() and not overwrite:
        raise ConfigError(f"{what} {shown} already exists; choose another name, or add --overwrite")
    if not out.parent.is_dir():
        raise ConfigError(
            f"{what} {shown} is in a folder that does not exist; make it, or choose another name"
        )


@contextmanager
def refused_to_write(what: str, out: Path) -> Iterator[None]:
    """An OSError within, in writing the file, is a ConfigError; `what` is the argument's name."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{shown_path(out)} cannot be written ({error.strerror}); choose another {what}"
        ) from None


def write_text(what: str, out: Path, content: str) -> None:
    """The file at once, or a ConfigError and no file; stderr tells it. `what` is the argument's name."""
    with refused_to_write(what, out):
        write_atomically(out, content.encode())
    print(f"written to {shown_path(out)}", file=sys.stderr)
