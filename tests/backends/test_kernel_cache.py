"""Where compiled kernels may be kept, and what makes a folder unfit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_mlp.backends.kernel_cache import CUPY_FOLDER, CUPY_IN_MEMORY, cache_folder, use_private_cache


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of one's own, and neither of CuPy's variables."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in (CUPY_FOLDER, CUPY_IN_MEMORY):
        monkeypatch.setenv(variable, "")  # so that it is put back
    return tmp_path


def use() -> tuple[str | None, str | None]:
    use_private_cache.cache_clear()
    use_private_cache()
    return os.environ.get(CUPY_FOLDER), os.environ.get(CUPY_IN_MEMORY)


def test_a_folder_that_only_its_owner_sees_is_made(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):  # and taken again by the next process
        assert use() == (str(home / "gpu_mlp" / "kernels"), "")
        assert cache_folder().stat().st_mode & 0o777 == 0o700
        os.environ[CUPY_FOLDER] = ""
    assert not caplog.messages


def test_without_xdg_it_lies_in_the_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert cache_folder() == home / ".cache" / "gpu_mlp" / "kernels"


@pytest.mark.parametrize("variable", [CUPY_FOLDER, CUPY_IN_MEMORY])
def test_what_the_user_chose_stays(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    before = os.environ.get(CUPY_FOLDER), os.environ.get(CUPY_IN_MEMORY)
    assert use() == before
    assert not (home / "gpu_mlp").exists()


def open_to_others(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)


def a_link(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    target = folder.parent / "elsewhere"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)


def a_file_in_the_way(folder: Path) -> None:
    folder.parent.write_text("")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (open_to_others, "is open to other users (mode 755); chmod 700 it"),
        (a_link, "is not a folder but a link"),
        (a_file_in_the_way, "cannot be made"),
    ],
)
def test_an_unsafe_folder_is_refused_for_memory(
    home: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], None], reason: str
) -> None:
    make(cache_folder())
    with caplog.at_level(logging.WARNING, "gpu_mlp"):
        assert use() == ("", "1")
    (message,) = caplog.messages
    assert message.startswith("compiled kernels are kept in memory and compiled again by the next process: ")
    assert reason in message


def test_a_folder_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use()
    os.environ[CUPY_FOLDER] = ""
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert use() == ("", "1")


def test_a_folder_that_cannot_be_written_to_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert use() == ("", "1")
