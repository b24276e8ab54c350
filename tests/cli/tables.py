"""The tables that the tests of the command line train on: small, mixed, with gaps, and learnable."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gpu_mlp.data import load_demo

__all__ = ["digits_csv", "people", "write_csv", "write_parquet"]

COLUMNS = ("id", "age", "colour", "member", "buys", "spends")
Row = Sequence[object]


def people(rows: int = 120, seed: int = 0) -> list[Row]:
    """Ages of which some are missing, colours, members, whether they buy (yes, no) and what they spend.

    What they buy and spend follows from age and colour, but for a little noise; the id says nothing.
    """
    source = random.Random(seed)
    table: list[Row] = []
    for number in range(rows):
        age, colour = source.randint(18, 80), source.choice(("red", "green", "blue"))
        member = source.random() < 0.5
        buys = "yes" if (age > 45) == (colour != "red") else "no"
        spends = round(2.5 * age + (40 if colour == "blue" else 0) + source.gauss(0, 3), 2)
        shown_age = None if number % 11 == 5 else age
        table.append((f"p{number}", shown_age, colour, member, buys, spends))
    return table


def write_csv(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Path:
    """Missing values as empty fields, booleans as true and false."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([str(v).lower() if isinstance(v, bool) else v for v in row] for row in rows)
    return path


def write_parquet(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> Path:
    """The same table with Parquet's types."""
    pq.write_table(pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))), path)
    return path


def digits_csv(path: Path) -> Path:
    """The raw digits, all 1797 with their labels."""
    table, _, _ = load_demo("digits")
    rows = zip(*(table.columns[name].astype(int).tolist() for name in table.names), strict=True)
    return write_csv(path, rows, table.names)
