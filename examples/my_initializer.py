"""A custom initializer: LeCun's, from "Efficient BackProp" (1998)."""

from __future__ import annotations

import math

from chainrule.nn.initializers import INITIALIZERS


@INITIALIZERS.register("LeCun")
class LeCun:
    """std = 1 / sqrt(fan_in): the pre-activations of a layer have the scale of its inputs."""

    @staticmethod
    def std(fan_in: int, fan_out: int) -> float:
        """1 / sqrt(fan_in)."""
        return 1 / math.sqrt(fan_in)
