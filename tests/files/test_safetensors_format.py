"""The container, beside the safetensors library: each reads what the other writes, and every claim is checked."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load as library_load
from safetensors.numpy import save as library_save

from gpu_mlp.files import safetensors_format
from gpu_mlp.files.safetensors_format import LARGEST_HEADER, Container, FormatError, encode, parse_json, read

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
dtypes = st.sampled_from([np.float32, np.float64])


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, NDArray[Any]]:
    """Any shapes and both types, under any names."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    names = draw(st.lists(words.filter(lambda word: word != "__metadata__"), unique=True, max_size=4))
    return {name: rng.normal(size=draw(shapes)).astype(draw(dtypes)) for name in names}


def read_bytes(content: bytes) -> Container:
    """What is read from a file of this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        path.write_bytes(content)
        return read(path)


def same(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> bool:
    """Names, types, shapes and bits."""
    return found.keys() == expected.keys() and all(
        (found[name].dtype, found[name].shape, found[name].tobytes())
        == (tensor.dtype, tensor.shape, tensor.tobytes())
        for name, tensor in expected.items()
    )


@settings(max_examples=150, deadline=None)
@given(tensors(), st.dictionaries(words, words, max_size=3))
def test_the_library_reads_what_is_written_and_the_other_way_round(
    given_tensors: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    written = encode(given_tensors, metadata)
    assert same(library_load(written), given_tensors)
    ours = read_bytes(written)
    assert same(ours.tensors, given_tensors)
    assert (ours.metadata, ours.foreign) == (metadata, ())
    if given_tensors:  # of none, the library (0.8.0) writes a header that it does not read itself
        theirs = read_bytes(library_save(given_tensors, metadata=metadata))
        assert same(theirs.tensors, given_tensors)
        assert theirs.metadata == metadata


def test_arrays_in_any_memory_order_are_written_row_by_row() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for view in (array.T, array[::-1, ::2], np.asfortranarray(array), array.astype(">f4").astype("=f4")):
        assert same(library_load(encode({"a": view}, {})), {"a": np.ascontiguousarray(view)})


def test_what_is_read_cannot_be_written_to() -> None:
    tensor = read_bytes(encode({"a": np.ones(3, np.float32)}, {})).tensors["a"]
    with pytest.raises(ValueError, match="read-only"):
        tensor[0] = 2


def test_tensors_of_other_types_are_named_and_left_alone() -> None:
    found = read_bytes(
        library_save({"b": np.arange(3), "a": np.ones(2, np.float32), "c": np.ones(4, np.float16)})
    )
    assert sorted(found.foreign) == ["b", "c"]
    assert same(found.tensors, {"a": np.ones(2, np.float32)})


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, and perhaps a wrong length of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: Any = (1,), offsets: Any = (0, 4), dtype: Any = "F32") -> dict[str, Any]:
    """One tensor of the header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


FOUR, EIGHT = bytes(4), bytes(8)

