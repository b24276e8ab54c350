"""Reading on the CPU: a large CSV against pyarrow alone, and a folder of Parquet files larger than the memory it gets.

    python bench/bench_reading.py                  # generates 1 GB and 4 GB in a temporary folder; table on stdout
    python bench/bench_reading.py --out FILE.json  # and the figures with machine, versions and commit

CSV: `read_table` reads the whole file as `pyarrow.csv.read_csv` does, in alternating rounds. A ratio is the median of
pyarrow's seconds over ours with a 95 % bootstrap interval; below 1 ours takes longer, by what makes columns of Arrow's.

Parquet: one epoch of `fit_table(..., memory=...)` in a process of its own, whose largest resident set is told; and one
of `train` on the same rows in the same order, which are in memory, in another. Both must come to the same parameters.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

import gpu_mlp
from gpu_mlp.data import open_source, read_table
from gpu_mlp.fitting import plan_fit
from gpu_mlp.learning.source_epochs import source_order

sys.path.insert(0, str(Path(__file__).parent))
from contest import interval
from stamp import stamp

ROWS_AT_ONCE = 200_000
FEATURES = 40
FILES = 16
MEMORY = "512MB"
CONFIG = gpu_mlp.TrainingConfig(epochs=1, batch_size=512)
CSV_FLOOR, RATE_FLOOR, LARGEST_RESIDENT = 0.5, 0.7, 800e6


def people(rng: np.random.Generator) -> pa.Table:
    """Twelve decimals, four whole numbers, and three texts of a few different values."""
    rows = ROWS_AT_ONCE
    columns: dict[str, Any] = {f"x{i}": np.round(rng.normal(size=rows), 4) for i in range(12)}
    columns |= {f"k{i}": rng.integers(0, 1000, rows) for i in range(4)}
    columns["city"] = rng.choice(["Berlin", "Paris", "Rome", "Oslo", "Madrid"], rows)
    columns["colour"] = rng.choice(["red", "green", "blue"], rows)
    columns["member"] = rng.choice(["yes", "no"], rows)
    return pa.table(columns)


def write_csv(path: Path, size: int) -> None:
    """A file of at least so many bytes."""
    rng = np.random.default_rng(0)
    with csv.CSVWriter(path, people(rng).schema) as writer:
        while path.stat().st_size < size:
            writer.write(people(rng))


def write_parquet(folder: Path, size: int) -> None:
    """Files of float32 features x0, x1, ... and a target y that follows from them, of so many bytes together."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=FEATURES).astype(np.float32)
    for number in range(FILES):
        path = folder / f"part-{number:02d}.parquet"
        writer = None
        while writer is None or path.stat().st_size < size / FILES:
            x = rng.normal(size=(ROWS_AT_ONCE, FEATURES)).astype(np.float32)
            y = np.tanh(x @ weights) + 0.1 * rng.normal(size=ROWS_AT_ONCE).astype(np.float32)
            table = pa.table({**{f"x{i}": x[:, i] for i in range(FEATURES)}, "y": y})
            writer = parquet.ParquetWriter(path, table.schema) if writer is None else writer
            writer.write_table(table)
        writer.close()


def seconds_of(read: Callable[[], object]) -> float:
    """One reading of the whole file."""
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def measure_csv(size: int, rounds: int) -> dict[str, Any]:
    """`read_table`, and the pass over its batches, against pyarrow.csv."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        write_csv(path, size)
        contestants: dict[str, Callable[[], object]] = {
            "pyarrow.csv": lambda: csv.read_csv(path),
            "read_table": lambda: read_table(path),
            "batches": lambda: sum(batch.rows for batch in open_source(path).batches()),
        }
        times = {name: np.zeros(rounds) for name in contestants}
        for at in range(rounds):
            for name, read in contestants.items():
                times[name][at] = seconds_of(read)
        bytes_read = path.stat().st_size
    result: dict[str, Any] = {"bytes": bytes_read, "rounds": rounds, "floor": CSV_FLOOR}
    for name, seconds in times.items():
        ratios = times["pyarrow.csv"] / seconds
        result[name] = {
            "seconds": float(np.median(seconds)),
            "ratio": float(np.median(ratios)),
            "interval": interval(ratios),
        }
    return result


def parameters_of(network: gpu_mlp.Network) -> str:
    """A digest of every bit."""
    return hashlib.sha256(np.ascontiguousarray(network.parameters.flat).data).hexdigest()


def peak_resident() -> int:
    """Bytes, of this process alone: what `getrusage` tells counts the process that started it as well, on Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def streamed(folder: Path) -> dict[str, Any]:
    """One epoch within the budget."""
    started = time.perf_counter()
    result = gpu_mlp.fit_table(folder, "y", memory=MEMORY, config=CONFIG, device="cpu")
    return {
        "seconds": time.perf_counter() - started,
        "rows": result.history.epochs[0].rows_per_second * result.history.epochs[0].seconds,
        "rows_per_second": result.history.epochs[0].rows_per_second,
        "parameters": parameters_of(result.model.network),
    }


