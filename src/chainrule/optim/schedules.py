"""Learning rate schedules: the factor by which the learning rate is multiplied as training goes on.

A schedule is a function of the progress, from 0 in the first step to 1 at the end of training, and returns a factor.
With a warm-up the learning rate first rises in equal steps, and the schedule is for the steps that remain.
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

__all__ = [
    *("SCHEDULES", "Schedule", "compute_factor", "constant", "coslog4", "cosine", "exponential", "linear"),
    *("one_cycle", "step"),
]

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


@SCHEDULES.register("exponential")
def exponential(progress: float) -> float:
    """0.01**progress: to a hundredth, by an equal ratio in each step."""
    return float(0.01**progress)


@SCHEDULES.register("one_cycle")
def one_cycle(progress: float) -> float:
    """From 0.04 to 1 in the first 30 % of the steps, and down to nearly 0 in the others, each by half a cosine.

    Reference: Smith and Topin, arXiv 1708.07120 (2017), with the proportions of PyTorch's OneCycleLR.
    """
    if progress < 0.3:
        return 0.04 + 0.96 * 0.5 * (1.0 - math.cos(math.pi * progress / 0.3))
    return 4e-6 + (1.0 - 4e-6) * 0.5 * (1.0 + math.cos(math.pi * (progress - 0.3) / 0.7))


@SCHEDULES.register("coslog4")
def coslog4(progress: float) -> float:
    """(1 - cos(2 pi log2(1 + 15 progress))) / 2: four cycles from 0 to 1 and back, each twice as long.

    Reference: Holzmueller, Grinsztajn and Steinwart, "Better by default", arXiv 2407.04491 (2024).
    """
    return 0.5 * (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * progress)))


def compute_factor(schedule: Schedule, count: float, steps: float, warmup: float) -> float:
    """The factor of a schedule after a warm-up.

    Args:
        schedule: the schedule.
        count: steps taken of those that it is for.
        steps: how many these are, at least 1.
        warmup: the fraction of them in which the learning rate rises from 0.
    """
    if count + 1.0 < warmup * steps:
        return (count + 1.0) / (warmup * steps)
    return schedule(max(min(count / steps, 1.0) - warmup, 0.0) / (1.0 - warmup))
