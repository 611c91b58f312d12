"""An optimizer of one's own: Lion, "evolved sign momentum", from arXiv 2302.06675 (2023)."""

from __future__ import annotations

import numpy as np

from chainrule.core.fields import Float
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import OPTIMIZERS, Optimizer


@OPTIMIZERS.register("lion")
class Lion(Optimizer):
    """Every element takes a step of the same length; only its sign comes from the gradients.

        c = blend * m + (1 - blend) * g
        m <- mean_decay * m + (1 - mean_decay) * g
        w <- w - learning_rate * sign(c)

    The paper calls the two settings beta1 and beta2, and decouples the weight decay from the gradient; here the L2
    penalty is a part of g, as in every chainrule rule. It asks for a learning rate 3 to 10 times smaller than Adam's.
    Reference: Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675 (2023), Algorithm 2.
    """

    blend = Float(0.9, "share of the remembered mean in the step's direction", flag="-blend", ge=0, lt=1)
    mean_decay = Float(0.99, "decay of the remembered mean of gradients", ge=0, lt=1)
    slots = ("mean",)

    @staticmethod
    def update(
        weight: Array, gradient: Array, mean: Array, learning_rate: float, blend: float, mean_decay: float
    ) -> tuple[Array, Array]:
        """The new weight and mean."""
        direction = np.sign(blend * mean + (1 - blend) * gradient)
        return weight - learning_rate * direction, mean_decay * mean + (1 - mean_decay) * gradient
