"""A worker process: `python -m chainrule.sweeps.workers.worker`. It runs one trial after another.

It speaks with the process that started it in lines of JSON. It is told tasks; it tells the metric after each epoch, is
told whether to go on, and tells how the trial ended. When the other side goes away, it ends at once: what was trained
is in the trial's checkpoints.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

from chainrule.sweeps.workers.trial_run import Task, run_trial

__all__ = ["main"]

_FORSAKEN = 3


def main() -> int:
    """Work until standard input ends."""
    # What a library prints must not get between the lines.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(said,), daemon=True).start()

    def tell(message: dict[str, Any]) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except OSError:
            os._exit(_FORSAKEN)

    tell({"ready": True})
    while True:
        task = Task(**said.get())

        def stops(curve: list[float], task: Task = task) -> bool:
            tell({"number": task.number, "curve": curve})
            return len(curve) in task.rungs and bool(said.get()["stop"])

        ended = run_trial(task, stops)
        tell({"number": task.number, "ended": ended.to_dict()})
        # SIGTERM is meant for this process and not only for the trial, and what halts a trial halts the sweep.
        if ended.status in ("aborted", "halted"):
            return 0


def _listen(said: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass on what is said. At the end of it this process has no purpose, whatever it is in the middle of."""
    for line in sys.stdin:
        said.put(json.loads(line))
    os._exit(_FORSAKEN)


if __name__ == "__main__":
    sys.exit(main())
