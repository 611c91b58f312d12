"""A worker process, `python -m chainrule.sweeps.workers.worker`: runs trials one after another.

Protocol: one JSON object a line. On stdin: `{"task": {...}}`, `{"prune": bool}` (the decision at a rung) and
`{"shutdown": true}`. On stdout: `{"number": n, "curve": [...]}` after each epoch, `{"number": n, "result": {...}}`.
SIGTERM stops the current trial with a checkpoint. When stdin is closed without a shutdown, the coordinator is dead and
the process exits at once: the trial's last checkpoint is on disk.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from typing import Any

from chainrule.sweeps.workers.protocol import Task
from chainrule.sweeps.workers.trial_run import run_trial

__all__ = ["main"]

_ORPHANED_STATUS = 3  # the exit status after the coordinator has died


def main() -> int:
    """Run trials until the coordinator shuts this worker down."""
    # Whatever a library prints must not end up between the messages.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    shutdown = threading.Event()
    threading.Thread(target=_read_messages, args=(inbox, shutdown), daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        try:
            output.write(json.dumps(message) + "\n")
            output.flush()
        except OSError:
            os._exit(_ORPHANED_STATUS)

    while not shutdown.is_set() and "task" in (message := inbox.get()):
        task = Task(**message["task"])

        def report(curve: list[float], task: Task = task) -> bool:
            send({"number": task.number, "curve": curve})
            return len(curve) in task.rungs and bool(inbox.get().get("prune"))

        result = run_trial(task, report)
        send({"number": task.number, "result": asdict(result)})
        # SIGTERM means this process and not only the trial; a problem outside the trial would meet the next one too.
        if not result.is_final:
            break
    return 0


def _read_messages(inbox: queue.SimpleQueue[dict[str, Any]], shutdown: threading.Event) -> None:
    """Queue the coordinator's messages; exit the process when they end."""
    for line in sys.stdin:
        message = json.loads(line)
        if "shutdown" in message:
            shutdown.set()
        # A trial that waits at a rung is woken by a shutdown too.
        inbox.put(message)
    os._exit(_ORPHANED_STATUS)


if __name__ == "__main__":
    sys.exit(main())
