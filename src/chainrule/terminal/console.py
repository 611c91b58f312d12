"""What a user sees and presses while a network trains: a progress bar or plain lines; Ctrl-C, which stops it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO, cast

from chainrule.core.errors import printable
from chainrule.core.extras import is_installed

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

    from chainrule.training.history import EpochRecord

__all__ = ["Console", "Output", "print_text", "stopping_on_interrupt"]

_REDRAW_SECONDS = 0.2


class Output:
    """A standard stream, whose `write` never raises: a closed or full stream must not end a run.

    Attributes:
        lost: whether some text could not be written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # None if it was closed before Python started
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.lost = False

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and not self.lost and self._stream.isatty()

    def write(self, text: str) -> int:
        """Write text and flush; characters that the encoding lacks are escaped."""
        if self._stream is None or self.lost:
            self.lost = True
            return len(text)
        try:
            self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed in the meantime
            self.lost = True
            # Python would report at exit that buffered text cannot be written.
            with suppress(OSError, ValueError), open(os.devnull, "w") as devnull:  # noqa: PTH123
                os.dup2(devnull.fileno(), self._stream.fileno())
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""


def print_text(text: str) -> int:
    """Print to standard output; returns the exit status, 1 if the text could not be printed."""
    output = Output(sys.stdout)
    output.write(text)
    return int(output.lost)


class Console:
    """Prints notes and progress to standard output; nothing if `quiet`, and nothing more after a write has failed."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._output = Output(sys.stdout)
        self._bar: tuple[Progress, TaskID] | None = None
        self._terminal: Terminal | None = None  # while rich redraws the lower end of the terminal
        self._epochs = self._samples = self._finished = self._members = 0
        self._start = 0.0
        self._redraw: Callable[[], None] = lambda: None

    @property
    def lost(self) -> bool:
        """Whether some text could not be written."""
        return self._output.lost

    def note(self, text: str) -> None:
        """Print a line, above the progress bar or the table if there is one."""
        if self._quiet:
            return
        text = printable(text, keep="\n")
        if self._terminal is not None:
            self._terminal.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._output.write(text + "\n")

    @contextmanager
    def show_progress(self, epochs: int, samples: int, members: int = 1) -> Iterator[None]:
        """Show the progress that `report_progress` and `report_epoch` report during a block.

        Args:
            epochs: of each network.
            samples: of an epoch.
            members: how many networks are trained.
        """
        self._epochs, self._samples, self._members = epochs, samples, members
        self._finished, self._start = 0, time.perf_counter()
        if not self._can_redraw():
            yield
            return
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        name, speed = TextColumn("{task.description}"), TextColumn("{task.fields[speed]}")
        bar = Progress(name, BarColumn(), TaskProgressColumn(), speed, TimeRemainingColumn(), TextColumn("left"))
        self._bar = bar, bar.add_task(f"epoch 1/{members * epochs}", total=members * epochs * samples, speed="")
        with self.live(lambda: bar) as self._redraw:
            yield
        self._bar = None

    @contextmanager
    def live(self, draw: Callable[[], RenderableType]) -> Iterator[Callable[[], None]]:
        """Show a renderable below the notes during a block, on a terminal.

        Yields:
            What to call when the renderable may have changed.
        """
        if not self._can_redraw():
            yield lambda: None
            return
        from rich.console import Console as Terminal
        from rich.live import Live

        terminal = Terminal(file=cast(TextIO, self._output))
        last_draw = 0.0
        # With redirection, what `Output` writes to sys.stdout would be passed to the display again.
        with Live(
            console=terminal, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live:

            def redraw() -> None:
                nonlocal last_draw
                if time.monotonic() - last_draw > _REDRAW_SECONDS:
                    live.update(draw(), refresh=True)
                    last_draw = time.monotonic()

            self._terminal = terminal
            try:
                yield redraw
            finally:
                self._terminal = None

    def _can_redraw(self) -> bool:
        return not self._quiet and self._output.isatty() and is_installed("rich")

    def report_progress(self, done: int) -> None:
        """Show that `done` samples of the current epoch are trained on; of those of all members together."""
        if self._bar is not None:
            bar, task = self._bar
            total = self._finished * self._samples + done
            speed = total / max(time.perf_counter() - self._start, 1e-9)
            bar.update(
                task,
                completed=total,
                description=f"epoch {self._finished + 1}/{self._members * self._epochs}",
                speed=f"{speed:,.0f} samples/s",
            )
            self._redraw()

    def report_resumed(self, epochs: int) -> None:
        """Count epochs that were finished before."""
        self._finished += epochs

    def report_epoch(self, record: EpochRecord, seconds: float, member: int | None = None) -> None:
        """Print the record of a finished epoch, which took `seconds`; `member` is the number of the network if any."""
        width = len(str(self._epochs))
        line = "" if member is None else f"member {member:>{len(str(self._members - 1))}}   "
        line += (
            f"epoch {record.epoch:>{width}}/{self._epochs}   "
            f"train loss {record.train_loss:.4f}  {record.score_name} {100 * record.train_score:5.2f} %"
        )
        if record.val_loss is not None and record.val_score is not None:
            line += f"   val loss {record.val_loss:.4f}  {record.score_name} {100 * record.val_score:5.2f} %"
        self.note(f"{line}   {seconds:.1f} s")
        self._finished += 1

    @contextmanager
    def show_logs(self) -> Iterator[None]:
        """Print the package's log messages, such as the start of a download, as notes during a block."""
        handler = logging.Handler(logging.INFO)
        handler.emit = lambda record: self.note(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("chainrule")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextmanager
def stopping_on_interrupt(notify: Callable[[str], object]) -> Iterator[threading.Event]:
    """During a block, let the first Ctrl-C or SIGTERM set an event; the second one raises KeyboardInterrupt.

    Args:
        notify: receives a message for the user when the event is set.

    Yields:
        The event, which the block must check now and then.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only.
        yield stop
        return

    def request_stop(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        notify("Stopping after the current batches; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
