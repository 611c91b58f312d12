"""A custom optimizer: Lion, "evolved sign momentum", arXiv 2302.06675 (2023)."""

from __future__ import annotations

import numpy as np

from chainrule.core.fields import Float
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import OPTIMIZERS, Optimizer


@OPTIMIZERS.register("my_lion")
class Lion(Optimizer):
    """Steps of the same length in every element; only their sign depends on the gradients.

        c = blend * m + (1 - blend) * g
        m <- mean_decay * m + (1 - mean_decay) * g
        w <- w - learning_rate * sign(c)

    The paper calls the hyperparameters beta1 and beta2, uses decoupled weight decay (decay_type="decoupled"), and
    recommends a learning rate 3 to 10 times smaller than Adam's.
    Reference: Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675 (2023), Algorithm 2.
    """

    learning_rate = Float(0.0001, "learning rate", flag="-lr", gt=0)
    blend = Float(0.9, "weight of the mean of gradients in the direction of the step", flag="-blend", ge=0, lt=1)
    mean_decay = Float(0.99, "decay of the mean of gradients", ge=0, lt=1)
    slots = ("mean",)

    @staticmethod
    def update(
        gradient: Array, mean: Array, learning_rate: float, blend: float, mean_decay: float
    ) -> tuple[Array, Array]:
        """The step and the new mean."""
        step = learning_rate * np.sign(blend * mean + (1 - blend) * gradient)
        return step, mean_decay * mean + (1 - mean_decay) * gradient
