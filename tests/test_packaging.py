"""The wheel: what it holds, and that it works where the checkout is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gpu_mlp

REPOSITORY = Path(gpu_mlp.__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_the_type_marker_and_the_kernels(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "gpu_mlp").rglob("*.py") if path.is_file()
    }
    assert modules <= names
    assert "gpu_mlp/py.typed" in names
    kernels = [path for path in (REPOSITORY / "cuda").iterdir() if path.is_file()]
    assert {f"gpu_mlp/_cuda/{path.name}" for path in kernels} <= names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    strange = [name for name in names if not name.startswith(("gpu_mlp/", "gpu_mlp-"))]
    assert strange == []
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_names_the_command_and_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "gpu-mlp = gpu_mlp.__main__:main" in archive.read(entry_points).decode()
    assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]


def test_an_unpacked_wheel_trains_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys, gpu_mlp; assert gpu_mlp.__file__.startswith(sys.argv[1]), gpu_mlp.__file__\n"
        "from gpu_mlp.cli import main\n"
        "sys.exit(main(['train', '--demo', 'iris', '--epochs', '2', '--device', 'cpu']))"
    )
    site = str(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", code, site],
        cwd=tmp_path,
        env={"PYTHONPATH": site, "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "iris-1" / "model.safetensors").exists()
