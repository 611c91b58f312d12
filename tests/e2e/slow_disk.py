"""A plugin for tests: a file whose text contains SLOW_AT is moved into place slowly, and `slow` beside it says when.

The delay is before the move, except for a run that is just marked as running, where it is after.
"""

import os
import time
from pathlib import Path

SECONDS = 1.5
move = Path.replace


def replace(self, target):
    target = Path(target)
    marker = target.with_name("slow")
    if target.suffix != ".json" or os.environ.get("SLOW_AT", "\0") not in f"{target.name} {self.read_text()}":
        return move(self, target)
    after = '"status": "running"' in self.read_text()
    if after:
        move(self, target)
    if not marker.exists():
        marker.touch()
        time.sleep(SECONDS)
    return target if after else move(self, target)


Path.replace = replace
