"""A table of people to fit: numbers with gaps, text, booleans and dates, and a target of every kind."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

TARGETS = ("grade", "member", "level", "income", "visits")


def people(rows: int = 120, seed: int = 0) -> dict[str, Any]:
    """Features age, height, city, married and born; the targets depend on the first two."""
    rng = np.random.default_rng(seed)
    age, height = rng.normal(40, 12, rows), rng.normal(170, 9, rows)
    score = (age - 40) / 12 + (height - 170) / 18 + rng.normal(0, 0.2, rows)
    return {
        "age": [None if i % 17 == 5 else float(value) for i, value in enumerate(age)],
        "height": height,
        "city": [None if i % 13 == 7 else str(c) for i, c in enumerate(rng.choice(["Bern", "Köln"], rows))],
        "married": rng.random(rows) < 0.5,
        "born": [date(1980, 1, 1) + timedelta(days=int(day)) for day in rng.integers(0, 9000, rows)],
        "grade": np.array(["low", "middle", "high"])[np.digitize(score, [-0.5, 0.5])].tolist(),
        "member": score > 0,
        "level": np.digitize(score, [-1, 0, 1]),
        "income": 3e4 + 1e4 * score,
        "visits": rng.poisson(np.exp(1 + 0.5 * score)),
    }


def features_and(target: str, rows: int = 120, seed: int = 0) -> dict[str, Any]:
    """The features with one of the targets."""
    return {name: v for name, v in people(rows, seed).items() if name == target or name not in TARGETS}
