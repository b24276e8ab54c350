"""One compilation by NVRTC: JSON on standard input, JSON on standard output, in a process that may crash.

NVRTC is called through ctypes, so that nothing but its own wheel is needed.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """The request names library, file, source, names and options; the answer holds log, ptx and lowered names."""
    request = json.load(sys.stdin)
    nvrtc = _load(Path(request["library"]))
    program = ctypes.c_void_p()
    source, file = request["source"].encode(), request["file"].encode()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, file, 0, None, None)
    for name in request["names"]:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [option.encode() for option in request["options"]]
    status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    answer = {"version": _version(nvrtc), "log": _text(nvrtc, program, "ProgramLog"), "compiled": status == 0}
    if status == 0:
        answer["ptx"] = _text(nvrtc, program, "PTX")
        answer["lowered"] = {name: _lowered(nvrtc, program, name) for name in request["names"]}
    json.dump(answer, sys.stdout)


def _load(library: Path) -> Any:
    """NVRTC opens its built-in functions by name alone: it finds them where they are loaded already."""
    for builtins in library.parent.glob("libnvrtc-builtins.so*"):
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(library))


def _version(nvrtc: Any) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _text(nvrtc: Any, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


def _lowered(nvrtc: Any, program: ctypes.c_void_p, name: str) -> str:
    """The mangled name, by which the report and the PTX call a kernel."""
    lowered = ctypes.c_char_p()
    nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered))
    assert lowered.value is not None
    return lowered.value.decode()


if __name__ == "__main__":
    main()
