"""A dense layer as a record: the views of its parameters, its buffers, and the function that follows its sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from chainrule.nn.activations import ACTIVATIONS, Activation
from chainrule.nn.parameters import Array, ParameterDict

__all__ = ["Layer", "build_layers"]


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        parameters: what is trained, by name: `weights` (fan_in, fan_out), `biases` (fan_out,), and `scales` (fan_out,)
            if the layer is normalized.
        activation: what follows z = a W + b; None in the output layer, whose z are the logits.
        buffers: arrays that belong to the layer but are not trained: `mean` and `variance` of a normalized layer.
    """

    parameters: Mapping[str, Array]
    activation: type[Activation] | None
    buffers: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def weights(self) -> Array:
        """(fan_in, fan_out)."""
        return self.parameters["weights"]

    @cached_property
    def biases(self) -> Array:
        """(fan_out,)."""
        return self.parameters["biases"]

    @cached_property
    def is_normalized(self) -> bool:
        """Whether batch normalization comes between the weighted sum and the activation."""
        return "scales" in self.parameters


def build_layers(parameters: ParameterDict, activation: str) -> tuple[Layer, ...]:
    """The layers of a network over its parameters: hidden layers with the activation of this name, then the output."""
    arrays = list(zip(parameters.by_layer(), parameters.buffers_by_layer(), strict=True))
    hidden = [Layer(own, ACTIVATIONS[activation], buffers) for own, buffers in arrays[:-1]]
    return (*hidden, Layer(arrays[-1][0], None))
