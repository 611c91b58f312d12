"""Hyperparameter sweeps: many runs over a search space.

The search, the storage of trials and the workers that run them belong here; how a single run is trained does not.
"""

from chainrule.sweeps.runner import SweepResult, run_sweep

__all__ = ["SweepResult", "run_sweep"]
