"""What an engine is: a way to run training steps. Networks, optimizers and the training loop do not know which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.core.registry import Registry
from chainrule.nn.parameters import Array, Labels

if TYPE_CHECKING:
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network
    from chainrule.optim.optimizer import Optimizer

__all__ = ["ENGINES", "Engine", "Stretch"]


@dataclass(frozen=True)
class Stretch:
    """What happened in a stretch of consecutive batches.

    Attributes:
        losses: each batch's mean loss, float64. If the last one is not finite, its step was not taken and the batches
            after it were not looked at.
        correct: samples classified correctly, each at the moment its batch was trained on.
    """

    losses: NDArray[np.float64]
    correct: int


class Engine(Protocol):
    """Made once for a network, a rule and a batch size; then asked for stretches of batches."""

    def __init__(self, network: Network, rule: Optimizer, batch_size: int, threads: int) -> None:
        """Allocate what the steps need. `threads` is the number of processor cores to use; 0 leaves the choice."""

    def train(self, x: Array, y: Labels, order: NDArray[np.int64]) -> Stretch:
        """Take the steps for the samples `order` (indices into x (n, d) and y (n,)), `batch_size` at a time."""

    def evaluate(self, x: Array, y: Labels) -> Evaluation:
        """Loss, accuracy and predictions on x (n, d) and y (n,)."""


ENGINES: Registry[type[Engine]] = Registry("engine")
