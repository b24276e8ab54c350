"""A result: what was measured, as plain data with a schema, written and read.

Schema 1, JSON:

    schema      1
    created     ISO 8601, UTC
    finished    false where the run was interrupted: the rows are those measured before
    suite       its name
    method      rounds, seconds (of a block), harness_seconds (that measuring adds to one run)
    machine     processor, processors, threads, memory_bytes, system, python, versions, blas,
                settings (environment variables that decide on kernels, threads or compilation)
    ceilings    of the processor: products (precision -> size -> FLOP/s), copies (bytes -> bytes/s), call_seconds
    gpu_ceilings  the same of the GPU that gpu_mlp computes on, call_seconds in a captured graph; null without one
    rows        a list of
        key           problem/batch/precision/task
        problem       its name, and layer_sizes
        batch, precision, task ("step", "inference" or "fit")
        contestants   name -> seconds (of one run, in every round), median, noise (interquartile range over the median),
                      first_seconds (of the first run, with what is compiled in it), rows_per_second, measures (of one
                      run: cpu_seconds, resident_bytes, and where they are told cpu_energy_joules and a GPU's)
        ratios        name -> ratio (theirs over gpu_mlp's), low, high (95 %), verdict ("faster", "slower", "even")
        floor         compute, memory, calls (seconds by each limit), seconds (their largest), binds (which that is);
                      null where the precision has no ceiling
        gpu_floor     the same of the GPU
        skipped       name -> why it was not timed
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_mlp.data.messages import first_line, shown_path
from gpu_mlp.errors import DataError

__all__ = ["SCHEMA", "Result", "read_result"]

SCHEMA = 1


@dataclass
class Result:
    """All that a run of the benchmark measured."""

    suite: str
    method: dict[str, Any]
    machine: dict[str, Any]
    ceilings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    created: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    gpu_ceilings: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """As the schema describes it."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "finished": self.finished,
            "suite": self.suite,
            "method": self.method,
            "machine": self.machine,
            "ceilings": self.ceilings,
            "gpu_ceilings": self.gpu_ceilings,
            "rows": self.rows,
        }


def read_result(path: Path) -> Result:
    """Raises DataError for what is no result, or one of another schema."""
    shown = shown_path(path)
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            raise DataError(
                f"{shown} has schema {document['schema']!r}, but this gpu_mlp reads schema {SCHEMA}; measure again, or "
                "use the version of gpu_mlp that wrote it"
            )
        result = Result(
            document["suite"],
            document["method"],
            document["machine"],
            document["ceilings"],
            document["rows"],
            document["finished"],
            document["created"],
            document.get("gpu_ceilings"),
        )
        for row in result.rows:
            for contestant in row["contestants"].values():
                if not contestant["seconds"] or not all(
                    float(value) > 0.0 for value in contestant["seconds"]
                ):
                    raise ValueError("a time is not positive")
            str(row["key"])
    except OSError as error:
        raise DataError(f"{shown} cannot be read ({error.strerror}); check the path") from None
    except DataError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{shown} is no result of gpu-mlp bench ({first_line(error)}); give a file that --out wrote"
        ) from None
    return result
