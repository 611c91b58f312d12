"""The reference engine: plain NumPy, one batch after another, easy to step through."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.base import BatchResults
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.engine.threads import blas_threads, threads_for
from chainrule.nn.augmentation import Augmenter
from chainrule.nn.dropout import derive_key
from chainrule.nn.metrics import Evaluation
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import Optimizer

__all__ = ["ReferenceEngine"]


class ReferenceEngine:
    """Runs `network.forward`, the loss, `network.backward` and `optimizer.step`, reusing one set of gradients."""

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        batch_size: int,
        threads: int = 0,
        seed: int = 0,
        augmenter: Augmenter | None = None,
    ) -> None:
        self._network, self._optimizer, self._batch_size, self._seed = network, optimizer, batch_size, seed
        self._augmenter = augmenter
        self._threads = threads or threads_for(batch_size)
        self._gradients = network.parameters.zeros_like()
        self._batch = np.empty((batch_size, network.sizes[0]), network.dtype)

    def train(self, x: Array, y: NDArray[Any], order: NDArray[np.int64], weights: Array | None = None) -> BatchResults:
        """Take the steps for the samples `order`, `batch_size` at a time."""
        network, objective, losses, score_sum = self._network, self._network.objective, [], 0.0
        # What overflows ends in a loss that is not finite, which is checked; a warning would say it twice.
        with blas_threads(self._threads), subnormals_as_zero(), np.errstate(all="ignore"):
            for start in range(0, len(order), self._batch_size):
                chosen = order[start : start + self._batch_size]
                # mode="clip" lets NumPy write straight into the buffer; the indices are in range anyway.
                batch = x.take(chosen, axis=0, out=self._batch[: len(chosen)], mode="clip")
                targets, own_weights = y[chosen], None if weights is None else weights[chosen]
                key = derive_key(self._seed, self._optimizer.state.step_count)
                if self._augmenter:
                    batch = self._augmenter.mix(self._augmenter.apply(batch, key), key)
                    targets = self._augmenter.mix(targets, key)
                outputs = network.forward(batch, key)
                network.track(outputs)
                logits = outputs[-1].z
                loss, delta = objective.loss_and_gradient(logits, targets, own_weights)
                losses.append(loss)
                if not math.isfinite(loss):
                    break
                score_sum += objective.sum_scores(logits, targets, own_weights)
                network.backward(outputs, delta, self._gradients, key)
                self._optimizer.step(network.parameters, self._gradients, loss=loss)
        return BatchResults(np.array(losses, np.float64), score_sum)

    def evaluate(self, x: Array, y: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, score and predictions on x (n, d) and their targets."""
        with blas_threads(threads_for(len(x))), np.errstate(all="ignore"):
            targets = self._network.check_targets(y)
            logits = self._network.logits(self._network.check_samples(x))
            return self._network.objective.evaluate(logits, targets, weights)
