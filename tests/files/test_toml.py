"""`dump_toml`: Python's own reader gives back what was written, whatever is in the strings."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpu_mlp.files.toml import dump_toml

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**63), 2**64 - 1)  # a seed may have all 64 bits
floats = st.floats(allow_nan=False)
settings_of_a_run = st.dictionaries(
    words, words | st.booleans() | integers | floats | st.lists(words) | st.lists(integers), max_size=8
)


def with_types(values: dict[str, Any]) -> list[Any]:
    """1, 1.0 and True are equal; with their types, and -0.0 by its spelling, they are not."""
    return [(key, type(value), repr(value)) for key, value in values.items()]


@settings(max_examples=500, deadline=None)
@given(settings_of_a_run, st.text(st.sampled_from("ab #\n'\""), max_size=30))
@example({"a\"b\\c\n\r\t\x00\x1f\x7f'''": '\r\n\\u0041\x85\u2028"""#=[]\x08\x0c\ufeff🐍'}, "")
@example({"": "", "a.b": 1, "a b": 2, "ä": 3, "-": 4, "1": 5}, "two\nlines\n\n")
@example({"f": 1e22, "g": 5e-324, "h": -0.0, "i": 1e-5, "j": 1.7976931348623157e308}, "")
@example({"inf": float("inf"), "minus": float("-inf"), "true": True, "none": []}, "")
def test_the_settings_come_back_equal_and_of_their_types(values: dict[str, Any], comment: str) -> None:
    text = dump_toml(values, comment)
    assert with_types(tomllib.loads(text)) == with_types(values)
    assert tomllib.loads(text.encode("utf-8").decode("utf-8")) == values
    assert text.endswith("\n")
    assert text.count("\n") == max(len(values) + len(comment.splitlines()), 1)  # one line each


def test_nan_comes_back_as_nan() -> None:
    assert np.isnan(tomllib.loads(dump_toml({"a": float("nan")}))["a"])


def test_numpys_floats_are_written_as_numbers() -> None:
    """float64 is a Python float, whose own spelling is np.float64(0.1)."""
    assert tomllib.loads(dump_toml({"rate": np.float64(0.1)})) == {"rate": 0.1}


def test_half_a_character_is_replaced_where_the_whole_file_would_be_lost() -> None:
    """A file name that is not UTF-8 reaches Python with lone surrogates, which no UTF-8 file can hold."""
    text = dump_toml({"table": "caf\udce9.csv", "\ud800": 1})
    assert tomllib.loads(text.encode("utf-8").decode("utf-8")) == {"table": "caf\ufffd.csv", "\ufffd": 1}


@pytest.mark.parametrize("key", ["learning-rate", "A_1", "0"])
def test_plain_keys_are_bare(key: str) -> None:
    assert dump_toml({key: "x"}) == f'{key} = "x"\n'


def test_comments_stand_before_the_values() -> None:
    assert dump_toml({"a": 1}, "first\n\nsecond") == "# first\n#\n# second\na = 1\n"