# What it is, the file, the complaint, and whether the safetensors library (0.8.0) refuses it too.
BROKEN: list[tuple[str, bytes, str, bool]] = [
    ("a huge header", file_of({}, length=2**63), "is not a model file", True),
    ("a header beyond the limit", file_of({}, length=LARGEST_HEADER + 1), "is not a model file", True),
    ("a header beyond the file", file_of({}, length=3), "cut off: its header takes 3 bytes", True),
    ("no JSON", file_of(b"{'a': 1}"), "its header is not JSON", True),
    ("not UTF-8", file_of(b'{"\xff": 1}'), "its header is not JSON", True),
    ("deep nesting", file_of(b"[" * 10**5), "its header is not JSON", True),
    ("a list", file_of([]), "its header holds no tensors", True),
    ("metadata in a list", file_of({"__metadata__": ["a"]}), "its metadata are not strings", True),
    ("a number in the metadata", file_of({"__metadata__": {"a": 1}}), "its metadata are not strings", True),
    (
        "a tensor twice",
        file_of(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
        "a name occurs twice in its header",
        False,
    ),
    (
        "a key twice in the metadata",
        file_of(b'{"__metadata__":{"a":"1","a":"2"}}'),
        "a name occurs twice in its header",
        False,
    ),
    ("an entry that is none", file_of({"a": 1}), "the entry of tensor 'a' lacks", True),
    ("no type", file_of({"a": {"shape": [], "data_offsets": [0, 0]}}), "the entry of tensor 'a' lacks", True),
    ("one offset", file_of({"a": entry(offsets=[0])}, FOUR), "the entry of tensor 'a' lacks", True),
    ("three offsets", file_of({"a": entry(offsets=[0, 4, 4])}, FOUR), "the entry of tensor 'a' lacks", True),
    ("a type that is a number", file_of({"a": entry(dtype=4)}, FOUR), "holds what is no size", True),
    ("a negative axis", file_of({"a": entry([-1])}, FOUR), "holds what is no size", True),
    ("two negative axes", file_of({"a": entry([-1, -1])}, FOUR), "holds what is no size", True),
    ("an axis that is a float", file_of({"a": entry([1.0])}, FOUR), "holds what is no size", True),
    ("an axis that is true", file_of({"a": entry([True])}, FOUR), "holds what is no size", True),
    ("offsets that are true", file_of({"a": entry([0], [False, False])}), "holds what is no size", True),
    ("offsets in reverse", file_of({"a": entry(offsets=[4, 0])}, FOUR), "'a' lies outside", True),
    ("offsets beyond the file", file_of({"a": entry([2], [0, 8])}, FOUR), "'a' lies outside", True),
    ("too few bytes", file_of({"a": entry([2])}, FOUR), "'a' of shape [2] and type F32 has 4 bytes", True),
    ("too many bytes", file_of({"a": entry([1], [0, 8])}, EIGHT), "'a' of shape [1]", True),
    ("bytes of no tensor", file_of({"a": entry()}, EIGHT), "do not fill it without gaps", True),
    ("a gap before", file_of({"a": entry(offsets=[4, 8])}, EIGHT), "do not fill it without gaps", True),
    ("an overlap", file_of({"a": entry(), "b": entry()}, FOUR), "do not fill it without gaps", True),
    ("an axis too long", file_of({"a": entry([0, 2**70], [0, 0])}), "has a shape that no array can", True),
    ("axes too long", file_of({"a": entry([0, 2**40, 2**40], [0, 0])}), "a shape that no array can", True),
    ("too many axes", file_of({"a": entry([1] * 70)}, FOUR), "has a shape that no array can have", True),
    ("a shape of many axes", file_of({"a": entry([2] * 10**5)}, FOUR), "'a' of shape [2, 2,", True),
    ("an infinite number", file_of(b'{"a": 1e999}'), "its header is not JSON", True),
    ("NaN", file_of(b'{"a": NaN}'), "its header is not JSON", True),
]


@pytest.mark.parametrize(
    ("content", "part", "library"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_every_claim_of_the_header_is_checked(content: bytes, part: str, library: bool) -> None:
    with pytest.raises(FormatError) as caught:
        read_bytes(content)
    assert part in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    if library:
        with pytest.raises((safetensors.SafetensorError, ValueError)):
            library_load(content)


def test_the_smallest_files_are_read() -> None:
    """The negative control: nothing above is refused for how it is put together here."""
    assert read_bytes(file_of({})) == Container({}, {})
    assert same(read_bytes(file_of({"a": entry()}, FOUR)).tensors, {"a": np.zeros(1, np.float32)})
    assert same(
        read_bytes(file_of({"a": entry([0, 5], [0, 0])})).tensors, {"a": np.zeros((0, 5), np.float32)}
    )
    assert read_bytes(file_of(b'{"a":%b}  \n' % json.dumps(entry()).encode(), FOUR)).tensors["a"].size == 1


def test_a_description_longer_than_the_format_allows_is_refused_when_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(safetensors_format, "LARGEST_HEADER", 1000)
    assert len(encode({}, {"a": "x" * 900})) < 1008
    with pytest.raises(FormatError, match=r"its description takes 10\d\d bytes, more than the 1000"):
        encode({}, {"a": "x" * 1000})


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode({"a": np.ones(3, np.float32)}, {})
    path = tmp_path / "m"
    path.write_bytes(content)
    before = path.stat()
    path.write_bytes(content[:-4])
    monkeypatch.setattr(os, "fstat", lambda _: before)
    with pytest.raises(FormatError, match="changed while it was read"):
        read(path)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=8,
    )
)
def test_strict_json_reads_what_json_writes(value: Any) -> None:
    assert parse_json(json.dumps(value, allow_nan=False), "it") == value
