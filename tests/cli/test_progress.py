"""How a run is followed: a bar on a terminal, lines off one, and what Ctrl-C does."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gpu_mlp.cli.console import PipeConsole
from gpu_mlp.cli.interruption import Interruption
from gpu_mlp.learning.callbacks import Callback
from gpu_mlp.learning.history import Epoch, History
from gpu_mlp.learning.progress import ProgressBar, ProgressLines, progress_for, rate
from tests.cli.commands import done
from tests.cli.terminals import colours_in, frames_of, on_terminal


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class FakeRun:
    """A run of so many epochs of 100 rows."""

    def __init__(self, epochs: int) -> None:
        self.total_epochs, self.rows, self.history = epochs, 100, History()
        self.stopped_for = ""

    def stop(self, reason: str) -> None:
        self.stopped_for = reason


def epoch(number: int, validation_loss: float | None = 0.25, metric: float | None = 0.875) -> Epoch:
    return Epoch(number, number * 4, 1e-3, 1 / number, validation_loss, metric, 0.01, 12_345.0)


def follow(callback: Callback, run: FakeRun, epochs: int | None = None, **measured: Any) -> None:
    """A run of some epochs, or all, as `train` tells a callback of it."""
    callback.on_train_begin(run)
    for number in range(1, (epochs or run.total_epochs) + 1):
        callback.on_progress(run, 50)
        run.history.epochs.append(epoch(number, **measured))
        callback.on_epoch_end(run, run.history[-1])
    callback.on_train_end(run)


def lines_of(total: int, epochs: int | None = None, **measured: Any) -> list[str]:
    stream = io.StringIO()
    follow(ProgressLines(PipeConsole(stream), "accuracy"), FakeRun(total), epochs, **measured)
    assert "\x1b" not in stream.getvalue()
    return stream.getvalue().splitlines()


def test_a_line_says_epoch_losses_metric_rows_and_eta() -> None:
    assert lines_of(1) == [
        "epoch 1/1: loss 1.0000, validation loss 0.2500, accuracy 0.8750, 12.3k rows/s, 0 s, ETA 0 s"
    ]
    assert lines_of(1, validation_loss=None, metric=None) == [
        "epoch 1/1: loss 1.0000, 12.3k rows/s, 0 s, ETA 0 s"
    ]


@pytest.mark.parametrize(
    ("total", "epochs", "shown"),
    [
        (3, 3, [1, 2, 3]),
        (10, 10, list(range(1, 11))),
        (100, 100, [1, *range(10, 101, 10)]),
        (1000, 1000, [1, *range(100, 1001, 100)]),
        (100, 37, [1, 10, 20, 30, 37]),  # stopped early: the last epoch is shown too
        (100, 30, [1, 10, 20, 30]),
    ],
)
def test_a_long_run_has_about_ten_lines(total: int, epochs: int, shown: list[int]) -> None:
    numbers = [int(re.match(r"epoch (\d+)/", line)[1]) for line in lines_of(total, epochs)]  # type: ignore[index]
    assert numbers == shown


class Clock:
    """Epochs that take as long as is said, in place of `time.monotonic`."""

    def __init__(self, seconds: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = iter([100.0, *(100.0 + sum(seconds[: n + 1]) for n in range(len(seconds)))])
        monkeypatch.setattr("gpu_mlp.learning.progress.time", SimpleNamespace(monotonic=self.times.__next__))


def ends_of(total: int, seconds: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the lines of epochs say after their losses; the seconds are those between two lines."""
    Clock(seconds, monkeypatch)
    return [line.partition("accuracy 0.8750, ")[2] for line in lines_of(total)]


