"""Initializers: the random weights that training starts from.

All weights equal would make all neurons of a layer learn the same; too small or too large, and the signal fades or
explodes from layer to layer. Xavier and He choose the standard deviation so that it keeps its size. Biases start at 0.

Each is a class with one method, `std(fan_in, fan_out)`: the standard deviation of the normal distribution that a layer
with `fan_in` inputs and `fan_out` outputs draws its (fan_in, fan_out) weights from.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.registry import Registry
from chainrule.nn.parameters import ParameterDict

__all__ = ["INITIALIZERS", "He", "Initializer", "RandomNormal", "Xavier", "initialize"]


class Initializer(Protocol):
    """A standard deviation for each layer's normally distributed weights."""

    @staticmethod
    def std(fan_in: int, fan_out: int) -> float:
        """The standard deviation for a layer with that many inputs and outputs."""


def _check_initializer(initializer: type[Initializer]) -> None:
    """Try a new initializer on one layer."""
    std = float(initializer.std(4, 3))
    if not (math.isfinite(std) and std >= 0):
        raise ConfigError(f"{initializer.__name__}.std must be a number of 0 or more, got {std} for a 4 x 3 layer.")


INITIALIZERS: Registry[type[Initializer]] = Registry("initializer", _check_initializer)


@INITIALIZERS.register("random", aliases=("random_normal",))
class RandomNormal:
    """std = 0.05 for every layer, whatever its size (the default of Keras's RandomNormal)."""

    @staticmethod
    def std(fan_in: int, fan_out: int) -> float:
        """0.05."""
        return 0.05


@INITIALIZERS.register("Xavier", aliases=("Glorot",))
class Xavier:
    """std = sqrt(2 / (fan_in + fan_out)): keeps both signals and gradients of one size through tanh-like layers.

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """

    @staticmethod
    def std(fan_in: int, fan_out: int) -> float:
        """sqrt(2 / (fan_in + fan_out))."""
        return math.sqrt(2 / (fan_in + fan_out))


@INITIALIZERS.register("He", aliases=("Kaiming",))
class He:
    """std = sqrt(2 / fan_in): makes up for the half of the signal that ReLU cuts off.

    Reference: He et al., "Delving Deep into Rectifiers", arXiv 1502.01852 (2015).
    """

    @staticmethod
    def std(fan_in: int, fan_out: int) -> float:
        """sqrt(2 / fan_in)."""
        return math.sqrt(2 / fan_in)


def initialize(parameters: ParameterDict, initializer: type[Initializer], random: np.random.Generator) -> None:
    """Draw new weights, layer by layer, and set biases to 0, scales and running variances to 1.

    Args:
        parameters: changed in place.
        initializer: gives each layer's standard deviation.
        random: where the numbers come from; drawn in float64 whatever the parameters' dtype, so that a float32 network
            starts from the float64 network's weights, rounded.
    """
    for layer in parameters.by_layer():
        weights = layer["weights"]
        weights[...] = random.normal(0.0, initializer.std(*weights.shape), weights.shape)
        layer["biases"][...] = 0
        layer.get("scales", weights[:0])[...] = 1
    for buffers in parameters.buffers_by_layer():
        for name, buffer in buffers.items():
            buffer[...] = name == "variance"
