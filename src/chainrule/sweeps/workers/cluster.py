"""Workers of a Dask cluster: `dask scheduler` and `dask worker` processes, on one machine or many.

All of them see the sweep's folder under the same path. A worker runs one trial at a time. It reports through Dask's
event log, and decisions are function calls on it, so neither side blocks on the other.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.extras import needs_extra
from chainrule.core.files import read_json
from chainrule.sweeps.workers.protocol import Event, Task, TrialResult, Workers
from chainrule.sweeps.workers.trial_run import run_trial

__all__ = ["ClusterWorkers", "connect"]

_SCHEDULER_TIMEOUT = 10.0  # seconds to wait for the scheduler
_ORPHANED_TIMEOUT = 120.0  # seconds without a decision until a worker gives its trial up


def connect(scheduler: str) -> Any:
    """Connect to a scheduler: a `distributed.Client`.

    Args:
        scheduler: its address, such as tcp://host:8786, or its scheduler file.

    Raises:
        ConfigError: Dask is not installed, or no scheduler answers.
    """
    with needs_extra("Sweeps on a cluster", "cluster"):
        import distributed
    # Not left to Dask, which takes any file for a scheduler file.
    address = read_json(Path(scheduler)).get("address", "") if Path(scheduler).is_file() else scheduler
    try:
        if not re.fullmatch(r"(\w+://)?[\w.:\[\]-]+", str(address)):
            raise ValueError(address)
        client: Any = distributed.Client
        return client(address, timeout=_SCHEDULER_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No scheduler answers at {scheduler} ({type(error).__name__}). Start one with `dask scheduler`, and give "
            "the address that it prints, or its scheduler file."
        ) from error


class ClusterWorkers(Workers):
    """The workers of a cluster."""

    def __init__(self, client: Any, folder: Path, environment: Mapping[str, str]) -> None:
        self._client, self._environment = client, dict(environment)
        # Identifies this coordinator, so that workers drop the trials of one that was killed.
        self._token: _Token = str(folder), secrets.token_hex(8)
        self._messages: queue.SimpleQueue[Event | tuple[int, Any]] = queue.SimpleQueue()  # or a trial's future
        self._assigned: dict[int, tuple[str, Any]] = {}  # worker address and future of each running trial
        self._checked = time.monotonic()
        self._topic = f"chainrule-{self._token[1]}"
        client.run(_adopt_coordinator, self._token, on_error="ignore")
        client.subscribe_topic(self._topic, self._receive_curve)

    def _receive_curve(self, event: tuple[float, dict[str, Any]]) -> None:
        # Dask adds keys of its own to the message, such as the worker's address.
        self._messages.put(Event(event[1]["number"], curve=event[1]["curve"]))

    @property
    def free_slots(self) -> int:
        return len(self._find_idle())

    def _list_workers(self) -> list[str]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"])
        except OSError as error:
            raise OutputError(
                "The connection to the cluster's scheduler is lost. Start one, and run the sweep again; trials resume "
                "from their last checkpoints."
            ) from error

    def _find_idle(self) -> list[str]:
        busy = {address for address, _ in self._assigned.values()}
        return [address for address in self._list_workers() if address not in busy]

    def submit(self, task: Task) -> None:
        address = next(iter(self._find_idle()), None)
        if address is None:  # it has left the cluster since `free_slots` was read
            self._messages.put(Event(task.number, lost="its worker was lost"))
            return
        arguments = task, self._token, self._topic, self._environment
        key = f"trial-{task.number}-{secrets.token_hex(4)}"
        future = self._client.submit(_run_task, *arguments, workers=[address], pure=False, key=key)
        self._assigned[task.number] = address, future
        future.add_done_callback(lambda done: self._messages.put((task.number, done)))

    def send_decision(self, number: int, *, prune: bool) -> None:
        if number in self._assigned:
            address, _ = self._assigned[number]
            # A worker that is gone is noticed by `next_event`.
            with suppress(OSError, ValueError, KeyError):
                self._client.run(_receive_decision, self._token, number, prune, workers=[address], on_error="ignore")

    def next_event(self, timeout: float) -> Event | None:
        if time.monotonic() - self._checked > 1.0:
            self._checked = time.monotonic()
            known = self._list_workers()
            for address, future in self._assigned.values():
                if address not in known:  # Dask would wait for it to come back
                    future.cancel()
        try:
            message = self._messages.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(message, Event):
            # A curve may arrive after its trial was given up.
            return message if message.lost or message.number in self._assigned else None
        number, future = message
        address, _ = self._assigned.pop(number)
        if future.status == "finished":
            return Event(number, result=future.result())
        error = future.exception() if future.status == "error" else None
        return Event(number, lost=f"its worker at {address} was lost" + (f" ({error!r:.300})" if error else ""))

    def stop(self) -> None:
        with suppress(Exception):  # whatever is wrong with the cluster must not hide why the sweep ended
            self._client.run(_adopt_coordinator, (self._token[0], ""), on_error="ignore")
            self._client.close(_SCHEDULER_TIMEOUT)


# --- functions that run on the workers

_Token = tuple[str, str]  # the sweep's folder, and a random identifier of its coordinator
_decisions: dict[tuple[_Token, int], bool] = {}
_changed = threading.Condition()
_coordinators: dict[str, str] = {}


def _adopt_coordinator(token: _Token) -> None:
    """Make this the sweep's coordinator, "" for none; trials of earlier ones end at their next report."""
    with _changed:
        _coordinators[token[0]] = token[1]
        _changed.notify_all()


def _receive_decision(token: _Token, number: int, prune: bool) -> None:
    with _changed:
        _decisions[token, number] = prune
        _changed.notify_all()


def _run_task(task: Task, token: _Token, topic: str, environment: dict[str, str]) -> TrialResult:
    from distributed import get_worker

    worker = get_worker()
    os.environ.update(environment)
    _adopt_coordinator(token)
    _decisions.pop((token, task.number), None)

    def is_orphaned() -> bool:
        return _coordinators.get(token[0]) != token[1]

    def report(curve: list[float]) -> bool:
        worker.log_event(topic, {"number": task.number, "curve": curve})
        at_rung = len(curve) in task.rungs
        with _changed:
            decided = _changed.wait_for(
                lambda: not at_rung or (token, task.number) in _decisions or is_orphaned(), timeout=_ORPHANED_TIMEOUT
            )
            if not decided or is_orphaned():
                # As Ctrl-C does: the run is recorded as aborted, and resumed later.
                raise KeyboardInterrupt
            return at_rung and _decisions.pop((token, task.number))

    try:
        return run_trial(task, report)
    except KeyboardInterrupt:
        return TrialResult("aborted", [])
