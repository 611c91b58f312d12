"""What a person sees while a network trains: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

from chainrule.core.text import printable_lines

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

    from chainrule.training.history import EpochRecord

__all__ = ["Console", "Output"]


class Output:
    """Standard output (or error) as long as there is one: closed, full or without a reader, it gets no more text.

    It never raises: nothing that is printed is worth the end of a run.

    Attributes:
        lost: whether some text did not arrive.
    """

    def __init__(self, name: Literal["stdout", "stderr"] = "stdout") -> None:
        self._name = name
        self.lost = False

    @property
    def _stream(self) -> TextIO | None:
        # Looked up each time, as print does; None where it was closed before Python started.
        return cast("TextIO | None", getattr(sys, self._name))

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a person reads along on a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and not self.lost and self._stream.isatty()
        return False

    def write(self, text: str) -> int:
        """Print the text at once; what the encoding lacks is escaped."""
        stream = self._stream
        if stream is None or self.lost:
            self.lost = True
            return len(text)
        try:
            stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            stream.flush()
        # A stream that was closed on the way raises ValueError.
        except (OSError, ValueError):
            self.lost = True
            _discard(stream)
        return len(text)

    def flush(self) -> None:
        """Nothing: `write` does not keep text back."""


def _discard(stream: TextIO) -> None:
    """Lead a broken stream into nothing: Python would complain at exit that what is left in it cannot be written."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


class Console:
    """Prints to standard output. Nothing at all if `quiet`, and nothing more once that fails."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._output = Output()
        self._bar: tuple[Progress, TaskID] | None = None
        self._terminal: Terminal | None = None  # while something at its lower end is drawn again and again
        self._epochs = self._samples = self._epoch = 0
        self._began = 0.0

    @property
    def lost(self) -> bool:
        """Whether some text did not arrive."""
        return self._output.lost

    def note(self, text: str) -> None:
        """A line for the reader, above the progress bar or the table where there is one."""
        if self._quiet:
            return
        text = printable_lines(text)
        if self._terminal is not None:
            self._terminal.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._output.write(text + "\n")

    @contextmanager
    def training(self, epochs: int, samples: int) -> Iterator[None]:
        """A block in which `progress` and `epoch` are called, for `epochs` passes over `samples` samples each."""
        self._epochs, self._samples, self._epoch, self._began = epochs, samples, 1, time.perf_counter()
        if self._quiet or not self._output.isatty():
            yield
            return
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
        ]
        terminal = Terminal(file=cast(TextIO, self._output))
        # Redirected, our own writing to sys.stdout would come back to the bar, round and round.
        with Progress(*columns, console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            self._bar = bar, bar.add_task(f"epoch 1/{epochs}", total=epochs * samples, speed="")
            self._terminal = terminal
            try:
                yield
            finally:
                self._bar = self._terminal = None

    @contextmanager
    def live(self, draw: Callable[[], RenderableType]) -> Iterator[Callable[[], None]]:
        """A block in which a picture stands below the notes, on a terminal.

        Args:
            draw: makes the picture.

        Returns:
            What to call when the picture may have changed.
        """
        if self._quiet or not self._output.isatty():
            yield lambda: None
            return
        from rich.console import Console as Terminal
        from rich.live import Live

        terminal = Terminal(file=cast(TextIO, self._output))
        drawn = 0.0
        # Transient: what it says in the end is said in lines of text.
        with Live(
            console=terminal, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as live:

            def redraw() -> None:
                nonlocal drawn
                if time.monotonic() - drawn > 0.2:
                    live.update(draw(), refresh=True)
                    drawn = time.monotonic()

            self._terminal = terminal
            try:
                yield redraw
            finally:
                self._terminal = None

    def progress(self, done: int) -> None:
        """So many samples of the current epoch are done."""
        if self._bar is not None:
            bar, task = self._bar
            total = (self._epoch - 1) * self._samples + done
            speed = total / max(time.perf_counter() - self._began, 1e-9)
            bar.update(
                task,
                completed=total,
                description=f"epoch {self._epoch}/{self._epochs}",
                speed=f"{speed:,.0f} samples/s",
            )

    def epoch(self, record: EpochRecord, seconds: float) -> None:
        """An epoch ended, `seconds` after the one before."""
        width = len(str(self._epochs))
        line = (
            f"epoch {record.epoch:>{width}}/{self._epochs}   "
            f"train loss {record.train_loss:.4f}  {record.score_name} {100 * record.train_score:5.2f} %"
        )
        if record.val_loss is not None and record.val_score is not None:
            line += f"   val loss {record.val_loss:.4f}  {record.score_name} {100 * record.val_score:5.2f} %"
        self.note(f"{line}   {seconds:.1f} s")
        self._epoch = record.epoch + 1

    @contextmanager
    def showing_logs(self) -> Iterator[None]:
        """A block in which what the package logs, such as the start of a download, is printed as notes."""
        handler = _NoteHandler(self)
        logger = logging.getLogger("chainrule")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _NoteHandler(logging.Handler):
    """Passes log records on as notes."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())
