"""What a person sees while a network trains: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from chainrule.history import EpochRecord

__all__ = ["Console"]


class Console:
    """Prints to standard output. Nothing at all if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: tuple[Progress, TaskID] | None = None
        self._epochs = self._samples = self._epoch = 0
        self._began = 0.0

    def note(self, text: str) -> None:
        """A line for the reader, above the progress bar where there is one."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    @contextmanager
    def training(self, epochs: int, samples: int) -> Iterator[None]:
        """A block in which `progress` and `epoch` are called, for `epochs` passes over `samples` samples each."""
        self._epochs, self._samples, self._epoch, self._began = epochs, samples, 1, time.perf_counter()
        if self._quiet or not sys.stdout.isatty():
            yield
            return
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
        ]
        with Progress(*columns, transient=True) as bar:
            self._bar = bar, bar.add_task(f"epoch 1/{epochs}", total=epochs * samples, speed="")
            try:
                yield
            finally:
                self._bar = None

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
            f"train loss {record.train_loss:.4f}  accuracy {100 * record.train_accuracy:5.2f} %"
        )
        if record.val_loss is not None and record.val_accuracy is not None:
            line += f"   val loss {record.val_loss:.4f}  accuracy {100 * record.val_accuracy:5.2f} %"
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
