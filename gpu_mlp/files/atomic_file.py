"""Files that are whole or not there: written under another name, flushed to the disk, and renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gpu_mlp.data.messages import shown_path
from gpu_mlp.errors import WriteError

__all__ = ["atomic_file", "sweep", "temporary_path", "why_not_written", "write_atomically"]

TEMPORARY = ".tmp"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes) -> None:
    """No reader ever sees half a file, and what has been written survives a power cut. Raises OSError."""
    with atomic_file(path) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which is at `path` once it is whole; an error within leaves what was there. Raises OSError."""
    temporary = temporary_path(path)
    # Made with the permissions of any new file, which the umask then limits.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def temporary_path(path: Path) -> Path:
    """A name beside `path` that nobody else uses."""
    return path.parent / f".{path.name[:50]}.{secrets.token_hex(8)}{TEMPORARY}"


def sweep(folder: Path) -> None:
    """Remove what a process that was killed left half-written. Only for whoever alone may write to the folder."""
    for path in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError):
            path.unlink()


def why_not_written(path: Path, error: OSError, content: int, advice: str) -> WriteError:
    """The sentence for an error in writing so many bytes: which file, how much room it needs and there is."""
    reason = error.strerror or str(error)
    room = ""
    if error.errno in NO_ROOM:
        with suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            room = f": it needs {_size(content)}, and its disk has {_size(free)} free"
    elif error.errno == errno.EFBIG:
        room = f": it needs {_size(content)}, more than this process may write to a file{_file_limit()}"
    return WriteError(f"{shown_path(path)} cannot be written ({reason}){room}; {advice}")


def _flush_folder(folder: Path) -> None:
    """The new name too is on the disk. Not every system can open a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _file_limit() -> str:
    with suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        return f" ({_size(limit)})" if limit != resource.RLIM_INFINITY else ""
    return ""


def _size(count: int) -> str:
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000.0 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
