"""Where compiled kernels are kept: a folder that nobody else can write to, since what lies in it is run.

CuPy makes its own folder with whatever permissions the process gives, and does not sign what it puts there.
"""

from __future__ import annotations

import logging
import os
import stat
from functools import cache
from pathlib import Path

__all__ = ["cache_folder", "use_private_cache"]

logger = logging.getLogger("gpu_mlp")

# CuPy reads these whenever it compiles.
CUPY_FOLDER, CUPY_IN_MEMORY = "CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"


def cache_folder() -> Path:
    """`gpu_mlp/kernels` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gpu_mlp" / "kernels"


@cache
def use_private_cache() -> None:
    """Let CuPy keep compiled kernels in `cache_folder()`, or in memory, with a line in the log, where it is not safe.

    A folder or a cache in memory that the user chose by CuPy's own variables stays.
    """
    if os.environ.get(CUPY_FOLDER) or os.environ.get(CUPY_IN_MEMORY):
        return
    folder = cache_folder()
    reason = _reason_against(folder)
    if reason is None:
        os.environ[CUPY_FOLDER] = str(folder)
        return
    os.environ[CUPY_IN_MEMORY] = "1"
    logger.warning("compiled kernels are kept in memory and compiled again by the next process: %s", reason)


def _reason_against(folder: Path) -> str | None:
    """Why kernels must not be read from there; the folder is made where there is none."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        return f"the folder {folder} cannot be made ({error.strerror})"
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder but a link; remove it"
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return f"the folder {folder} belongs to another user; remove it, or set XDG_CACHE_HOME"
    if status.st_mode & 0o077:
        return f"the folder {folder} is open to other users (mode {status.st_mode & 0o777:03o}); chmod 700 it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written to"
    return None
