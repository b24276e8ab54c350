"""The command line `gpu-mlp`: one file per command, results to stdout, everything else to stderr."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from cyclopts import App, CycloptsError

from gpu_mlp import __version__
from gpu_mlp.cli.bench import bench_app
from gpu_mlp.cli.console import HELP_WIDTH, PipeConsole, report_error
from gpu_mlp.cli.evaluate import evaluate
from gpu_mlp.cli.explain import explain
from gpu_mlp.cli.export import export
from gpu_mlp.cli.gradcheck import gradcheck
from gpu_mlp.cli.info import info
from gpu_mlp.cli.predict import predict
from gpu_mlp.cli.settings import fill_settings
from gpu_mlp.cli.train import train
from gpu_mlp.cli.usage import check_whole_numbers, usage_sentence
from gpu_mlp.errors import DeviceError, DivergenceError, GpuMlpError, WriteError

__all__ = ["DONE", "FAILED", "INTERRUPTED", "main"]

DONE, FAILED, BAD_INPUT, NO_DEVICE, DIVERGED, INTERRUPTED = 0, 1, 2, 3, 4, 130

# Whose errors come from the driver: after an illegal address, say, every call of the process fails.
CUDA_MODULES = ("cupy", "nvmath", "cuda.")

HELP = """Train multi-layer perceptrons by the explicit equations of back-propagation, on NumPy or CUDA.

Try: gpu-mlp train --demo digits
"""
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 device unavailable, 4 diverged, "
    "130/143 interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is the process's where None."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream that a caller put in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        lost = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)] or [sys.stdout]
        for stream in lost:  # so that Python does not try once more at its end
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # Whoever read the results has seen enough; without stderr the command stopped before its end.
        return FAILED if sys.stderr in lost else DONE
    return code


def _has_no_reader(stream: TextIO) -> bool:
    """Whether the stream is a pipe whose reader is gone; False where that cannot be asked."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
    except (AttributeError, OSError, ValueError):  # no such system call, or no such file
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _run(argv: list[str]) -> int:
    try:
        result = _app()(
            argv,
            console=PipeConsole(sys.stdout, HELP_WIDTH),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        if isinstance(error.__cause__, GpuMlpError):
            return _report(error.__cause__)
        report_error(usage_sentence(error, argv))
        return BAD_INPUT
    except GpuMlpError as error:
        return _report(error)
    except KeyboardInterrupt:
        report_error("interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (OSError, MemoryError) as error:
        report_error(
            f"the computer could not go on ({type(error).__name__}: {error}); free some space and try again"
        )
        return FAILED
    except Exception as error:
        if not type(error).__module__.startswith(CUDA_MODULES):
            raise
        report_error(
            f"the CUDA device failed ({type(error).__name__}: {error}) and can do nothing more in this process; "
            "start again, and where it fails again update the driver or use --device cpu"
        )
        return FAILED
    return result if isinstance(result, int) else DONE


def _report(error: GpuMlpError) -> int:
    report_error(str(error))
    if isinstance(error, DeviceError):
        return NO_DEVICE
    if isinstance(error, WriteError):
        return FAILED
    return DIVERGED if isinstance(error, DivergenceError) else BAD_INPUT


def _app() -> App:
    app = App(
        name="gpu-mlp",
        help=HELP,
        help_epilogue=EXIT_CODES,
        help_format="plaintext",
        version=__version__,
        version_format="plaintext",
        suppress_keyboard_interrupt=False,
        config=check_whole_numbers,
    )
    training = App(name="train", config=(fill_settings, check_whole_numbers))
    training.default(train)
    app.command(training)
    for command in (predict, evaluate, export, explain, gradcheck, info):
        app.command(command)
    app.command(bench_app())
    return app
