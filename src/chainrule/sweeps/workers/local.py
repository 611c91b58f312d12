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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chainrule.sweeps.workers.protocol import Event, Task, TrialResult

__all__ = ["LocalWorkers"]

# Seconds that a trial may take to stop: it ends after a batch, but a test that has started is completed, and on a busy
# machine all of that takes its time. One that is killed instead would leave a run that says "running".
_STOP_TIMEOUT = 60.0


class LocalWorkers:
    """A pool of processes, each of which runs one trial at a time. A process that dies is replaced.

    What they print goes to the file `log`.
    """

    def __init__(self, count: int, log: Path, environment: Mapping[str, str]) -> None:
        self._count, self._log = count, log
        # One thread per process: there are as many processes as cores.
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._environment = {**os.environ, **single, **environment}
        self._messages: queue.SimpleQueue[tuple[_Process, dict[str, Any] | None]] = queue.SimpleQueue()
        self._processes: list[_Process] = []

    @property
    def free_slots(self) -> int:
        """How many more trials can be submitted now."""
        return self._count - sum(process.number is not None for process in self._processes)

    def submit(self, task: Task) -> None:
        """Run a trial on an idle process, or on a new one."""
        process = next((process for process in self._processes if process.number is None), None)
        if process is None:
            process = _Process(self._log, self._environment, self._messages)
            self._processes.append(process)
        process.number = task.number
        process.send({"task": asdict(task)})

    def send_decision(self, number: int, *, prune: bool) -> None:
        """Send the decision whether a trial is pruned to its process, which waits at a rung."""
        for process in self._processes:
            if process.number == number:
                process.send({"prune": prune})

    def next_event(self, timeout: float) -> Event | None:
        """Wait for the next event; None after `timeout` seconds without one."""
        try:
            process, message = self._messages.get(timeout=timeout)
        except queue.Empty:
            return None
        number = process.number
        if message is None:
            if process in self._processes:
                self._processes.remove(process)
            return None if number is None else Event(number, lost=process.exit_description())
        if number is None or message.get("number") != number:
            return None
        if "curve" in message:
            return Event(number, curve=message["curve"])
        process.number = None
        result = TrialResult(**message["result"])
        if not result.is_final:  # the process exits too
            self._processes.remove(process)
        return Event(number, result=result)

    def stop(self) -> None:
        """Stop all trials, which save a checkpoint first; kill the processes that do not end."""
        try:
            for process in self._processes:
                process.request_exit()
            for process in self._processes:
                process.wait(_STOP_TIMEOUT)
        finally:
            for process in self._processes:
                process.kill()
            self._processes.clear()


class _Process:
    """One worker process.

    Attributes:
        number: of the trial that it runs, or None.
    """

    def __init__(
        self, log: Path, environment: Mapping[str, str], messages: queue.SimpleQueue[tuple[_Process, Any]]
    ) -> None:
        self.number: int | None = None
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chainrule.sweeps.workers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                # Ctrl-C must reach the coordinator alone, which then stops the workers.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read_messages, args=(messages,), daemon=True)
        self._reader.start()

    def _read_messages(self, messages: queue.SimpleQueue[tuple[_Process, Any]]) -> None:
        """Queue the process's messages, and None when it has exited."""
        with suppress(ValueError, OSError):
            for line in self._process.stdout or ():
                messages.put((self, json.loads(line)))
        self._process.wait()
        messages.put((self, None))

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message; if the process is dead, its reader reports that."""
        assert self._process.stdin is not None  # noqa: S101  (it is a pipe)
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def request_exit(self) -> None:
        """Stop the trial and let the process exit. An idle process has nothing to save."""
        if self.number is None:
            self._process.kill()
        else:
            self.send({"shutdown": True})
            self._process.terminate()

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the process to exit."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        """Make sure that the process has exited, and close its pipes."""
        self._process.kill()
        self._reader.join(1.0)
        with suppress(OSError), self._process:
            pass  # Popen closes its pipes and waits

    def exit_description(self) -> str:
        """How the process died."""
        status = self._process.returncode
        self.kill()
        return f"its worker was killed by signal {-status}" if status < 0 else f"its worker exited with status {status}"
