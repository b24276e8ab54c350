"""Where a table lies: a path of this machine, or a URL of one of Arrow's file systems (s3://, gs://, hdfs://, abfss://)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import IO, Any, TypeAlias, cast

from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import DataError

__all__ = ["Location", "RemoteFile", "located", "opened_by_arrow", "steps_between", "without_secrets"]

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
SECRETS = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file or folder of a file system, with what is asked of a `Path` here; its name is that of the URL.

    Attributes:
        url: as it was given, or as it would be for a file in a folder that was.
        place: within the file system.
        system: pyarrow's.
    """

    url: str
    place: str
    system: Any = field(compare=False)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(self.place).name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.place).suffix

    @property
    def parent(self) -> RemoteFile:
        """The folder that it is in."""
        return RemoteFile(self.url.rpartition("/")[0], str(PurePosixPath(self.place).parent), self.system)

    def __str__(self) -> str:
        return self.url

    def _info(self) -> Any:
        return self.system.get_file_info(self.place)

    def is_file(self) -> bool:
        """Whether it is there and a file."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Whether it is there and a folder."""
        return bool(self._info().type.name == "Directory")

    def exists(self) -> bool:
        """Whether it is there."""
        return bool(self._info().type.name != "NotFound")

    def stat(self) -> SimpleNamespace:
        """`st_size` alone."""
        return SimpleNamespace(st_size=self._info().size)

    def iterdir(self) -> Iterator[RemoteFile]:
        """What is in the folder."""
        return self._entries(recursive=False)

    def rglob(self, _: str) -> Iterator[RemoteFile]:
        """What is in the folder and those in it: all of it, whatever the pattern."""
        return self._entries(recursive=True)

    def _entries(self, *, recursive: bool) -> Iterator[RemoteFile]:
        from pyarrow import fs

        for info in self.system.get_file_info(fs.FileSelector(self.place, recursive=recursive)):
            inner = PurePosixPath(info.path).relative_to(self.place)
            yield RemoteFile(f"{self.url.rstrip('/')}/{inner}", info.path, self.system)

    def open(self, _: str = "rb") -> IO[bytes]:
        """Its bytes."""
        return cast(
            "IO[bytes]", io.BufferedReader(self.system.open_input_stream(self.place, compression=None))
        )


Location: TypeAlias = Path | RemoteFile


def located(source: str | Path) -> Location:
    """The place that a path or a URL names. Raises DataError for a URL of an unknown kind or that cannot be reached."""
    text, url = without_secrets(str(source)), str(source)
    if URL.match(url) is None:
        return Path(source)
    try:
        import pyarrow as pa
        from pyarrow import fs
    except ImportError:
        raise DataError(
            f"reading {shown_path(text)} needs pyarrow, which is not installed; "
            "install it with: pip install 'gpu_mlp[data]'"
        ) from None
    try:
        system, place = fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{shown_path(text)} cannot be reached ({first_line(error)}); give a path, or a URL of a file system that "
            "pyarrow knows, such as s3://bucket/table.parquet"
        ) from None
    return Path(place) if isinstance(system, fs.LocalFileSystem) else RemoteFile(text, place, system)


def without_secrets(url: str) -> str:
    """The URL without the user and the password that it may have before an @."""
    return SECRETS.sub("", url) if URL.match(url) else url


def steps_between(folder: Location, path: Location) -> tuple[str, ...]:
    """The names on the way from a folder to what is in it."""
    if isinstance(path, Path) and isinstance(folder, Path):
        return path.relative_to(folder).parts
    return PurePosixPath(str(path)).relative_to(str(folder)).parts


def opened_by_arrow(location: Location) -> Any:
    """A file with random access, for pyarrow's readers."""
    import pyarrow as pa

    if isinstance(location, RemoteFile):
        return location.system.open_input_file(location.place)
    return pa.OSFile(str(location))