def in_memory(folder: Path) -> dict[str, Any]:
    """One epoch on the same rows, laid out in the order in which the other trains on them."""
    plan = plan_fit(folder, "y", memory=MEMORY, config=CONFIG, device="cpu")
    assert plan.source is not None
    assert plan.config.buffer_rows is not None
    rows, inputs = plan.source.rows, plan.network_config.layer_sizes[0]
    whole_batches = plan.config.buffer_rows // CONFIG.batch_size * CONFIG.batch_size
    place = np.empty(rows, np.int64)
    place[source_order(plan.config.seed, 1, rows, whole_batches)] = np.arange(rows)
    x, y = np.empty((rows, inputs), np.float32), np.empty((rows, 1), np.float32)
    first = 0
    for features, targets in plan.source.blocks():
        to = place[first : first + len(features)]
        x[to], y[to] = features, targets
        first += len(features)
    network = gpu_mlp.Network.from_config(plan.network_config, "cpu")
    history = gpu_mlp.train(network, x, y, gpu_mlp.TrainingConfig(epochs=1, batch_size=512, shuffle=False))
    return {
        "rows_per_second": history.epochs[0].rows_per_second,
        "parameters": parameters_of(network),
    }


PARTS = {"streamed": streamed, "in_memory": in_memory}


def run_part(name: str, folder: Path) -> dict[str, Any]:
    """In a process of its own, with the largest memory that it had."""
    command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def measure_parquet(size: int, rounds: int) -> dict[str, Any]:
    """Both ways to train, in alternating rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_parquet(folder, size)
        found = [{part: run_part(part, folder) for part in PARTS} for _ in range(rounds)]
        bytes_read = sum(path.stat().st_size for path in folder.iterdir())
    digests = {each[part]["parameters"] for each in found for part in PARTS}
    if len(digests) != 1:
        sys.exit("the parameters differ between the streamed run and the one in memory")
    rates = {part: np.array([each[part]["rows_per_second"] for each in found]) for part in PARTS}
    return {
        "bytes": bytes_read,
        "files": FILES,
        "features": FEATURES,
        "rows": round(found[0]["streamed"]["rows"]),
        "memory": MEMORY,
        "batch": CONFIG.batch_size,
        "rounds": rounds,
        "seconds": float(np.median([each["streamed"]["seconds"] for each in found])),
        "peak_resident_bytes": max(each["streamed"]["peak_resident_bytes"] for each in found),
        "rows_per_second": {part: float(np.median(rate)) for part, rate in rates.items()},
        "ratio": float(np.median(rates["streamed"] / rates["in_memory"])),
        "floor": RATE_FLOOR,
    }


def show(document: dict[str, Any]) -> None:
    """What was measured, a line each."""
    if "csv" in document:
        row = document["csv"]
        print(f"CSV of {row['bytes'] / 1e9:.2f} GB, {row['rounds']} rounds; floor {row['floor']}")
        for name in ("pyarrow.csv", "read_table", "batches"):
            low, high = row[name]["interval"]
            print(
                f"  {name:<12} {row[name]['seconds']:>7.2f} s  {row[name]['ratio']:.2f} ({low:.2f} to {high:.2f})"
            )
    if "parquet" in document:
        row = document["parquet"]
        print(
            f"Parquet of {row['bytes'] / 1e9:.2f} GB in {row['files']} files, {row['rows']} rows train; {row['memory']}"
        )
        for name, rate in row["rows_per_second"].items():
            print(f"  {name:<12} {rate:>10.0f} rows/s")
        print(f"  ratio {row['ratio']:.2f} (floor {row['floor']}), the same parameters")
        peak = row["peak_resident_bytes"] / 1e6
        print(
            f"  largest resident set {peak:.0f} MB (at most {LARGEST_RESIDENT / 1e6:.0f}), {row['seconds']:.0f} s"
        )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; those of the process where None."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--csv-bytes", type=float, default=1e9, help="of the CSV (default 1e9); 0 to leave it out"
    )
    parser.add_argument("--parquet-bytes", type=float, default=4e9, help="of the Parquet files (default 4e9)")
    parser.add_argument("--rounds", type=int, default=5, help="readings of the CSV by each (default 5)")
    parser.add_argument("--parquet-rounds", type=int, default=1, help="epochs of each kind (default 1)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.rounds < 3:
        parser.error(f"--rounds is {arguments.rounds}, but a median with an interval needs at least 3")
    return arguments


def main() -> None:
    """Measure, show, and write where asked."""
    arguments = parse()
    if arguments.part is not None:
        document = PARTS[arguments.part](arguments.folder)
        print(json.dumps({**document, "peak_resident_bytes": peak_resident()}))
        return
    document = stamp()
    if arguments.csv_bytes:
        document["csv"] = measure_csv(int(arguments.csv_bytes), arguments.rounds)
    if arguments.parquet_bytes:
        document["parquet"] = measure_parquet(int(arguments.parquet_bytes), arguments.parquet_rounds)
    show(document)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
