"""What an engine is: a way to run training steps. Networks, optimizers and the training loop do not know which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chainrule.core.registry import Registry
from chainrule.nn.metrics import Evaluation
from chainrule.nn.parameters import Array

__all__ = ["ENGINES", "BatchResults", "ConcurrentEngine", "Engine", "LogitsPredictor", "NotCompilableError"]


class NotCompilableError(Exception):
    """A part cannot be turned into machine code; the message says which and why."""


@dataclass(frozen=True)
class BatchResults:
    """Results of consecutive batches.

    Attributes:
        losses: each batch's mean loss, float64. If the last one is not finite, its step was not taken and the batches
            after it were not run.
        score_sum: the sum of the samples' scores, each at the moment its batch was trained on; for the accuracy, the
            number of samples classified correctly.
    """

    losses: NDArray[np.float64]
    score_sum: float


class Engine(Protocol):
    """Made once for a network, an optimizer and a batch size, then called for many consecutive batches."""

    def train(self, x: Array, y: NDArray[Any], order: NDArray[np.int64], weights: Array | None = None) -> BatchResults:
        """Take the steps for the samples `order`, `batch_size` at a time.

        Args:
            x: all samples, (n, d).
            y: their targets, in the form that the objective's `check_targets` returns.
            order: indices of the samples to train on.
            weights: of all samples, (n,), with a mean of 1; None for equal ones.
        """

    def evaluate(self, x: Array, y: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, score and predictions on x (n, d) and their targets."""


@runtime_checkable
class ConcurrentEngine(Engine, Protocol):
    """An engine that runs without Python's lock (GIL), so that several can train at the same time."""

    def limit_threads(self, most: int) -> None:
        """Use at most this many threads from the next call on, which changes nothing but the time."""


class LogitsPredictor(Protocol):
    """Computes the output layer's z of a network for many samples."""

    def compute_logits(self, x: Array) -> Array:
        """(n, d) -> (n, k)."""


# Each makes an engine from a network, an optimizer, a batch size, a number of threads, of which 0 leaves the choice,
# a seed for dropout and augmentation, and an `Augmenter` or None.
ENGINES: Registry[Callable[..., Engine]] = Registry("engine")
