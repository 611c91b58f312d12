"""A custom learning rate schedule: linear warmup, then cosine decay."""

from __future__ import annotations

import math

from chainrule.optim.schedules import SCHEDULES


@SCHEDULES.register("warmup_cosine")
def warmup_cosine(progress: float) -> float:
    """From 0.1 to 1 during the first tenth of training, then to 0 along half a cosine."""
    if progress < 0.1:
        return 0.1 + 9 * progress
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))
