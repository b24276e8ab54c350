"""A safetensors file with one JSON document in its metadata, and the SHA-256 of all of it.

The metadata are `format`, `format_version`, the document under a name of its own, and `sha256`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_mlp.files.safetensors_format import Container, FormatError, encode, parse_json, read

__all__ = ["Kind", "Tensors", "seal", "unseal"]

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """What a file is: its format and version, the name of its document, and what messages call and advise.

    given: what should have been given instead of another program's file. again: how a file like it is made again.
    """

    format: str
    version: int
    document: str
    given: str
    again: str


def seal(kind: Kind, tensors: Tensors, document: Any) -> bytes:
    """The bytes of a file. Raises FormatError where the header grows too long, TypeError or ValueError for a document
    that is not plain data.
    """
    text = json.dumps(document, allow_nan=False)
    metadata = {"format": kind.format, "format_version": str(kind.version), kind.document: text}
    metadata["sha256"] = checksum(tensors, metadata)
    return encode(tensors, metadata)


def unseal(kind: Kind, path: Path) -> tuple[Any, Tensors]:
    """The document and the tensors of a file whose every claim was checked.

    In this order: size, length of the header, duplicate names, format and version, checksum; whoever reads it checks
    names, shapes and types against what they should be. Raises FormatError for what is wrong, OSError for what cannot
    be read.
    """
    container = read(path)
    _check_origin(kind, container)
    return parse_json(container.metadata[kind.document], f"its {kind.document}"), container.tensors


def checksum(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata, the tensors' names, types and shapes, and then their bytes, by name."""
    ordered = sorted(tensors.items())
    claims = [[name, tensor.dtype.str, list(tensor.shape)] for name, tensor in ordered]
    strings = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps([strings, claims], sort_keys=True).encode("ascii"))
    for _, tensor in ordered:
        digest.update(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _check_origin(kind: Kind, container: Container) -> None:
    """Refuse a file of another program, of a later version of this one, and one whose content has changed."""
    metadata = container.metadata
    if metadata.get("format") != kind.format:
        raise FormatError(f"is a safetensors file that gpu_mlp did not write; give {kind.given}")
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit()) or len(version) > 9 or int(version) < 1:
        raise FormatError(f"is damaged: it has no format version; copy it again, or {kind.again}")
    if int(version) > kind.version:
        raise FormatError(
            f"has format version {version}, but this gpu_mlp reads up to {kind.version}; upgrade gpu_mlp"
        )
    if metadata.get("sha256") != checksum(container.tensors, metadata) or container.foreign:
        raise FormatError("is damaged: its checksum does not match its content; copy it again")
    if kind.document not in metadata:
        raise FormatError(f"is damaged: it has no {kind.document}; {kind.again}")
