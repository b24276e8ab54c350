"""What `load` refuses: files that are damaged, foreign, newer, or describe a model that cannot be."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import gpu_mlp
from gpu_mlp.errors import ModelFileError
from gpu_mlp.files import sealed_file
from gpu_mlp.files.model_file import encode_model
from gpu_mlp.files.safetensors_format import encode
from tests.data.refusals import refused
from tests.files.models import parameter_bits, table_model

MODEL = table_model(["a", "b", "ß", "b"] * 3, "softmax_cross_entropy", hidden=(3,))[0]
WHOLE = encode_model(MODEL, Path("m"))
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")  # where the tensors begin


def load_bytes(content: bytes, folder: Path) -> gpu_mlp.Model:
    """The model of a file with this content."""
    path = folder / "m.safetensors"
    path.write_bytes(content)
    return gpu_mlp.load(path, "cpu")


def attempt(content: bytes, folder: Path) -> gpu_mlp.Model | str:
    """The model, or the sentence with which the file is refused; no other exception."""
    try:
        return load_bytes(content, folder)
    except ModelFileError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    assert message.startswith(str(folder / "m.safetensors"))
    assert len(message) < 400 + len(str(folder)), message
    return message


def refusal(content: bytes, folder: Path) -> str:
    """The sentence with which the file is refused."""
    result = attempt(content, folder)
    assert isinstance(result, str), "it was not refused"
    return result


def flips(count: int) -> Iterator[tuple[int, bytes]]:
    """The whole file with one byte changed, at `count` places and at the end of every part of it."""
    rng = random.Random(0)
    places = sorted({0, 1, 7, 8, HEADER - 1, HEADER, len(WHOLE) - 1, *rng.sample(range(len(WHOLE)), count)})
    for place in places:
        for mask in (1 << rng.randrange(8), rng.randrange(1, 256)):
            yield place, WHOLE[:place] + bytes([WHOLE[place] ^ mask]) + WHOLE[place + 1 :]


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Nothing but the spaces that pad the header may become what loads to the same model."""
    refusals = 0
    for place, content in flips(500):
        result = attempt(content, tmp_path)
        refusals += isinstance(result, str)
        if not isinstance(result, str):
            assert encode_model(result, tmp_path) == WHOLE, place
            assert place < HEADER, "a changed weight was read as if nothing had happened"
    assert refusals > 950


def test_without_the_checksum_a_changed_weight_is_read_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above."""
    content = bytearray(WHOLE)
    content[-3] ^= 0x40
    assert "its checksum does not match its content; copy it again" in refusal(bytes(content), tmp_path)
    kept = json.loads(WHOLE[8:HEADER])["__metadata__"]["sha256"]
    monkeypatch.setattr(sealed_file, "checksum", lambda *_: kept)
    again = load_bytes(bytes(content), tmp_path)
    assert parameter_bits(again) != parameter_bits(MODEL)


@pytest.mark.parametrize("key", ["model", "sha256", "format", "format_version"])
def test_every_string_of_the_metadata_counts(key: str, tmp_path: Path) -> None:
    header = json.loads(WHOLE[8:HEADER])
    del header["__metadata__"][key]
    refusal(with_header(header), tmp_path)
    header = json.loads(WHOLE[8:HEADER])
    header["__metadata__"][key] += " "
    refusal(with_header(header), tmp_path)
    header = json.loads(WHOLE[8:HEADER])
    header["__metadata__"]["extra"] = "x"
    assert "checksum" in refusal(with_header(header), tmp_path)


def with_header(header: Any, data: bytes = WHOLE[HEADER:]) -> bytes:
    """A file of this header before the tensors' bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_a_file_that_is_cut_off_or_too_long_is_refused_wherever(tmp_path: Path) -> None:
    for size in [*range(40), HEADER - 1, HEADER, HEADER + 1, len(WHOLE) - 1, *range(40, len(WHOLE), 97)]:
        refusal(WHOLE[:size], tmp_path)
    for more in (b"\0", b"{}", WHOLE):
        refusal(WHOLE + more, tmp_path)
    assert load_bytes(WHOLE, tmp_path).classes == MODEL.classes


def test_what_is_no_file_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "short").write_bytes(b"1234567")
    for name, part in [
        ("none", "none does not exist; check the path"),
        ("folder/none", "none does not exist; check the path"),
        ("link", "link does not exist; check the path"),
        ("folder", "folder is a folder; give the path of the model.safetensors in it"),
        ("empty", "empty is too short for a model file (0 bytes)"),
        ("short", "short is too short for a model file (7 bytes)"),
        (os.devnull, "is not a regular file; give the path of a model file"),
        ("empty/m", "m cannot be read ("),
        ("a\0b", "cannot be read (embedded null byte)"),
    ]:
        with refused(part, error=ModelFileError):
            gpu_mlp.load(tmp_path / name)


def test_a_name_of_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    with refused(r"a\nb' does not exist", error=ModelFileError):
        gpu_mlp.load(tmp_path / "a\nb")


