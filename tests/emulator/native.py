"""The runtime's C interface, as ctypes sees it."""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass, fields

from tests.emulator.compiler import runtime_library

__all__ = ["LaunchConfig", "Runtime", "Statistics", "runtime"]

MESSAGE_BYTES = 2048


class LaunchConfig(ctypes.Structure):
    """`LaunchConfig` in runtime/state.hpp, field by field."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_shared_bytes", ctypes.c_uint64),
        ("largest_dynamic_shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("first_block", ctypes.c_uint64),
        ("block_count", ctypes.c_uint64),
        ("preemption", ctypes.c_double),
        ("timeout_seconds", ctypes.c_double),
        ("order", ctypes.c_int),
        ("cooperative", ctypes.c_int),
        ("check_accesses", ctypes.c_int),
    )


class _Statistics(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("switches", "static_shared_bytes", "barriers", "collectives", "blocks")
    )


@dataclass(frozen=True)
class Statistics:
    """What a launch did."""

    switches: int
    static_shared_bytes: int
    barriers: int
    collectives: int
    blocks: int


class Runtime:
    """The loaded runtime; there is one in a process, and it runs one launch at a time."""

    def __init__(self) -> None:
        # Global, so that the kernels' shared objects find the functions they call.
        self._library = ctypes.CDLL(str(runtime_library()), mode=ctypes.RTLD_GLOBAL)
        self._lock = threading.Lock()
        pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
        self._library.emulator_register.argtypes = [pointer, size, size, size, text]
        self._library.emulator_unregister.argtypes = [pointer]
        self._library.emulator_launch.argtypes = [
            *(pointer, pointer, ctypes.POINTER(LaunchConfig), ctypes.POINTER(_Statistics)),
            *(text, size),
        ]

    def register(self, start: int, size: int, before: int, capacity: int, name: str) -> None:
        """Make an array known: messages name it and accesses beside it are reported.

        `before` bytes before its start and `capacity` from there on belong to it and to no other.
        """
        self._library.emulator_register(start, size, before, capacity, name.encode())

    def unregister(self, start: int) -> None:
        """Forget the array that starts here."""
        self._library.emulator_unregister(start)

    def launch(
        self, entry: int, arguments: ctypes.Array[ctypes.c_void_p], config: LaunchConfig
    ) -> tuple[Statistics, str]:
        """Run every block of the grid; the text is empty or says what went wrong."""
        statistics, message = _Statistics(), ctypes.create_string_buffer(MESSAGE_BYTES)
        with self._lock:
            self._library.emulator_launch(
                entry, arguments, ctypes.byref(config), ctypes.byref(statistics), message, MESSAGE_BYTES
            )
        counted = {field.name: getattr(statistics, field.name) for field in fields(Statistics)}
        return Statistics(**counted), message.value.decode(errors="replace")


@functools.cache
def runtime() -> Runtime:
    """The runtime, compiled and loaded on first use."""
    return Runtime()
