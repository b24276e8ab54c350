"""How names and values from a user's file are put in a one-line message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["column_hint", "first_line", "listed", "quoted", "shown", "shown_path"]

LONGEST = 60
MOST_LISTED = 10


def quoted(value: object) -> str:
    """`value` as Python would write it, control characters escaped, at most about 60 characters long."""
    if isinstance(value, str) and len(value) > LONGEST:
        value = value[: LONGEST - 3] + "..."
    text = repr(value)
    # A few dozen control characters escape to four or more each, so the result may need shortening again.
    return text if len(text) <= 2 * LONGEST else text[: 2 * LONGEST - 4] + "..." + text[-1]


def shown(text: object) -> str:
    """Text of a file or a column on one line, with control characters escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def shown_path(path: object) -> str:
    """A path as it was given; quoted where it holds characters that do not print."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def listed(values: Iterable[object]) -> str:
    """Quoted values joined by commas: the first ten, then how many more there are."""
    every = list(values)
    text = ", ".join(quoted(value) for value in every[:MOST_LISTED])
    return f"{text} and {len(every) - MOST_LISTED} more" if len(every) > MOST_LISTED else text


def column_hint(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown column: the nearest one, or the list of those there are."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1, cutoff=0.6)
    if nearest:
        return f"; did you mean {quoted(nearest[0])}?"
    return f"; choose one of {listed(names)}" if names else "; it has no columns"


def first_line(error: BaseException) -> str:
    """The first line of another library's message, short enough to stand inside a sentence."""
    lines = str(error).splitlines() or [type(error).__name__]
    text = "".join(letter if letter.isprintable() else " " for letter in lines[0]).strip().rstrip(".")
    return text if len(text) <= 2 * LONGEST else text[: 2 * LONGEST] + "..."
