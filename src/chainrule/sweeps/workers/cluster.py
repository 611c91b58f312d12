"""Workers of a Dask cluster: `dask scheduler` and `dask worker` processes, on one machine or many.

All of them see the sweep's folder under the same path. A worker runs one trial at a time. What a worker tells goes
through Dask's events, what it is told is called on it, so neither side waits for the other in between.
"""

from __future__ import annotations

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
from chainrule.core.files import read_json
from chainrule.sweeps.workers.local import Event
from chainrule.sweeps.workers.trial_run import Ended, Task, run_trial

__all__ = ["ClusterWorkers", "connect"]

_PATIENCE = 10.0  # seconds until a scheduler that does not answer is given up
_FORSAKEN = 120.0  # seconds until a worker that is not answered gives its trial up


def connect(scheduler: str) -> Any:
    """Connect to a scheduler: a `distributed.Client`.

    Args:
        scheduler: its address, such as tcp://host:8786, or the file that it was given with --scheduler-file.

    Raises:
        ConfigError: Dask is not installed, or there is no such scheduler.
    """
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise ConfigError("--scheduler needs Dask. Run: pip install 'chainrule[cluster]'") from error
    # Not left to Dask, which takes any file for one of a scheduler's.
    address = read_json(Path(scheduler)).get("address", "") if Path(scheduler).is_file() else scheduler
    try:
        if not re.fullmatch(r"(\w+://)?[\w.:\[\]-]+", str(address)):
            raise ValueError(address)
        client: Any = distributed.Client
        return client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No scheduler answers at {scheduler} ({type(error).__name__}). Start one with `dask scheduler`, and give "
            "the address that it prints, or the file of its --scheduler-file."
        ) from error


class ClusterWorkers:
    """The workers of a cluster (see `chainrule.sweeps.coordinator.Workers`).

    Args:
        client: a connection to the scheduler.
        folder: of the sweep.
        environment: variables for the trials.
    """

    def __init__(self, client: Any, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = str(folder)
        self._client, self._environment = client, dict(environment)
        # Trials of a coordinator that was killed are recognised by it, and ended.
        self._session = secrets.token_hex(8)
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._places: dict[int, tuple[str, Any]] = {}
        self._counted = time.monotonic()
        self._topic = f"chainrule-{self._session}"
        client.run(_begin_session, (self._folder, self._session), on_error="ignore")
        client.subscribe_topic(self._topic, lambda event: self._events.put(("curve", event[1])))

    @property
    def free(self) -> int:
        """How many trials can be begun."""
        return len(self._idle())

    def _workers(self) -> list[str]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"])
        except OSError as error:
            raise OutputError(
                "The cluster's scheduler is gone. Start one, and run the same command again; trials go on from their "
                "last checkpoints."
            ) from error

    def _idle(self) -> list[str]:
        busy = {address for address, _ in self._places.values()}
        return [address for address in self._workers() if address not in busy]

    def begin(self, task: Task) -> None:
        """Let a worker run a trial; one must be free."""
        address = next(iter(self._idle()), None)
        if address is None:  # it has left since `free` was asked
            self._places[task.number] = "", None
            self._events.put(("done", (task.number, None)))
            return
        future = self._client.submit(
            _work,
            task.to_dict(),
            (self._folder, self._session),
            self._topic,
            self._environment,
            workers=[address],
            pure=False,
            key=f"trial-{task.number}-{secrets.token_hex(4)}",
        )
        self._places[task.number] = address, future
        future.add_done_callback(lambda done: self._events.put(("done", (task.number, done))))

    def answer(self, number: int, *, stop: bool) -> None:
        """Tell the trial's worker whether the trial ends here."""
        place = self._places.get(number)
        if place is not None:
            with suppress(OSError, ValueError, KeyError):  # the worker is gone, which is told when it is missed
                session = self._folder, self._session
                self._client.run(_hear, session, number, stop, workers=[place[0]], on_error="ignore")

    def event(self, seconds: float) -> Event | None:
        """The next thing that a worker tells; None if it tells nothing for so long."""
        if time.monotonic() - self._counted > 1.0:
            self._counted = time.monotonic()
            if missing := self._missing():
                return missing
        try:
            kind, content = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if kind == "curve":
            return Event(content["number"], curve=content["curve"]) if content["number"] in self._places else None
        number, future = content
        place = self._places.get(number)
        if place is None or place[1] is not future:
            return None
        del self._places[number]
        if future is not None and future.status == "finished":
            return Event(number, ended=Ended(**future.result()))
        error = future.exception() if future is not None and future.status == "error" else None
        return Event(number, lost=f"its worker at {place[0]} was lost" + (f" ({error!r:.300})" if error else ""))

    def _missing(self) -> Event | None:
        """A trial whose worker has left the cluster: Dask would wait for it to come back."""
        there = self._workers()
        for number, (address, future) in list(self._places.items()):
            if address not in there:
                del self._places[number]
                future.cancel()
                return Event(number, lost=f"its worker at {address} was lost")
        return None

    def stop(self) -> None:
        """Ask all workers to save and end their trials."""
        with suppress(Exception):  # whatever is wrong with a cluster, it must not hide why the sweep ended
            self._client.run(_end_session, (self._folder, self._session), on_error="ignore")
            self._client.close(_PATIENCE)


# --- on the worker

_Session = tuple[str, str]  # the sweep's folder, and which of its coordinators it is
_heard: dict[tuple[_Session, int], bool] = {}
_changed = threading.Condition()
_current: dict[str, str] = {}


def _begin_session(session: _Session) -> None:
    """The trials of the sweep's earlier coordinators end when they next ask."""
    with _changed:
        _current[session[0]] = session[1]
        _changed.notify_all()


def _end_session(session: _Session) -> None:
    """The session's trials end when they next ask."""
    with _changed:
        if _current.get(session[0]) == session[1]:
            del _current[session[0]]
        _changed.notify_all()


def _hear(session: _Session, number: int, stop: bool) -> None:
    """An answer for a trial."""
    with _changed:
        _heard[session, number] = stop
        _changed.notify_all()


def _work(task: dict[str, Any], session: _Session, topic: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run a trial as a task of Dask's."""
    import os

    from distributed import get_worker

    worker = get_worker()
    os.environ.update(environment)
    _begin_session(session)
    _heard.pop((session, task["number"]), None)

    def stops(curve: list[float]) -> bool:
        worker.log_event(topic, {"number": task["number"], "curve": curve})
        asked = len(curve) in task["rungs"]
        with _changed:

            def over() -> bool:
                return _current.get(session[0]) != session[1]

            answered = _changed.wait_for(
                lambda: not asked or (session, task["number"]) in _heard or over(), timeout=_FORSAKEN
            )
            if not answered or over():
                # As if somebody had pressed Ctrl-C: what was trained is saved, and the trial goes on another time.
                raise KeyboardInterrupt
            return asked and _heard.pop((session, task["number"]))

    try:
        return run_trial(Task(**task), stops).to_dict()
    except KeyboardInterrupt:
        return Ended("aborted", []).to_dict()
