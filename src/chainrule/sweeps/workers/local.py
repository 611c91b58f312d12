"""Worker processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from chainrule.sweeps.workers.protocol import Event, Task, Workers, decode_event, encode

__all__ = ["LocalWorkers"]

# Seconds that a trial may take to stop: it ends after a batch, but a test that has started is completed, and on a busy
# machine all of that takes its time. One that is killed instead would leave a run that says "running".
_STOP_TIMEOUT = 60.0


class LocalWorkers(Workers):
    """A pool of processes, each of which runs one trial at a time. A process that dies is replaced.

    What they print goes to the file `log`.
    """

    def __init__(self, count: int, log: Path, environment: Mapping[str, str]) -> None:
        self._count, self._log = count, log
        # One thread per process: there are as many processes as cores.
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._environment = {**os.environ, **single, **environment}
        self._processes: dict[Any, _Process] = {}  # by connection
        self._ready: list[Any] = []  # connections with a message

    @property
    def free_slots(self) -> int:
        return self._count - sum(process.number is not None for process in self._processes.values())

    def submit(self, task: Task) -> None:
        idle = (process for process in self._processes.values() if process.number is None)
        process = next(idle, None) or self._start_process()
        process.number = task.number
        process.send(task)

    def send_decision(self, number: int, *, prune: bool) -> None:
        for process in self._processes.values():
            if process.number == number:
                process.send(prune)

    def next_event(self, timeout: float) -> Event | None:
        # All that are ready have their turn before the first one has another.
        self._ready = self._ready or wait(self._processes, timeout)
        process = self._processes.get(self._ready.pop()) if self._ready else None
        if process is None:
            return None
        number = process.number
        try:
            event = decode_event(process.connection.recv_bytes())
        except (EOFError, OSError):
            status = process.popen.wait()
            self._remove(process)
            how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
            return None if number is None else Event(number, lost=f"its worker {how}")
        if event.result:
            process.number = None
            # Whatever stopped the trial, such as a signal or a full disk, may concern the whole process.
            if not event.result.is_final:
                self._remove(process)
        return event

    def _start_process(self) -> _Process:
        connection, other_end = Pipe()
        with self._log.open("ab") as log, other_end:
            popen = subprocess.Popen(
                [sys.executable, "-m", "chainrule.sweeps.workers.worker", str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                pass_fds=[other_end.fileno()],
                # Ctrl-C must reach the coordinator alone, which then stops the workers.
                start_new_session=True,
            )
        process = self._processes[connection] = _Process(popen, connection)
        return process

    def _remove(self, process: _Process) -> None:
        """End a process that has nothing to save."""
        process.popen.kill()
        process.popen.wait()
        process.connection.close()
        del self._processes[process.connection]

    def stop(self) -> None:
        """Stop all trials, which save a checkpoint first; kill the processes that do not end."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        try:
            for process in self._processes.values():
                if process.number is not None:
                    process.send(False)  # it may wait at a rung
                    process.popen.terminate()
            while self.free_slots < self._count and time.monotonic() < deadline:
                self.next_event(1.0)
        finally:
            for process in list(self._processes.values()):
                self._remove(process)


@dataclass
class _Process:
    """One worker process, and the number of the trial that it runs."""

    popen: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    number: int | None = None

    def send(self, message: Task | bool) -> None:
        """Send a message; if the process is dead, `next_event` reports that."""
        with suppress(OSError):
            self.connection.send_bytes(encode(message))
