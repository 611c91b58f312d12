"""The program inside the process of a test, and a disk that fails where the test says so."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import main
from chainrule.runs.folder import RunFolder
from chainrule.training.checkpoint import FILES

QUICK = ("-d", "digits", "-e", "2", "-nhl", "1", "-sz", "8", "-b", "64", "--engine", "numpy", "-o", "rmsprop")
OFF = ("--wandb_mode", "disabled")
RESULTS = ("config.json", "history.jsonl", "metrics.json", "model.safetensors")
WRITTEN = {
    *("run.json", "config.json", "history.jsonl", "metrics.json", "model.safetensors", *FILES),
    *("confusion_matrix.png", "learning_curves.png", "samples.png", "worst_mistakes.png"),
}


@dataclass
class Program:
    """Runs commands in this process, in a folder of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> int:
        """The exit status of `chainrule <words>`; what was printed is in `out` and `err`."""
        self.capture.readouterr()
        status = main(list(words))
        self.out, self.err = self.capture.readouterr()
        return status

    def begin(self, name: str, *words: str) -> int:
        return self("train", *QUICK, *OFF, "--run_name", name, *words)

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def message(self) -> str:
        """The one message of the last command, which failed."""
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err

    def follow(self, name: str) -> int:
        """Do what the last message says."""
        command = re.search(r"`chainrule (train --resume [^`]+)`", self.message())
        if command:
            return self(*command[1].split())
        assert "start the run again" in self.err or "choose another output_dir" in self.err
        return self.begin(name)

    def results(self, name: str) -> dict[str, bytes]:
        run = self.run(name)
        (newest,) = (run / "checkpoints").glob("*.safetensors")
        left = [path.name for path in run.rglob(".*")]
        assert left == [], "half files"
        found = {file: (run / file).read_bytes() for file in RESULTS}
        figures = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
        assert RunFolder.read(run).status == "finished"
        return {**found, **figures, "checkpoint": newest.read_bytes()}


class Disk:
    """Counts the writes of a run, and lets one fail.

    Attributes:
        event: what fails: a temporary file is made (create), written (write), flushed (flush), moved into place
            (move) or was moved (moved), or a folder is made (mkdir).
        hit: the file whose write failed; empty as long as none did.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.event, self.left, self.lasting, self.hit = "", 0, False, ""
        self.action: Callable[[], object] | None = None
        make, write, flush, move, mkdir = tempfile.mkstemp, Path.write_bytes, os.fsync, Path.replace, Path.mkdir

        def mkstemp(*args: Any, **how: Any) -> tuple[int, str]:
            self._passing("create", how["prefix"])
            return make(*args, **how)

        def write_bytes(path: Path, data: bytes) -> int:
            if self._fails("write", path.name):
                write(path, data[: len(data) // 2])
            self._passing("write", path.name)
            return write(path, data)

        def fsync(handle: int) -> None:
            if not os.path.isdir(handle):  # noqa: PTH112  (a handle is no path)
                self._passing("flush", str(handle))
            flush(handle)

        def replace(path: Path, target: Path) -> Path:
            self._passing("move", path.name)
            result = move(path, target)
            self._passing("moved", path.name)
            return result

        def make_folder(path: Path, *args: Any, **how: Any) -> None:
            if not path.exists():
                self._passing("mkdir", path.name)
            mkdir(path, *args, **how)

        monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(Path, "mkdir", make_folder)

    def fail(
        self, event: str, number: int, *, lasting: bool = False, action: Callable[[], object] | None = None
    ) -> None:
        """Let the event fail when it comes for the number-th time; if lasting, all that come after it too.

        Args:
            event: see above.
            number: counted from 1.
            lasting: whether there is no room from then on.
            action: what happens instead of an error.
        """
        self.event, self.left, self.lasting, self.action, self.hit = event, number, lasting, action, ""

    def mend(self) -> None:
        """There is room again."""
        self.event = ""

    def _fails(self, event: str, file: str) -> bool:
        return bool(self.event) and ((event == self.event and self.left == 1) or (bool(self.hit) and self.lasting))

    def _passing(self, event: str, file: str) -> None:
        fails = self._fails(event, file)
        if event == self.event:
            self.left -= 1
        if fails:
            # `.run.json.x7_ab` -> `run.json`
            self.hit = self.hit or ".".join(file.lstrip(".").split(".")[:2])
            if self.action is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.action()
