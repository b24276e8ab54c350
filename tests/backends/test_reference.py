"""The reference is written for any array module: it calls nothing that NumPy or CuPy lacks."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from gpu_mlp.backends import reference

FILES = sorted(Path(reference.__file__).parent.glob("*.py"))


def names_used(source: str) -> set[str]:
    """Every `name` in `xp.name`, and `add.at` for `xp.add.at`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        parts: list[str] = []
        inner: ast.expr | None = node if isinstance(node, ast.Attribute) else None
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name) and inner.id == "xp":
            names.add(".".join(parts))
    return names


def missing(module: object, names: set[str]) -> set[str]:
    """Those that the module lacks."""

    def has(name: str) -> bool:
        value = module
        for part in name.split("."):
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True

    return {name for name in names if not has(name)}


def all_names() -> set[str]:
    """Of the whole reference."""
    return set().union(*(names_used(path.read_text(encoding="utf-8")) for path in FILES))


def test_the_reference_is_found_and_uses_many_functions() -> None:
    assert len(FILES) >= 6
    assert {"dot", "maximum", "expm1", "take", "bitwise_xor"} <= all_names()


def test_every_function_exists_in_numpy() -> None:
    assert not missing(np, all_names())


def test_every_function_exists_in_cupy() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert not missing(cupy, all_names())


def test_a_function_that_is_missing_is_found() -> None:
    """The negative control."""
    names = names_used(
        "def f(xp, a):\n    xp.fuse(a)\n    return xp.add.at(a) + xp.add.nowhere + np.other(a)"
    )
    assert names == {"fuse", "add.at", "add.nowhere", "add"}
    assert missing(np, names) == {"fuse", "add.nowhere"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_reference_calls_numpy_only_for_types_and_constants(path: Path) -> None:
    """A call of `np` would work on the CPU and fail, or copy to the host, on a GPU."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np"
    }
    assert used <= {"dtype", "finfo", "float16", "float32", "ndarray", "uint32"}
