"""Training runs: configuration, run folder, checkpoints, results, and trackers (`tracking`) that mirror them.

Sweeps and reports, which handle many runs, are built on top and must not be imported here.
"""

from chainrule.runs.config import TrainConfig
from chainrule.runs.experiment import train
from chainrule.runs.recorded_run import RunResult

__all__ = ["RunResult", "TrainConfig", "train"]
