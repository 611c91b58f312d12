"""The compiled engine: the same rules as machine code, in loops without Python, on all cores where that is faster."""

from __future__ import annotations

import operator
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ConfigError
from chainrule.engine.base import BatchResults, NotCompilableError
from chainrule.engine.compiled.prediction import Predictor, has_many_zeros
from chainrule.engine.compiled.runtime import ThreadTeam, TrainingRunner
from chainrule.engine.compiled.workspace import Plan, plan_training
from chainrule.engine.threads import ThreadTuner
from chainrule.nn.augmentation import Augmenter
from chainrule.nn.metrics import Evaluation
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import Optimizer

__all__ = ["CompiledEngine"]

# Samples on which a number of threads is tried.
_TRIAL_SAMPLES = 2048
# Samples in which zeros are counted.
_INSPECTED = 256


class CompiledEngine:
    """Trains with the step functions of step.py and the kernels of kernels.py.

    The number of threads changes nothing but the time, so it may change from call to call.

    Raises:
        NotCompilableError: a rule cannot be compiled.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        batch_size: int,
        threads: int = 0,
        seed: int = 0,
        augmenter: Augmenter | None = None,
    ) -> None:
        self._network, self._optimizer, self._batch_size = network, optimizer, batch_size
        self._team = ThreadTeam()
        self._make_runner = partial(TrainingRunner, network, optimizer, self._team, seed, augmenter)
        self._runner = self._make_runner()
        self._predictor = Predictor(network, self._team, threads)
        self._threads, self._most = threads, 0
        self._tuner = ThreadTuner(threads)
        self._plans: dict[tuple[int, int], Plan] = {}
        self._planned_for: list[object] = []
        self._sparse: bool | None = None

    def train(self, x: Array, y: NDArray[Any], order: NDArray[np.int64], weights: Array | None = None) -> BatchResults:
        """Take the steps for the samples `order`, `batch_size` at a time."""
        # Machine code does not check its indices.
        x = self._network.check_samples(x)
        has_classes, is_soft = self._network.objective.has_classes, np.ndim(y) == 2
        has_labels = has_classes and not is_soft
        targets = np.ascontiguousarray(y, np.int64 if has_labels else self._network.dtype)
        if not has_labels and targets.shape[1:] != (self._network.sizes[-1],):
            raise ConfigError(f"y must have the shape (n, {self._network.sizes[-1]}), got {targets.shape}.")
        if weights is not None:
            weights = np.ascontiguousarray(weights, self._network.dtype)
            if weights.shape != (len(x),):
                raise ConfigError(f"weights must have the shape ({len(x)},), got {weights.shape}.")
        if len(order) and not 0 <= order.min() <= order.max() < min(len(x), len(targets)):
            raise IndexError("order holds indices outside of the samples")
        order = np.ascontiguousarray(order, np.int64)
        soft = has_classes and is_soft
        if not self._runner.is_current(soft=soft):
            try:
                self._runner = self._make_runner(soft=soft)
            except NotCompilableError as error:
                raise ConfigError(
                    f"The optimizer was changed to what only the numpy engine can run: {error}."
                ) from error
        self._drop_stale_plans()
        if self._sparse is None:
            self._sparse = has_many_zeros(x[order[:_INSPECTED]])
        whole, rest = divmod(len(order), self._batch_size)
        losses, scores = [np.zeros(0)], [np.zeros(0)]
        done, diverged = 0, False
        while done < whole and not diverged:
            few = max(1, _TRIAL_SAMPLES // self._batch_size)
            steps = min(whole - done, few) if self._tuner.trying else whole - done
            plan = self._get_plan(self._batch_size, self._tuner.threads)
            start = time.perf_counter()
            diverged = self._take_steps(
                plan, x, targets, weights, order, done * self._batch_size, steps, losses, scores
            )
            # Fewer steps, the last ones of an epoch say, take less time than waking up the threads.
            if steps >= few:
                self._tuner.record(time.perf_counter() - start, len(losses[-1]), few)
            done += steps
        if rest and not diverged:
            plan = self._get_plan(rest, self._tuner.threads)
            self._take_steps(plan, x, targets, weights, order, whole * self._batch_size, 1, losses, scores)
        return BatchResults(np.concatenate(losses), float(np.concatenate(scores).sum()))

    def limit_threads(self, most: int) -> None:
        """Use at most this many threads from the next call on, which changes nothing but the time."""
        if most != self._most:
            self._most = most
            self._tuner = ThreadTuner(min(self._threads, most), most)
            self._predictor.limit_threads(min(self._threads or most, most))

    def _take_steps(
        self, plan: Plan, x: Array, targets: NDArray[Any], weights: Array | None, order: NDArray[np.int64], first: int,
        steps: int, losses: list[NDArray[np.float64]], scores: list[NDArray[np.float64]],
    ) -> bool:  # fmt: skip
        """Take steps, append their results, and return whether the last loss is not finite."""
        for matrix, transpose in plan.transposes:
            transpose[...] = matrix.T
        new_losses, new_scores = self._runner.run(plan, x, targets, weights, order, first, steps)
        losses.append(new_losses)
        # A step that was not taken has no score.
        scores.append(new_scores[np.isfinite(new_losses)])
        return not np.isfinite(new_losses[-1])

    def _drop_stale_plans(self) -> None:
        """Drop the plans if parameters or optimizer state were reallocated since they were made."""
        self._optimizer.allocate(self._network.parameters)
        slots = self._optimizer.state.slots
        arrays: list[object] = [self._network.parameters, *(slots[slot] for slot in self._optimizer.kept_slots)]
        arrays.append(bool(self._optimizer.clip_norm))
        if len(arrays) != len(self._planned_for) or any(map(operator.is_not, arrays, self._planned_for)):
            self._plans.clear()
            self._planned_for = arrays

    def _get_plan(self, rows: int, threads: int) -> Plan:
        """The plan for this many rows and threads, made once."""
        if (rows, threads) not in self._plans:
            slots = [self._optimizer.state.slots[slot].flat for slot in self._optimizer.kept_slots]  # type: ignore[attr-defined]
            self._plans[rows, threads] = plan_training(
                self._network.parameters, slots, rows, threads, sparse=bool(self._sparse),
                keep_gradients=self._optimizer.clip_norm > 0,
            )  # fmt: skip
        return self._plans[rows, threads]

    def evaluate(self, x: Array, y: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, score and predictions on x (n, d) and their targets."""
        targets = self._network.check_targets(y)
        logits = self._predictor.compute_logits(self._network.check_samples(x))
        return self._network.objective.evaluate(logits, targets, weights)
