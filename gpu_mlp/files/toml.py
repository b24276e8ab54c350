"""A TOML writer for what a run's settings are: strings, numbers, truth values and lists of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["TomlValue", "dump_toml"]

TomlValue = str | bool | int | float | Sequence[str] | Sequence[int]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def dump_toml(values: Mapping[str, TomlValue], comment: str = "") -> str:
    """One `key = value` a line that `tomllib` reads back equal, after the lines of a comment.

    Only a lone surrogate, which no UTF-8 text can hold, becomes U+FFFD.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _value(value: TomlValue) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))  # NumPy's float64 is one, and spells itself otherwise
    if isinstance(value, int):
        return repr(value)
    return f"[{', '.join(_value(item) for item in value)}]"


def _string(text: str) -> str:
    return '"' + "".join(ESCAPES.get(letter) or _escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if 0xD800 <= ord(letter) <= 0xDFFF:  # half a character, as of a file name that is not UTF-8: not in TOML
        return "\ufffd"
    if ord(letter) >= 32 and ord(letter) != 127:
        return letter
    return f"\\u{ord(letter):04x}"
