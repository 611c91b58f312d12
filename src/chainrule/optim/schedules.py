"""Learning rate schedules: the factor by which the learning rate is multiplied as training goes on.

A schedule is a function of the progress, from 0 in the first step to 1 at the end of training, and returns a factor.
Engines call it once a step; the compiled one compiles it. Adding one is one function here, or in a plugin:

    @SCHEDULES.register("square_root")
    def square_root(progress: float) -> float:
        return math.sqrt(1 - progress)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from chainrule.core.errors import ConfigError
from chainrule.core.registry import Registry

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "linear", "step"]

Schedule: TypeAlias = Callable[[float], float]


def _check_schedule(schedule: Schedule) -> None:
    """Try a new schedule at the start, in the middle and at the end."""
    for progress in (0.0, 0.5, 1.0):
        factor = float(schedule(progress))
        if not (math.isfinite(factor) and factor >= 0):
            raise ConfigError(f"A schedule must return a factor of 0 or more; at {progress} it returned {factor}.")


SCHEDULES: Registry[Schedule] = Registry("schedule", _check_schedule)


@SCHEDULES.register("constant")
def constant(progress: float) -> float:
    """1: the learning rate stays as it is."""
    return 1.0


@SCHEDULES.register("linear")
def linear(progress: float) -> float:
    """1 - progress: to zero, in equal steps."""
    return 1.0 - progress


@SCHEDULES.register("cosine")
def cosine(progress: float) -> float:
    """(1 + cos(pi progress)) / 2: to zero, slowly at both ends. Reference: Loshchilov and Hutter, arXiv 1608.03983."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("step")
def step(progress: float) -> float:
    """0.1 after half of the steps, 0.01 after three quarters."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
