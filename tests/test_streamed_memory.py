"""How much memory a process takes that reads tables much larger than what it is given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.test_package import REPOSITORY

COLUMNS = 20
MEMORY = 64e6
# On top come pyarrow itself, the pages that it holds of each column, a batch on its way, and what the allocator keeps.
ALLOWED = MEMORY + 200e6

PEAK = """
import sys
import gpu_mlp

{work}
lines = open("/proc/self/status").read().splitlines()
print(next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
"""
TRAIN = (
    "gpu_mlp.fit_table(sys.argv[1], 'y', memory='64MB', device='cpu', hidden_layer_sizes=(8,), "
    "config=gpu_mlp.TrainingConfig(epochs=1, batch_size=512))"
)
PREDICT = (
    "print(sum(len(part) for part in gpu_mlp.load(sys.argv[2], 'cpu').predictions(sys.argv[1])), end=' ')"
)


def write(path: Path, parts: int) -> Path:
    rng = np.random.default_rng(0)
    writer = None
    for _ in range(parts):
        columns = {f"x{i}": rng.normal(size=100_000).astype(np.float32) for i in range(COLUMNS)}
        table = pa.table({**columns, "y": columns["x0"] + columns["x1"]})
        writer = pq.ParquetWriter(path, table.schema) if writer is None else writer
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


def peak(work: str, *arguments: object) -> int:
    command = [sys.executable, "-c", PEAK.format(work=work), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.soak
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the largest resident set"
)
def test_it_stays_within_what_it_is_given(tmp_path: Path) -> None:
    import gpu_mlp

    small, large = write(tmp_path / "small.parquet", 1), write(tmp_path / "large.parquet", 40)
    assert large.stat().st_size > 4 * MEMORY
    base = peak(
        TRAIN.replace("sys.argv[1]", "{'y': [1.0, 2.0] * 50, 'x': [2.0, 1.0] * 50}").replace("512", "8")
    )
    assert peak(TRAIN, large) - base < ALLOWED
    config = gpu_mlp.TrainingConfig(epochs=1, batch_size=512)
    model = gpu_mlp.fit_table(small, "y", device="cpu", hidden_layer_sizes=(8,), config=config).model
    gpu_mlp.save(model, tmp_path / "model.safetensors")
    assert peak(PREDICT, large, tmp_path / "model.safetensors") - base < ALLOWED


@pytest.mark.soak
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the largest resident set"
)
def test_the_whole_table_would_be_seen(tmp_path: Path) -> None:
    """The negative control."""
    large = write(tmp_path / "large.parquet", 40)
    base = peak("import pyarrow")
    assert peak("from gpu_mlp.data import read_table; read_table(sys.argv[1])", large) - base > ALLOWED
