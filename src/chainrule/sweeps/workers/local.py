"""Worker processes on this machine."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.sweeps.workers.trial_run import Ended, Task

__all__ = ["Event", "LocalWorkers"]


@dataclass(frozen=True)
class Event:
    """What workers tell.

    Attributes:
        number: of the trial that it is about.
        curve: the metric after each epoch so far. At a rung of the task's the worker waits for `answer`.
        ended: how the trial ended; None while it goes on.
        lost: why the worker is gone in the middle of the trial; "" while it is not.
    """

    number: int
    curve: list[float] | None = None
    ended: Ended | None = None
    lost: str = ""


class LocalWorkers:
    """Some processes, each of which runs a trial at a time. One that dies is replaced.

    Args:
        count: how many.
        log: the file that gets what they print.
        environment: variables that they get besides those of this process.
    """

    def __init__(self, count: int, log: Path, environment: Mapping[str, str]) -> None:
        self._count = count
        self._log = log
        # One thread each: so many processes keep the cores busy.
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._environment = {**os.environ, **single, **environment}
        self._events: queue.SimpleQueue[tuple[_Process, dict[str, Any] | None]] = queue.SimpleQueue()
        self._processes: list[_Process] = []

    @property
    def free(self) -> int:
        """How many trials can be begun."""
        return self._count - sum(process.number is not None for process in self._processes)

    def begin(self, task: Task) -> None:
        """Let a worker run a trial; one must be free."""
        idle = next((process for process in self._processes if process.number is None), None)
        if idle is None:
            idle = _Process(self._log, self._environment, self._events)
            self._processes.append(idle)
        idle.number = task.number
        idle.say(task.to_dict())

    def answer(self, number: int, *, stop: bool) -> None:
        """Tell the trial's worker whether the trial ends here."""
        for process in self._processes:
            if process.number == number:
                process.say({"stop": stop})

    def event(self, seconds: float) -> Event | None:
        """The next thing that a worker tells; None if it tells nothing for so long."""
        try:
            process, message = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        number = process.number
        if message is None:
            if process in self._processes:
                self._processes.remove(process)
            return None if number is None else Event(number, lost=process.epitaph())
        if number is None or message.get("number") != number:
            return None
        if "curve" in message:
            return Event(number, curve=message["curve"])
        process.number = None
        ended = Ended(**message["ended"])
        if ended.status in ("aborted", "halted"):  # the process ends with the trial
            self._processes.remove(process)
        return Event(number, ended=ended)

    def stop(self) -> None:
        """Ask all workers to save and end; those that do not within some seconds are killed."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.end(_PATIENCE)
        self._processes.clear()


_PATIENCE = 10.0  # seconds


class _Process:
    """One worker process.

    Attributes:
        number: of the trial that it runs, or None.
    """

    def __init__(
        self, log: Path, environment: Mapping[str, str], events: queue.SimpleQueue[tuple[_Process, Any]]
    ) -> None:
        self.number: int | None = None
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chainrule.sweeps.workers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                # Ctrl-C reaches this process, which then decides what becomes of the workers.
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()

    def _listen(self, events: queue.SimpleQueue[tuple[_Process, Any]]) -> None:
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                message = json.loads(line)
                if "ready" not in message:
                    events.put((self, message))
        self._process.wait()
        events.put((self, None))

    def say(self, message: Mapping[str, Any]) -> None:
        """Write a line; if the worker is gone, its listener tells so."""
        assert self._process.stdin is not None  # noqa: S101  (it is a pipe)
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def terminate(self) -> None:
        """Ask it to end. Without a trial it has nothing to save."""
        if self.number is None:
            self._process.kill()
        else:
            self._process.terminate()
            # It may be waiting for an answer.
            self.say({"stop": False})

    def end(self, seconds: float) -> None:
        """Wait for its end, and bring it about if it does not come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def epitaph(self) -> str:
        """How it ended."""
        status = self._process.returncode
        self.end(0)
        return f"its worker was killed by signal {-status}" if status < 0 else f"its worker ended with status {status}"