def test_a_file_of_another_program_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    weights = {"0.weight": np.ones((2, 3), np.float32)}
    for metadata in (None, {"format": "pt"}, {"format": "gpu_mlp2"}):
        save_file(weights, tmp_path / "foreign.safetensors", metadata=metadata)
        with refused("a safetensors file that gpu_mlp did not write", error=ModelFileError):
            gpu_mlp.load(tmp_path / "foreign.safetensors")
    assert "is not a model file" in refusal(b"PK\x03\x04" + bytes(range(200)), tmp_path)  # torch.save's zip
    assert "is not a model file" in refusal(b"a,b,c\n1,2,3\n" * 9, tmp_path)
    assert "damaged or not a model file" in refusal(with_header(b"not JSON"), tmp_path)


def crafted(change: Callable[[dict[str, str], dict[str, Any], dict[str, Any]], None]) -> bytes:
    """The model's file after `change(metadata, document, tensors)`, with a checksum that fits."""
    net = MODEL.network
    tensors: dict[str, Any] = {}
    for k, (omega, beta) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors |= {f"{2 * k}.weight": np.array(omega), f"{2 * k}.bias": np.array(beta)}
    header = json.loads(WHOLE[8:HEADER])
    metadata = {key: value for key, value in header["__metadata__"].items() if key != "sha256"}
    document = json.loads(metadata["model"])
    change(metadata, document, tensors)
    if "model" in metadata and metadata["model"] == header["__metadata__"]["model"]:
        metadata["model"] = json.dumps(document)
    metadata["sha256"] = sealed_file.checksum(tensors, metadata)
    return encode(tensors, metadata)


def test_a_crafted_file_without_a_change_loads(tmp_path: Path) -> None:
    """So that what follows is refused for its change alone."""
    assert encode_model(load_bytes(crafted(lambda *_: None), tmp_path), tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("version", "part"),
    [
        ("2", "has format version 2, but this gpu_mlp reads up to 1; upgrade gpu_mlp"),
        ("999999999", "has format version 999999999"),
        ("0", "has no format version"),
        ("-1", "has no format version"),
        ("1.0", "has no format version"),
        ("²", "has no format version"),
        ("", "has no format version"),
        ("9" * 5000, "has no format version"),
    ],
)
def test_another_version_is_refused(version: str, part: str, tmp_path: Path) -> None:
    assert part in refusal(crafted(lambda metadata, *_: metadata.update(format_version=version)), tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor", "part"),
    [
        ("0.weight", None, "tensor 0.weight is missing or has no layer"),
        ("2.bias", None, "tensor 2.bias is missing or has no layer"),
        ("4.weight", np.ones((1, 3)), "tensor 4.weight is missing or has no layer"),
        ("note", np.ones(0), "tensor note is missing or has no layer"),
        ("0.bias", np.ones(2, np.float32), "tensor 0.bias is float32 (2,), but its layer is float32 (3,)"),
        ("0.bias", np.ones((3, 1), np.float32), "tensor 0.bias is float32 (3, 1)"),
        ("0.bias", np.ones(3, np.float64), "tensor 0.bias is float64 (3,)"),
        ("2.weight", np.ones((3, 4), np.float32), "tensor 2.weight is float32 (3, 4)"),
    ],
)
def test_tensors_that_do_not_fit_the_architecture_are_refused(
    name: str, tensor: Any, part: str, tmp_path: Path
) -> None:
    def change(_: Any, __: Any, tensors: dict[str, Any]) -> None:
        tensors.pop(name, None)
        if tensor is not None:
            tensors[name] = tensor

    message = refusal(crafted(change), tmp_path)
    assert "describes a model that cannot be (" in message
    assert part in message


def test_a_tensor_of_a_type_that_is_never_written_is_refused(tmp_path: Path) -> None:
    header = json.loads(WHOLE[8:HEADER])
    header["extra"] = {"dtype": "I64", "shape": [1], "data_offsets": [len(WHOLE) - HEADER] * 2}
    header["extra"]["data_offsets"][1] += 8
    assert "checksum" in refusal(with_header(header, WHOLE[HEADER:] + bytes(8)), tmp_path)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything in a JSON document."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from leaves(inner, (*path, key))


DOCUMENT = json.loads(json.loads(WHOLE[8:HEADER])["__metadata__"]["model"])
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**400, 1e308, "x", "", [], [[]], {}, {"a": 1}, "délai" * 50)


def test_an_odd_value_anywhere_in_the_description_is_refused_or_read(tmp_path: Path) -> None:
    """No other exception than ModelFileError, whatever the document holds."""
    refusals = 0
    for path in leaves(DOCUMENT):
        for odd in ODD if path[:1] != ("metadata",) else ():
            document: Any = {"": json.loads(json.dumps(DOCUMENT))}
            holder = document
            *outer, last = ("", *path)
            for key in outer:
                holder = holder[key]
            holder[last] = odd
            refusals += isinstance(attempt(described(json.dumps(document[""])), tmp_path), str)
    assert refusals > 300


def described(text: str) -> bytes:
    """The model's file with another description."""
    return crafted(lambda metadata, *_: metadata.update(model=text))


@pytest.mark.parametrize(
    "text",
    ["NaN", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": 1, "a": 1}', "[" * 100_000, "", "{"],
)
def test_a_description_that_is_not_strict_json_is_refused(text: str, tmp_path: Path) -> None:
    message = refusal(described(text), tmp_path)
    assert "is damaged" in message
