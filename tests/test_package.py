"""The package as a whole: its public names, what importing it loads, and which module may import which."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpu_mlp

PACKAGE = Path(gpu_mlp.__file__).parent
REPOSITORY = PACKAGE.parent

# The house: a module imports only from its own room and those above it. backends/base.py, which holds the
# names of losses and activations, and what it is made of stand above config.py, which checks settings against them.
ROOMS = (
    "errors",
    "backends.records",
    "backends.graphs_and_copies",
    "backends.base",
    "config",
    "backends",
    "network",
    "learning",
    "data",
    "metrics",
    "model",
    "fit_choices",
    "fit_plan",
    "memory_budget",
    "streamed_plan",
    "fitting",
    "resuming",
    "files",
    "estimators",
    "telemetry",
    "explanation",
    "benchmark",
    "cli",
    "__main__",
)

HEAVY = ("cupy", "sklearn", "pyarrow", "matplotlib", "torch", "pandas", "scipy", "rich", "cyclopts")


def run_python(code: str) -> str:
    """What it prints in a fresh interpreter."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_after(statement: str) -> set[str]:
    """Which heavy modules the statement loads."""
    return set(
        run_python(f"import sys\n{statement}\nprint(*(m for m in {HEAVY} if m in sys.modules))").split()
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import gpu_mlp") == set()


def test_training_on_the_cpu_loads_scipy_alone() -> None:
    statement = (
        "import gpu_mlp, numpy\n"
        "net = gpu_mlp.Network((2, 3, 1), device='cpu')\n"
        "gpu_mlp.train(net, numpy.ones((4, 2)), numpy.ones((4, 1)), gpu_mlp.TrainingConfig(epochs=1))"
    )
    assert loaded_after(statement) <= {"scipy"}


def test_what_is_loaded_is_seen() -> None:
    """The negative control."""
    assert "sklearn" in loaded_after("import gpu_mlp, sklearn")


def test_all_is_every_public_name_once() -> None:
    names = gpu_mlp.__all__
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted([*gpu_mlp._HOMES, *gpu_mlp._MODULES])
    assert dir(gpu_mlp) == sorted([*names, "__version__"])


@pytest.mark.parametrize("name", gpu_mlp.__all__)
def test_every_public_name_resolves_to_its_home(name: str) -> None:
    value = getattr(gpu_mlp, name)
    if name in gpu_mlp._HOMES:
        assert value is getattr(importlib.import_module(gpu_mlp._HOMES[name]), name)
    else:
        assert value is importlib.import_module(gpu_mlp._MODULES[name])


def test_type_checkers_and_python_find_the_names_in_the_same_homes() -> None:
    """The imports under TYPE_CHECKING and the table of homes say the same."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    modules = {name: home.rpartition(".")[0] for name, home in gpu_mlp._MODULES.items()}
    assert seen == gpu_mlp._HOMES | modules


def test_no_module_has_the_name_of_what_lies_in_one() -> None:
    """Importing `gpu_mlp.name` binds the module to `gpu_mlp.name`, whatever stood there."""
    modules = {name for name, _ in modules_of(PACKAGE)}
    assert {"model", "errors"} <= modules
    assert not modules & set(gpu_mlp._HOMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'gpu_mlp' has no attribute 'Netwrok'"):
        gpu_mlp.Netwrok  # noqa: B018


def test_the_version_is_a_version() -> None:
    assert all(part.isdigit() for part in gpu_mlp.__version__.split("."))


def modules_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name below the package, and file."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            yield ".".join(parts), path


def imports_of(source: str, module: str, *, is_package: bool) -> set[str]:
    """Every module of the package that the source imports anywhere, dotted below the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ["gpu_mlp", *module.split(".")]
                here = here[: len(here) - node.level + is_package]
                base = ".".join([*here, base]).rstrip(".")
            for alias in node.names:
                # `from gpu_mlp import errors` names a module, `from gpu_mlp import Network` what lies in one.
                home = gpu_mlp._HOMES.get(alias.name, f"gpu_mlp.{alias.name}")
                found.add(home if base == "gpu_mlp" else f"{base}.{alias.name}")
    return {name.removeprefix("gpu_mlp.") for name in found if name.startswith("gpu_mlp.")}


def room_of(module: str) -> int | None:
    """The number of the room that a module lies in, the most particular where several contain it."""
    rooms = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return ROOMS.index(max(rooms, key=len)) if rooms else None


def faults_of(folder: Path) -> list[str]:
    """Every import of a room further down, and every module outside the house."""
    faults = []
    for module, path in modules_of(folder):
        own = room_of(module)
        if own is None:
            faults.append(f"{module} is in no room")
            continue
        source = path.read_text(encoding="utf-8")
        for name in sorted(imports_of(source, module, is_package=path.name == "__init__.py")):
            other = room_of(name)
            if other is not None and other > own:
                faults.append(f"{module} ({ROOMS[own]}) imports {name} ({ROOMS[other]})")
    return faults


def test_modules_import_only_from_rooms_above_them() -> None:
    assert faults_of(PACKAGE) == []


def test_the_walker_reads_the_whole_package() -> None:
    modules = dict(modules_of(PACKAGE))
    assert {"errors", "config", "backends", "backends.reference.layers", "learning.steps.layerwise"} <= set(
        modules
    )
    source = modules["learning.training_run"].read_text(encoding="utf-8")
    found = imports_of(source, "learning.training_run", is_package=False)
    assert {"errors.ShapeError", "config.TrainingConfig", "network.network.Network"} <= found


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("errors", "import gpu_mlp.config", True),
        ("config", "from gpu_mlp.backends.base import LOSS_NAMES", False),
        ("config", "from gpu_mlp.backends.select import device_ops", True),
        ("config", "from gpu_mlp.backends import base", False),
        ("config", "from gpu_mlp import backends", True),
        ("backends/base", "from gpu_mlp.config import Loss", True),
        ("backends/base", "from gpu_mlp.backends.records import Dropout", False),
        ("backends/records", "from gpu_mlp.backends.base import Ops", True),
        ("backends/select", "from gpu_mlp.config import Loss", False),
        ("backends/select", "def f():\n    from gpu_mlp.network.network import Network", True),
        ("backends/select", "from gpu_mlp import Network", True),
        ("backends/select", "from ..network import losses", True),
        ("backends/reference/__init__", "from . import layers", False),
        ("backends/reference/__init__", "from .. import base", False),
        ("backends/reference/__init__", "from ...network import losses", True),
        ("network/losses", "from gpu_mlp.learning.steps import TrainingStep", True),
        ("network/losses", "from .parameters import ParameterBuffer\nimport numpy", False),
        ("learning/training", "import gpu_mlp.data.table as table", True),
        ("cli/main", "from gpu_mlp import Network, TrainingConfig, errors\nimport gpu_mlp.files", False),
        ("somewhere/else", "import numpy", True),
    ],
)
def test_the_walker_finds_what_it_is_there_to_find(
    tmp_path: Path, module: str, source: str, fault: bool
) -> None:
    path = tmp_path / f"{module}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    assert bool(faults_of(tmp_path)) is fault


def test_the_folder_of_kernels_is_no_package() -> None:
    """A `cuda` package at the root would hide NVIDIA's own, which CuPy imports."""
    assert (REPOSITORY / "cuda").is_dir()
    assert not (REPOSITORY / "cuda" / "__init__.py").exists()


def test_the_folder_of_kernels_hides_no_module_of_nvidia(tmp_path: Path) -> None:
    (tmp_path / "cuda" / "bindings").mkdir(parents=True)
    (tmp_path / "cuda" / "bindings" / "__init__.py").write_text("found = True\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import cuda.bindings; print(cuda.bindings.found)"
    assert run_python(code) == "True"
