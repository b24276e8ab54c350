"""Thousands of damaged and crafted model files: each is refused with one sentence, or is the model that was saved."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpu_mlp
from gpu_mlp.files import sealed_file
from gpu_mlp.files.model_file import encode_model
from tests.files.models import table_model
from tests.files.test_model_file_damage import attempt

MODEL = table_model(["a", "b", "ß", "b"] * 3, "softmax_cross_entropy", hidden=(3,))[0]
WHOLE = encode_model(MODEL, Path("m"))
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")
HUGE = (2**31, 2**53, 2**63 - 1, 2**64 - 1, 10**18, 10**400)
MOST_SECONDS, MOST_BYTES = 1.0, 100e6


def flipped(rng: random.Random) -> bytes:
    """Some bytes changed, anywhere or close together."""
    content, start = bytearray(WHOLE), rng.randrange(len(WHOLE))
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        place = rng.choice((rng.randrange(len(WHOLE)), min(start + rng.randrange(16), len(WHOLE) - 1)))
        content[place] ^= rng.randrange(1, 256)
    return bytes(content)


def cut(rng: random.Random) -> bytes:
    """Truncated, cut out of the middle, doubled, or with more at its end."""
    a, b = sorted(rng.randrange(len(WHOLE) + 1) for _ in range(2))
    return rng.choice(
        (WHOLE[:a], WHOLE[:a] + WHOLE[b:], WHOLE[:b] + WHOLE[a:], WHOLE + rng.randbytes(rng.randrange(1, 40)))
    )


def longer_or_shorter(rng: random.Random) -> bytes:
    """Another length of the header."""
    length = rng.choice(
        (*HUGE[:4], *(rng.randrange(3 * len(WHOLE)) for _ in range(4)), 0, 999_999, 1_000_001)
    )
    return struct.pack("<Q", length) + WHOLE[8:]


def edited(rng: random.Random) -> bytes:
    """The header as JSON with a value, a name or a number of it changed."""
    header = json.loads(WHOLE[8:HEADER])
    for _ in range(rng.choice((1, 1, 2))):
        _edit(rng, header)
    return _with_header(json.dumps(header))


def _edit(rng: random.Random, header: Any) -> None:
    place = header
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place))) if place else None
        if key is None:
            return
        if isinstance(place[key], dict | list) and rng.random() < 0.8:
            place = place[key]
            continue
        what = rng.randrange(4)
        if what == 0 and isinstance(place, dict):
            place[f"{key}x"] = place.pop(key)
        elif what == 1:
            del place[key]
        else:
            place[key] = rng.choice((*HUGE, -1, 0, 1.5, None, True, "", "F64", "I8", [], {}, [[]], "0" * 70))
        return


def doubled(rng: random.Random) -> bytes:
    """A name twice in the header or in its metadata."""
    header = json.loads(WHOLE[8:HEADER])
    outer = rng.random() < 0.5
    part = header if outer else header["__metadata__"]
    key = rng.choice(list(part))
    text = json.dumps(header)
    entry = f"{json.dumps(key)}: {json.dumps(rng.choice((part[key], rng.choice(list(part.values())))))}, "
    at = 1 if outer else text.index("{", text.index("__metadata__")) + 1
    return _with_header(text[:at] + entry + text[at:])


def nested(rng: random.Random) -> bytes:
    """Deeper than a parser may go, or a very long number."""
    return _with_header(
        rng.choice(("[" * 50_000, '{"a":' * 20_000, "9" * 20_000, '{"a": ' + "9" * 5000 + "}"))
    )


def _with_header(text: str) -> bytes:
    header = text.encode()
    return struct.pack("<Q", len(header)) + header + WHOLE[HEADER:]


KINDS: tuple[tuple[Callable[[random.Random], bytes], float], ...] = (
    (flipped, 0.4),
    (cut, 0.2),
    (longer_or_shorter, 0.05),
    (edited, 0.25),
    (doubled, 0.095),
    (nested, 0.005),
)


def mutants_read(count: int, seed: int, folder: Path) -> dict[str, int]:
    """What became of so many mutants: refused, whole, and other models, which must not be."""
    rng, found = random.Random(seed), {"refused": 0, "whole": 0, "other": 0}
    makers, weights = zip(*KINDS, strict=True)
    for number in range(count):
        content = rng.choices(makers, weights)[0](rng)
        watched = number % 20 == 0  # tracing makes it slow
        if watched:
            tracemalloc.start()
        started = time.process_time()
        result = attempt(content, folder)
        seconds = time.process_time() - started
        if watched:
            assert tracemalloc.get_traced_memory()[1] < len(content) + MOST_BYTES
            tracemalloc.stop()
        assert seconds < MOST_SECONDS, (number, seconds)
        if isinstance(result, str):
            found["refused"] += 1
        else:
            found["whole" if encode_model(result, folder) == WHOLE else "other"] += 1
    return found


def check(found: dict[str, int], count: int) -> None:
    assert found["other"] == 0
    assert found["refused"] > 0.9 * count
    assert found["whole"] > 0  # as with another space in the header


def test_1_500_mutants_are_refused_or_whole(tmp_path: Path) -> None:
    check(mutants_read(1500, 0, tmp_path), 1500)


@pytest.mark.soak
def test_20_000_mutants_are_refused_or_whole(tmp_path: Path) -> None:
    check(mutants_read(20_000, 1, tmp_path), 20_000)


def test_without_the_checksum_some_would_be_other_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the same mutants, read by a reader that believes every file."""
    monkeypatch.setattr(sealed_file, "checksum", lambda _, metadata: metadata.get("sha256"))
    assert mutants_read(300, 0, tmp_path)["other"] > 0


def test_the_file_itself_is_whole(tmp_path: Path) -> None:
    result = attempt(WHOLE, tmp_path)
    assert isinstance(result, gpu_mlp.Model)
    assert encode_model(result, tmp_path) == WHOLE
