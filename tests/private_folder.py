"""A cache folder that its owner alone can use: what lies there is trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["private_folder"]


def private_folder(name: str, variable: str, error: type[Exception], because: str = "") -> Path:
    """The folder that `variable` names, else `gpu_mlp/NAME` in the user's cache; made where it is missing.

    Raises `error` where it cannot be made, or where somebody else could have put something there.
    """
    chosen = os.environ.get(variable)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen).absolute() if chosen else home / "gpu_mlp" / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as refused:
        raise error(
            f"{folder} cannot be made ({refused.strerror}); name another folder in {variable}"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise error(
            f"{folder} must be a folder that you alone can use (mode 700){because}; "
            f"repair it or name another in {variable}"
        )
    return folder
