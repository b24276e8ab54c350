"""A run that is killed at any instant goes on to the bits of one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import environment

# One process imports the package, and forks one for every run and every resumption of it.
KILLER = """
import csv, os, random, signal, sys, time
from pathlib import Path
from gpu_mlp.cli import main
from gpu_mlp.files.checkpoint_file import read_checkpoint
from gpu_mlp.files.model_file import load

kills, seed = int(sys.argv[1]), int(sys.argv[2])
rng, quiet = random.Random(seed), os.open(os.devnull, os.O_WRONLY)
TRAIN = ["train", "--demo", "iris", "--epochs", "40", "--checkpoint-steps", "3", "--dropout", "0.1", "--patience", "30"]

def child(arguments):
    pid = os.fork()
    if pid == 0:
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        os._exit(main(arguments))
    return pid

def learnt(folder):
    with open(f"{folder}/history.csv") as file:
        rows = [row[:6] for row in csv.reader(file)]
    return load(f"{folder}/model.safetensors", "cpu").network.parameters.flat.tobytes(), rows

with open(os.devnull, "w") as sys.stdout, open(os.devnull, "w") as sys.stderr:
    main([*TRAIN, "--out", "warm"])  # whatever is imported late is imported now
    started = time.perf_counter()
    main([*TRAIN, "--out", "whole"])
sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
whole_seconds, expected = time.perf_counter() - started, learnt("whole")
killed = finished = saved = run = 0
while killed < kills:
    folder = Path(f"run-{run}")
    there = (folder / "config.toml").is_file()
    arguments = ["train", "--resume", str(folder)] if there else [*TRAIN, "--out", str(folder)]
    if folder.is_dir() and not there:
        run += 1  # killed between the folder and its settings
        continue
    pid = child(arguments)
    time.sleep(rng.uniform(0.0, 1.2) * whole_seconds)
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        killed += 1
        for path in folder.glob("checkpoint-*.safetensors"):
            read_checkpoint(path)
            saved += 1
        assert len(list(folder.glob(".*.tmp"))) <= 2, os.listdir(folder)
        if not (folder / "model.safetensors").is_file() or list(folder.glob("checkpoint-*.safetensors")):
            continue
        finished += 1  # killed after its end
    else:
        assert os.WEXITSTATUS(status) == 0, status
        finished += 1
        assert not list(folder.glob(".*.tmp")), os.listdir(folder)
        assert learnt(folder) == expected, folder
    run += 1
if (folder / "config.toml").is_file() and not (folder / "model.safetensors").is_file():
    assert os.waitpid(child(["train", "--resume", str(folder)]), 0)[1] == 0
    assert learnt(folder) == expected
    finished += 1
    assert not list(folder.glob(".*.tmp"))
print(killed, finished, saved)
"""


def kill(times: int, folder: Path, seed: int) -> None:
    command = [sys.executable, "-c", KILLER, str(times), str(seed)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(GPU_MLP_DEVICE="cpu"),
    )
    assert done.returncode == 0, done.stderr
    killed, finished, saved = map(int, done.stdout.split())
    assert killed == times
    assert finished >= 1
    assert saved > times // 4  # most of them had something to go on from


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_30_random_instants(tmp_path: Path) -> None:
    kill(30, tmp_path, 0)


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_170_more(tmp_path: Path) -> None:
    kill(170, tmp_path, 1)