def test_the_time_left_is_told_by_the_epochs_since_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 epochs, lines after 1, 2, 4, 6, ...: the first epoch takes 8 s, later ones 2 s and then 3 s."""
    ends = ends_of(20, [8, 2, 4, 4, 6, 6, 6, 6, 6, 6, 6], monkeypatch)
    assert ends[0] == "8 s"  # and nothing that would be wrong by a factor of four
    assert ends[1:6] == [
        "12.3k rows/s, 10 s, ETA 36 s",
        "12.3k rows/s, 14 s, ETA 32 s",
        "12.3k rows/s, 18 s, ETA 28 s",
        "12.3k rows/s, 24 s, ETA 36 s",
        "12.3k rows/s, 30 s, ETA 30 s",
    ]
    assert ends[-1] == "12.3k rows/s, 60 s, ETA 0 s"


def test_a_long_first_epoch_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends_of(3, [40, 40, 40], monkeypatch) == [
        "12.3k rows/s, 40 s, ETA 80 s",
        "12.3k rows/s, 80 s, ETA 40 s",
        "12.3k rows/s, 120 s, ETA 0 s",
    ]


def test_rates_are_short() -> None:
    assert [rate(value) for value in (0.4, 950.0, 12_345.0, 1_234_567.0)] == [
        "0 rows/s", "950 rows/s", "12.3k rows/s", "1.23M rows/s",
    ]  # fmt: skip


def test_a_bar_is_for_terminals_that_can_redraw_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_for(PipeConsole(Terminal()), "accuracy"), ProgressBar)
    assert isinstance(progress_for(PipeConsole(io.StringIO()), "accuracy"), ProgressLines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(progress_for(PipeConsole(io.StringIO()), "accuracy"), ProgressLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(PipeConsole(Terminal()), "accuracy"), ProgressLines)


ALL = r"epoch 200/200 ━+ loss 0\.0050, validation loss 0\.2500, accuracy 0\.8750 12\.3k rows/s 0:00:0\d ETA 0:00:0\d"
MOST = r"epoch 200/200 ━+ loss 0\.0050, accuracy 0\.8750 12\.3k rows/s ETA 0:00:0\d"
LEAST = r"epoch 200/200 +loss 0\.0050, accuracy 0\.8750 +ETA +0:00:0\d"


@pytest.mark.parametrize(("width", "shown"), [(140, ALL), (110, ALL), (109, MOST), (80, MOST), (60, LEAST)])
def test_the_bar_keeps_what_matters_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int, shown: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    follow(ProgressBar(PipeConsole(stream), "accuracy"), FakeRun(200))
    frames = frames_of(stream.getvalue())
    assert re.fullmatch(shown, frames[-1]), frames[-1]
    assert max(map(len, frames)) <= width


def test_a_terminal_shows_a_bar_with_everything_there_is_to_follow(tmp_path: Path) -> None:
    outcome = on_terminal(tmp_path, "train", "--demo", "iris", "--epochs", "30", "--out", "run")
    assert outcome.code == 0, outcome.err
    bar = re.compile(
        r"epoch (\d+)/30 ━+ loss \d\.\d+, validation loss \d\.\d+, accuracy [01]\.\d+ "
        r"\S+k? rows/s \d:\d\d:\d\d ETA (\d:\d\d:\d\d|-:--:--)"
    )
    frames = [frame for frame in frames_of(outcome.err) if frame.startswith("epoch ")]
    last = bar.fullmatch(frames[-1])
    assert last, frames[-1]
    assert (last[1], last[2]) == ("30", "0:00:00")
    assert "\x1b[?25h" in outcome.err.rpartition("\x1b[?25l")[2]  # the cursor is there again
    assert colours_in(outcome.err)
    assert "\x1b" not in outcome.out
    assert outcome.out.startswith("metric ")


def test_no_color_takes_the_colours_and_leaves_the_bar(tmp_path: Path) -> None:
    outcome = on_terminal(
        tmp_path, "train", "--demo", "iris", "--epochs", "5", "--out", "run", width=80, NO_COLOR="1"
    )
    assert outcome.code == 0, outcome.err
    assert colours_in(outcome.err) == []
    frames = [frame for frame in frames_of(outcome.err) if frame.startswith("epoch ")]
    assert re.fullmatch(r"epoch 5/5 ━+ loss .*, accuracy .* rows/s ETA 0:00:00", frames[-1]), frames[-1]


def test_off_a_terminal_there_is_no_escape_even_where_colours_are_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for arguments in (
        ("train", "--demo", "iris", "--epochs", "2"),
        ("train", "--help"),
        ("gradcheck",),
        ("info",),
    ):
        outcome = done(*arguments)
        assert "\x1b" not in outcome.out + outcome.err


def test_the_search_for_colours_finds_them() -> None:
    """The negative control."""
    assert colours_in("\x1b[31mred\x1b[0m \x1b[38;5;9mred\x1b[0m \x1b[1mbold\x1b[0m\x1b[2K") == [
        "31",
        "38;5;9",
    ]
    assert frames_of("a\r\x1b[2Kb \x1b[33mc\x1b[0m\r\n\x1b[?25hd\n") == ["a", "b c", "d"]


def interrupt(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


class HeldRun(FakeRun):
    """One that can be held between two steps."""

    steps_done = 7

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        self.stopped_for = f"{reason} at once" if at_once else reason

    def pause(self, step: int | None = None) -> None:
        """Never asked for here."""

    def state(self) -> Any:
        """Never asked for here."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_run_after_its_step(number: signal.Signals) -> None:
    before, stream, run = signal.getsignal(number), io.StringIO(), HeldRun(10)
    with Interruption(PipeConsole(stream)) as interruption:
        follow(interruption, run, 1)
        interruption.on_pause(run)
        assert (run.stopped_for, stream.getvalue(), interruption.exit_code) == ("", "", 0)
        os.kill(os.getpid(), number)
        assert run.stopped_for == "interrupted at once"
        interruption.on_pause(run)
    assert interruption.interrupted
    assert interruption.exit_code == 128 + number
    assert stream.getvalue() == (
        "interrupted after a step: saving what was learnt; a second signal stops at once, without saving\n"
    )
    assert signal.getsignal(number) is before


def test_a_signal_before_the_first_step_ends_the_run_there() -> None:
    run = HeldRun(10)
    with Interruption(PipeConsole(io.StringIO())) as interruption:
        interrupt()
        interruption.on_train_begin(run)
    assert run.stopped_for == "interrupted at once"


def test_a_run_that_cannot_be_held_ends_after_its_epoch() -> None:
    run = FakeRun(10)
    with Interruption(PipeConsole(io.StringIO())) as interruption:
        interruption.on_train_begin(run)
        interrupt()
    assert run.stopped_for == "interrupted"


def test_the_second_ctrl_c_ends_it_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption(PipeConsole(io.StringIO())):
        interrupt(times=2)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_of_the_caller_s_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with Interruption(Console(file=io.StringIO())) as interruption:
            interrupt()
        assert seen == [signal.SIGINT]
        assert not interruption.interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    """Signals can be handled in the main thread alone."""
    codes: list[int] = []

    def work() -> None:
        codes.append(done("train", "--demo", "iris", "--epochs", "1", "--out", tmp_path / "run").code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert codes == [0]
