"""A plugin for tests: it limits the memory, or how long the program waits for W&B.

LITTLE_MEMORY is how many MiB may still be taken; W&B gets WANDB_SECONDS to answer. Without them nothing happens.
"""

import os
import resource
from pathlib import Path

if seconds := os.environ.get("WANDB_SECONDS"):
    import chainrule.runs.tracking.wandb as tracking

    tracking._INIT_SECONDS = tracking._FINISH_SECONDS = float(seconds)

if megabytes := os.environ.get("LITTLE_MEMORY"):
    # Before the limit: SciPy's own start hangs where memory is short.
    import sklearn.datasets  # noqa: F401

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + int(megabytes) * 2**20,) * 2)
