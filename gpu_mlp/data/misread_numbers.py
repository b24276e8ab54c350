"""Columns of numbers that a few values turn into text: told from columns that are text on purpose.

A table's type is a column's: one 'n.a.' among numbers makes all of them text, and the column categories.
"""

from __future__ import annotations

import re
from collections import Counter

from gpu_mlp.data.messages import quoted
from gpu_mlp.data.table import Table
from gpu_mlp.data.values import parse_number

__all__ = ["NEARLY_ALL", "complaint_of_misread", "misread_row", "plain_numbers"]

# A column is one of numbers where at least NEARLY_ALL of its values or of its different values are, and more than
# MOST of the different ones: not '0' in most rows and a few names in the others.
NEARLY_ALL = 0.9
MOST = 0.5

# 1,000 and 1 000.5, 1.000,5, and 0,5.
SEPARATED = re.compile(r"[+-]?(\d{1,3}([, '\u00a0\u202f]\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+|\d*,\d+)")


def misread_row(table: Table, name: str) -> int | None:
    """The first row whose value makes a column of numbers text; None where the column is no such one.

    Text that is a number in every row was given as text on purpose.
    """
    if table.kinds[name] != "text":
        return None
    values = table.columns[name]
    plain = plain_numbers(Counter(value for value in values if value is not None))
    if plain is None:
        return None
    return next(row for row, value in enumerate(values) if value is not None and value not in plain)


def plain_numbers(counts: Counter[str]) -> set[str] | None:
    """Of the values of a text column, with how often each occurs, those that are numbers; None where it is text."""
    plain = {text for text in counts if parse_number(text) is not None}
    numbers = plain | {text for text in counts if SEPARATED.fullmatch(text.strip())}
    if len(plain) == len(counts):
        return None
    of_all = sum(counts[text] for text in numbers) / counts.total()
    of_different = len(numbers) / len(counts)
    if of_different <= MOST or max(of_all, of_different) < NEARLY_ALL:
        return None
    return plain


def complaint_of_misread(value: str) -> str:
    """What is wrong with that value, and how it is corrected."""
    if SEPARATED.fullmatch(value.strip()):
        return (
            f"holds {quoted(value)} in a column of numbers, which makes all of them text; write them without "
            "separators and with a decimal point"
        )
    return (
        f"holds {quoted(value)} in a column of numbers, which makes all of them text; "
        "correct it or leave it empty"
    )
