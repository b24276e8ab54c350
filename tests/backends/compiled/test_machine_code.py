"""What is kept of compiled loops, and where nothing can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

from gpu_mlp.backends.compiled import machine_code

TRAINING = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
import numpy as np, gpu_mlp
for loss in ("squared_error", "huber"):
    network = gpu_mlp.Network((3, 2), device="cpu", dtype="float64")
    step = gpu_mlp.TrainingStep(network, loss=loss, batch_size=4)
    print(type(step.room_for(4)[1]).__name__, float(step(np.ones((4, 3)), np.zeros((4, 2)))))
"""


NOWHERE = """
from numba.core.caching import CompileResultCacheImpl
CompileResultCacheImpl._locator_classes = []
"""


def trained(folder: Path, before: str = "") -> list[str]:
    """What a process prints whose cache is there."""
    environment = os.environ | ({} if before else {"NUMBA_CACHE_DIR": str(folder)})
    result = subprocess.run(
        [sys.executable, "-c", before + TRAINING], capture_output=True, text=True, check=True, env=environment
    )
    return result.stdout.splitlines()


def test_every_function_has_files_of_its_own_and_the_next_process_reads_them(tmp_path: Path) -> None:
    """Numba numbers the functions of one file, and two processes may give two functions the same number."""
    first = trained(tmp_path)
    indices, codes = (sorted(tmp_path.rglob(f"*.{kind}")) for kind in ("nbi", "nbc"))
    assert len(indices) == len(codes) == len({path.name for path in codes}) >= 5
    assert all(path.name.endswith(".1.nbc") for path in codes)
    assert all(machine_code.sources_digest()[:16] in path.name for path in codes)
    written = {path: path.stat().st_mtime_ns for path in codes}
    assert trained(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*.nbc"))} == written


def test_without_a_folder_to_keep_it_in_it_costs_only_time(tmp_path: Path) -> None:
    """Numba looks for one beside the sources and in the user's cache folder, and raises where it may not write."""
    told = trained(tmp_path, NOWHERE)
    assert [line.split()[0] for line in told if line.startswith("CompiledStep")] == ["CompiledStep"] * 2
    assert any(line.startswith("a step is compiled again by the next process: ") for line in told)


def test_the_digest_is_of_all_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(machine_code, "__file__", str(tmp_path / "one.py"))
    digest = machine_code.sources_digest.__wrapped__
    before = digest()
    assert digest() == before
    (tmp_path / "two.py").write_text("changed")
    assert digest() != before


def test_a_constant_has_the_type_of_the_value() -> None:
    assert machine_code.like(np.float32(1.5), 0.1) == np.float32(0.1)
