"""A worker process, `python -m chainrule.sweeps.workers.worker FILE_DESCRIPTOR`: runs trials one after another.

The descriptor is that of its connection to the coordinator, which sends tasks, and the decision at a rung as a bool;
this process sends an `Event` after each epoch and trial. A bool between two trials ends it. SIGTERM stops the current
trial with a checkpoint. When the connection is closed, the coordinator is dead and the process exits at once: the
trial's last checkpoint is on disk.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from chainrule.sweeps.workers.protocol import Event, Task, decode_task, encode
from chainrule.sweeps.workers.trial_run import run_trial

__all__ = ["main"]

_ORPHANED_STATUS = 3  # the exit status after the coordinator has died


def main(descriptor: int) -> None:
    """Run trials until the coordinator ends this process."""
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read_messages, args=(connection, inbox), daemon=True).start()

    def send(event: Event) -> None:
        try:
            connection.send_bytes(encode(event))
        except OSError:
            os._exit(_ORPHANED_STATUS)

    while isinstance(task := inbox.get(), Task):

        def report(curve: list[float], task: Task = task) -> bool:
            send(Event(task.number, curve=curve))
            return len(curve) in task.rungs and inbox.get() is True

        send(Event(task.number, result=run_trial(task, report)))


def _read_messages(connection: Connection[Any, Any], inbox: queue.SimpleQueue[Any]) -> None:
    """Queue the coordinator's messages; exit the process when they end."""
    try:
        while True:
            inbox.put(decode_task(connection.recv_bytes()))
    except (EOFError, OSError):
        os._exit(_ORPHANED_STATUS)


if __name__ == "__main__":
    main(int(sys.argv[1]))
