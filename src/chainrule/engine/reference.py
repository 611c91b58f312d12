"""The reference engine: plain NumPy, one batch after another, easy to step through."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.base import ENGINES, Stretch
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.engine.threads import blas_threads, threads_for
from chainrule.nn.losses import LOSSES
from chainrule.nn.parameters import Array, Labels

if TYPE_CHECKING:
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network
    from chainrule.optim.optimizer import Optimizer

__all__ = ["NumpyEngine"]


@ENGINES.register("numpy", aliases=("reference",))
class NumpyEngine:
    """Runs `network.forward`, the loss, `network.backward` and `rule.step`, with one set of gradients reused."""

    def __init__(self, network: Network, rule: Optimizer, batch_size: int, threads: int = 0) -> None:
        self._network, self._rule, self._batch_size = network, rule, batch_size
        self._threads = threads or threads_for(batch_size)
        self._loss = LOSSES[network.loss]
        self._gradients = network.parameters.zeros_like()
        self._batch = np.empty((batch_size, network.sizes[0]), network.dtype)

    def train(self, x: Array, y: Labels, order: NDArray[np.int64]) -> Stretch:
        """Take the steps for the samples `order`, `batch_size` at a time."""
        network, losses, correct = self._network, [], 0
        # What overflows ends in a loss that is not finite, which is looked at; a warning would say it twice.
        with blas_threads(self._threads), subnormals_as_zero(), np.errstate(all="ignore"):
            for start in range(0, len(order), self._batch_size):
                chosen = order[start : start + self._batch_size]
                # mode="clip" lets NumPy write straight into the buffer; the indices are in range anyway.
                batch = x.take(chosen, axis=0, out=self._batch[: len(chosen)], mode="clip")
                labels = y[chosen]
                outputs = network.forward(batch)
                logits = outputs[-1][0]
                loss, delta = self._loss.value_and_gradient(logits, labels)
                losses.append(loss)
                if not math.isfinite(loss):
                    break
                correct += int(np.count_nonzero(logits.argmax(axis=1) == labels))
                network.backward(batch, outputs, delta, self._gradients)
                self._rule.step(network.parameters, self._gradients, loss=loss)
        return Stretch(np.array(losses, np.float64), correct)

    def evaluate(self, x: Array, y: Labels) -> Evaluation:
        """Loss, accuracy and predictions on x (n, d) and y (n,)."""
        with blas_threads(threads_for(len(x))), np.errstate(all="ignore"):
            labels = self._network.check_labels(y)
            return self._network.evaluate_logits(self._network.logits(self._network.check_samples(x)), labels)
