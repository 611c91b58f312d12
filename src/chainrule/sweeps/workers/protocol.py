"""The protocol between a sweep's coordinator and its workers: the messages, and the interface `Workers`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

__all__ = ["Event", "Task", "TrialResult", "Workers", "decode_event", "decode_task", "encode"]


@dataclass(frozen=True)
class Task:
    """A trial for a worker to run.

    Attributes:
        number: of the trial.
        settings: its configuration, including `run_name` and `output_dir`.
        metric: the metric to report after each epoch.
        rungs: the epochs after which the coordinator decides whether the trial is pruned.
    """

    number: int
    settings: Mapping[str, Any]
    metric: str
    rungs: Sequence[int] = ()


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        status: "finished", "pruned" or "failed"; "aborted" if it was stopped and can be resumed; "needs_attention" if
            it can be resumed once someone has fixed a problem outside the trial, such as a full disk or missing data.
        curve: the metric after each epoch.
        value: the metric of the epoch whose parameters were kept.
        reason: why it failed or needs attention.
    """

    status: str
    curve: list[float]
    value: float | None = None
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the trial is over; otherwise it is resumed later."""
        return self.status not in ("aborted", "needs_attention")


@dataclass(frozen=True)
class Event:
    """A message from a worker about its trial, or the loss of the worker.

    Attributes:
        number: of the trial.
        curve: the metric after each epoch so far. At a rung the worker waits for `Workers.send_decision`.
        result: how the trial ended, or None.
        lost: why the worker died during the trial, or "".
    """

    number: int
    curve: list[float] | None = None
    result: TrialResult | None = None
    lost: str = ""


def encode(message: Task | Event | bool) -> bytes:
    """A message as JSON."""
    return json.dumps(message if isinstance(message, bool) else asdict(message)).encode()


def decode_task(data: bytes) -> Task | bool:
    """Decode a message to a worker: a task, or a decision at a rung."""
    content = json.loads(data)
    return content if isinstance(content, bool) else Task(**content)


def decode_event(data: bytes) -> Event:
    """Decode a message from a worker."""
    content = json.loads(data)
    return Event(**{**content, "result": TrialResult(**content["result"]) if content["result"] else None})


class Workers(Protocol):
    """Runs trials: in processes on this machine, or on a cluster."""

    @property
    def free_slots(self) -> int:
        """How many more trials can be submitted now."""

    def submit(self, task: Task) -> None:
        """Run a trial on a free worker."""

    def send_decision(self, number: int, *, prune: bool) -> None:
        """Send the decision whether a trial is pruned to its worker, which waits at a rung."""

    def next_event(self, timeout: float) -> Event | None:
        """Wait for the next event; None after `timeout` seconds without one."""

    def stop(self) -> None:
        """Stop all trials, which save a checkpoint first, and shut the workers down."""
