"""CUDA source to C++ source: the one construct that no header can supply, `__shared__`, and the names of the kernels.

A variable in shared memory belongs to the block that runs, so its declaration becomes a reference into that memory:

    __shared__ float tile[8][33];   struct shared_tile { float value[8][33]; };
                                    auto& tile = cuda_emulator::shared_variable<shared_tile>().value;
    extern __shared__ float acc[];  float* acc = cuda_emulator::dynamic_shared_memory<float>();

The local struct is a type of its own in every function and every instantiation, so it tells the variables apart.
Lines keep their numbers.
"""

from __future__ import annotations

import re

from tests.emulator.errors import EmulatorError

__all__ = ["extern_c_kernels", "translate"]

_SKIPPED = r"//(?:[^\n\\]|\\.)*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)+'"
_COMMENT_OR_LITERAL = re.compile(_SKIPPED, re.DOTALL)
_DECLARATION = re.compile(
    rf"(?P<skip>{_SKIPPED})"
    r"|(?P<extern>\bextern\s+)?(?:\bstatic\s+)?\b__shared__\s+"
    r"(?P<align>(?:__align__|alignas)\s*\([^()]*\)\s*)?"
    r"(?P<type>[\w:]+(?:\s+[\w:]+)*?(?:\s*<[^;{}=]*?>(?:\s*::\s*\w+)*)?(?:\s*\*)*)\s*"
    r"(?P<declarators>\b\w+\s*(?:\[[^;{}=]*\]\s*)?(?:,\s*\w+\s*(?:\[[^;{}=]*?\]\s*)*)*);",
    re.DOTALL,
)
_LINE_DIRECTIVE = re.compile(r'^#line (\d+)(?: "([^"\n]+)")?$', re.MULTILINE)
_BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
_KERNEL = rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\("
_EXTERN_C_KERNEL = re.compile(rf'\bextern\s+"C"\s+{_KERNEL}')
_EXTERN_C_BLOCK = re.compile(r'\bextern\s+"C"\s*\{')


def translate(source: str, filename: str) -> str:
    """The source with its `__shared__` declarations rewritten.

    Raises EmulatorError where one of them is not understood.
    """

    def replace(match: re.Match[str]) -> str:
        if match["skip"] is not None:
            return match[0]
        lines = "\n" * match[0].count("\n")
        code = _dynamic(match) if match["extern"] else _static(match)
        return " ".join(code.split()) + lines

    translated = _DECLARATION.sub(replace, source)
    left = re.search(r"\b__shared__\b", _blank(translated))
    if left is not None:
        raise EmulatorError(
            f"{_place(translated, left.start(), filename)}: this __shared__ declaration is not understood; "
            "write `__shared__ TYPE NAME[SIZE];` or `extern __shared__ TYPE NAME[];` without an initialiser"
        )
    return translated


def _place(source: str, position: int, filename: str) -> str:
    """The file and line of a position, as the last #line before it counts them."""
    start, first = 0, 1
    for directive in _LINE_DIRECTIVE.finditer(source, 0, position):
        start, first, filename = directive.end() + 1, int(directive[1]), directive[2] or filename
    return f"{filename}:{source.count(chr(10), start, position) + first}"


def _dynamic(match: re.Match[str]) -> str:
    name, brackets = _name_and_dimensions(match["declarators"])
    if not re.fullmatch(r"\[\s*\]", brackets):
        raise EmulatorError(f"extern __shared__ {name}{brackets}: dynamic shared memory is declared with []")
    return f"{match['type']}* {name} = cuda_emulator::dynamic_shared_memory<{match['type']}>();"


def _static(match: re.Match[str]) -> str:
    code = []
    for declarator in _split_at_commas(match["declarators"]):
        name, dimensions = _name_and_dimensions(declarator)
        code.append(
            f"struct shared_{name} {{ {match['align'] or ''}{match['type']} value{dimensions}; }}; "
            f"auto& {name} = cuda_emulator::shared_variable<shared_{name}>().value;"
        )
    return " ".join(code)


def _name_and_dimensions(declarator: str) -> tuple[str, str]:
    name, bracket, rest = declarator.partition("[")
    return name.strip(), (bracket + rest).strip()


def _split_at_commas(declarators: str) -> list[str]:
    """At those outside brackets: `a[f<1, 2>()], b` is two."""
    parts, depth = [""], 0
    for character in declarators:
        depth += (character in "[(") - (character in "])")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def extern_c_kernels(source: str) -> list[str]:
    """The kernels with C names in the order of the file: `extern "C" __global__` and those in `extern "C" { }`."""
    # Literals are kept, or "C" would go; a kernel written inside a string literal is nobody's habit.
    code = _blank(source, literals=False)
    found = {match.start(1): match[1] for match in _EXTERN_C_KERNEL.finditer(code)}
    for block in _EXTERN_C_BLOCK.finditer(code):
        end = _closing_brace(code, block.end())
        inside = re.compile(rf"\b{_KERNEL}").finditer(code, block.end(), end)
        found |= {match.start(1): match[1] for match in inside}
    return list(dict.fromkeys(found[position] for position in sorted(found)))


def _closing_brace(code: str, start: int) -> int:
    depth = 1
    for position in range(start, len(code)):
        depth += (code[position] == "{") - (code[position] == "}")
        if not depth:
            return position
    return len(code)


def _blank(source: str, *, literals: bool = True) -> str:
    """The source with its comments (and literals) turned into spaces, every other character in its place."""

    def spaces(match: re.Match[str]) -> str:
        if not literals and match[0][0] in "\"'":
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return _COMMENT_OR_LITERAL.sub(spaces, source)
