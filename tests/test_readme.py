"""The README's examples run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import gpu_mlp
from gpu_mlp.cli import main
from gpu_mlp.config import OPTIMIZER_NAMES, SCHEDULE_NAMES
from gpu_mlp.data import DEMOS

REPOSITORY = Path(gpu_mlp.__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_python_block_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    texts = blocks("python")
    # One of them goes on where the one before it ended.
    first = number - 1 if "of the model above" in texts[number] else number
    names: dict[str, object] = {"__name__": "readme"}
    for each in range(first, number + 1):
        exec(compile(texts[each], f"README.md, python block {each + 1}", "exec"), names)
    printed = capsys.readouterr().out.split()
    if first < number or not printed:
        assert number > 2
        return
    # Which word of it is a loss, of the estimator an accuracy, of the explanation the error of a gradient.
    word, best, worst = {0: (-3, 0.0, 0.1), 1: (-1, 0.0, 0.1), 2: (0, 1.0, 0.9), 4: (-1, 0.0, 1e-6)}[number]
    value = float(printed[word])
    assert min(best, worst) <= value <= max(best, worst)


def commands() -> list[list[str]]:
    """Every `gpu-mlp` line, split as a shell does."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gpu-mlp ")]


def test_the_commands_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{x},{x % 7},{'high' if x % 7 > 3 else 'low'}" for x in range(120)]
    for name in ("table", "test", "new"):
        Path(f"{name}.csv").write_text("\n".join(["a,b,COLUMN", *rows]), encoding="utf-8")
    Path("folder").mkdir()
    for part in range(2):
        Path(f"folder/{part}.csv").write_text("\n".join(["a,b,COLUMN", *rows]), encoding="utf-8")
    given = commands()
    assert [command[0] for command in given] == [
        "train",
        "train",
        "predict",
        "evaluate",
        "export",
        "train",
        "gradcheck",
        "explain",
        "bench",
        "bench",
        "info",
        "train",
        "predict",
    ]
    for command in given:
        quick = ["--epochs", "3"] if command[:2] == ["train", "--demo"] else []
        if command[:2] == ["bench", "compare"]:
            Path("before.json").write_bytes(Path("now.json").read_bytes())
        elif command[0] == "bench":
            quick = ["--problems", "tiny", "--rounds", "3", "--against", "none"]
        assert main([*command, *quick]) == 0, (command, capsys.readouterr().err)
    first, second = (Path(f"runs/table-{n}/model.safetensors") for n in (1, 2))
    assert gpu_mlp.load(first).network.parameters.flat.tobytes() == (
        gpu_mlp.load(second).network.parameters.flat.tobytes()
    )


@pytest.mark.parametrize(
    "name", [*DEMOS, *OPTIMIZER_NAMES, *SCHEDULE_NAMES, *gpu_mlp.config.ACTIVATION_NAMES]
)
def test_what_there_is_is_named(name: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", README)


def test_the_files_it_points_to_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []
