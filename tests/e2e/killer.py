"""A plugin for tests: it kills its own process, without a warning, at the event in writing files that KILL_AT names.

KILL_AT is "<event> <n>": the n-th time that a temporary file is made (create), is half written (write), is flushed
(flush) or is about to be moved into place (move), or that it has just been (moved). Without it nothing happens.
"""

import os
import signal
import tempfile
from pathlib import Path

event, _, number = os.environ.get("KILL_AT", "").partition(" ")
left = {event: int(number or 0)}


def passing(name: str) -> None:
    if name == event:
        left[name] -= 1
        if left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


make, write, flush, move = tempfile.mkstemp, Path.write_bytes, os.fsync, Path.replace


def mkstemp(*args, **kwargs):
    passing("create")
    return make(*args, **kwargs)


def write_bytes(self, data):
    if event == "write" and left["write"] == 1:
        write(self, data[: len(data) // 2])
    passing("write")
    return write(self, data)


def fsync(handle):
    passing("flush")
    return flush(handle)


def replace(self, target):
    passing("move")
    result = move(self, target)
    passing("moved")
    return result


tempfile.mkstemp, Path.write_bytes, os.fsync, Path.replace = mkstemp, write_bytes, fsync, replace
