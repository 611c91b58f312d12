"""Running plans: a team of threads, each of which runs a step function over its own records."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.compiled import step
from chainrule.engine.compiled.binding import count_constants, list_hyperparameters
from chainrule.engine.compiled.intrinsics import load_yield
from chainrule.engine.compiled.kernels import compile_activation, compile_training
from chainrule.engine.compiled.losses import list_loss_constants
from chainrule.engine.compiled.products import compile_product, compile_transpose
from chainrule.engine.compiled.step_compiler import compile_steps
from chainrule.engine.compiled.workspace import Plan
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.augmentation import Augmenter
from chainrule.nn.dropout import count_dropped
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array, aligned_zeros
from chainrule.optim.optimizer import Optimizer

__all__ = ["EvaluationRunner", "ThreadTeam", "TrainingRunner"]


class ThreadTeam:
    """Threads that run one function each at the same time, and meet at barriers inside of it."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = self._process = 0
        # The arrays of a plan exist once, so two calls must not run at the same time.
        self._lock = threading.Lock()

    def run(self, plan: Plan, work: Callable[[int], int]) -> int:
        """Call `work(0)`, `work(1)`, ... at the same time, with subnormal numbers taken as 0.

        Args:
            plan: for as many threads.
            work: called with the number of the thread.

        Returns:
            What `work(0)` returned.
        """

        def guarded(thread: int) -> int:
            try:
                with subnormals_as_zero():
                    return work(thread)
            except BaseException:
                # Or the others would wait at a barrier forever.
                plan.barrier[1] = 1
                raise

        with self._lock:
            plan.barrier[:] = 0
            others: list[Future[int]] = []
            try:
                for thread in range(1, len(plan.threads)):
                    others.append(self._get_pool(len(plan.threads) - 1).submit(guarded, thread))
                result = guarded(0)
            except BaseException:
                plan.barrier[1] = 1
                # A thread that could not be started leaves its work in the queue, where the next call would run it.
                if self._pool:
                    self._pool.shutdown(cancel_futures=True)
                    self._pool = None
                raise
            wait(others)
            for other in others:
                other.result()
            return result

    def _get_pool(self, size: int) -> ThreadPoolExecutor:
        """A pool of at least this many threads: a plan needs all of its own at once."""
        # A process that was forked has inherited the pool without its threads.
        if self._pool is None or self._size < size or self._process != os.getpid():
            self._pool, self._size, self._process = ThreadPoolExecutor(size), size, os.getpid()
        return self._pool


class EvaluationRunner:
    """The machine code of a network's forward pass.

    Raises:
        NotCompilableError: the activation cannot be compiled.
    """

    def __init__(self, network: Network, team: ThreadTeam) -> None:
        self._team = team
        self._evaluate = compile_steps(step.evaluate, network.dtype)
        self._product = compile_product(network.dtype)
        self._activate = compile_activation(ACTIVATIONS[network.activation], network.dtype)

    def run(self, plan: Plan, x: Array, order: NDArray[np.int64], first: int, steps: int, logits: Array) -> None:
        """Compute the logits of consecutive batches.

        Args:
            plan: from `plan_evaluation`.
            x: samples, (n, d), contiguous.
            order: indices of the samples.
            first: where in the order the first batch starts.
            steps: number of batches.
            logits: written; row 0 belongs to the sample at `order[first]`. (steps * rows, k), contiguous.
        """

        def work(thread: int) -> int:
            done: int = self._evaluate(
                plan.threads[thread], plan.layers[thread], x.ctypes.data, order.ctypes.data, first, steps,
                logits.ctypes.data, self._product, self._activate,
            )  # fmt: skip
            return done

        self._team.run(plan, work)


class TrainingRunner:
    """The machine code of a network's training step with one optimizer.

    Args:
        network: trained in place.
        optimizer: its state is updated.
        team: the threads to use.
        seed: of dropout and augmentation, 0 to 2**63 - 1.
        augmenter: of the training images; None leaves samples as they are.
        soft: whether the targets of a classification are probabilities, (n, k), instead of class numbers.

    Raises:
        NotCompilableError: a part cannot be compiled.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        team: ThreadTeam,
        seed: int,
        augmenter: Augmenter | None,
        *,
        soft: bool = False,
    ) -> None:
        self._team, self._optimizer, self._dtype = team, optimizer, network.dtype
        self._augmenter = augmenter  # its settings are read by address
        self._objective, self._soft = network.objective, soft
        self._thread_fields = {
            "augmentation": augmenter.settings.ctypes.data if augmenter else 0,
            "seed": seed,
            "dropped": count_dropped(network.dropout),
            "inputs_dropped": count_dropped(network.input_dropout),
        }
        activation = ACTIVATIONS[network.activation]
        kernels = compile_training(activation, network.objective, optimizer, network.dtype, soft=soft)
        self._functions = (load_yield(), compile_product(network.dtype), compile_transpose(network.dtype), *kernels)
        list_loss_constants(network.objective, network.dtype)  # raises what cannot be compiled
        self._compiled_for = self._describe_variant()
        # Compiled now, so that a part that cannot be compiled is noticed before training starts.
        compile_steps(step.train_data_parallel, network.dtype)

    def is_current(self, *, soft: bool) -> bool:
        """Whether the machine code fits the targets and the optimizer, whose hyperparameters may have been changed."""
        return self._soft == soft and self._compiled_for == self._describe_variant()

    def _describe_variant(self) -> tuple[object, ...]:
        """The hyperparameters that select machine code, instead of being passed to it."""
        optimizer = self._optimizer
        switches = (optimizer.clip_value > 0, optimizer.clip_norm > 0, optimizer.warmup > 0, optimizer.ema_decay > 0)
        return optimizer.decay_type, optimizer.schedule, *switches, optimizer.has_factors

    def run(
        self,
        plan: Plan,
        x: Array,
        y: NDArray[Any],
        weights: Array | None,
        order: NDArray[np.int64],
        first: int,
        steps: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take steps, and update the optimizer's state.

        Args:
            plan: from `plan_training`.
            x: samples, (n, d), contiguous.
            y: their targets, (n,) int64 or (n, k) of the network's dtype, contiguous.
            weights: of the samples, (n,), contiguous, or None.
            order: indices of samples in the order of training.
            first: where in the order the first step's samples start.
            steps: how many.

        Returns:
            The mean loss of each step, and the sum of its samples' scores: `steps` of each, or fewer if the last loss
            is not finite, in which case that step was not taken.
        """
        optimizer, state, count = self._optimizer, self._optimizer.state, len(plan.threads)
        function = step.train_tensor_parallel if plan.tensor_parallel else step.train_data_parallel
        train = compile_steps(function, self._dtype)
        hyperparameters = list_hyperparameters(optimizer)
        # Every thread computes scalars and losses; those of the first thread are kept.
        # In the order of the machine code, whatever the state has.
        known = [state.scalars.get(name, 0.0) for name in optimizer.scalars]
        scalars = [np.array([*known, 0.0]) for _ in range(count)]
        loss_constants = list_loss_constants(self._objective, self._dtype)
        constants = [aligned_zeros(count_constants(optimizer), self._dtype) for _ in range(count)]
        rates = np.array(
            [optimizer.first_factor, optimizer.last_factor, optimizer.bias_factor, optimizer.clip_norm], np.float64
        )
        fields = self._thread_fields | {
            "shrink": count_constants(optimizer) - 1,
            "loss_constants": loss_constants.ctypes.data,
            "target_words": y[:1].nbytes // 4,
            "all_weights": 0 if weights is None else weights.ctypes.data,
        }
        losses = [np.zeros(steps) for _ in range(count)]
        scores = [np.zeros(steps) for _ in range(count)]

        scratch = [self._augmenter.make_scratch(x.dtype) for _ in range(count)] if self._augmenter else []

        def work(thread: int) -> int:
            for name, value in fields.items():
                plan.threads[thread][name] = value
            if scratch:
                plan.threads[thread]["scratch"] = scratch[thread].ctypes.data
            seen: int = train(
                plan.threads[thread], plan.layers[thread], x.ctypes.data, y.ctypes.data, order.ctypes.data, first,
                steps, state.step_count, optimizer.weight_decay, rates, hyperparameters.ctypes.data,
                scalars[thread].ctypes.data, constants[thread].ctypes.data, losses[thread], scores[thread],
                *self._functions,
            )  # fmt: skip
            return seen

        seen = self._team.run(plan, work)
        state.step_count += seen if np.isfinite(losses[0][seen - 1]) else seen - 1
        state.scalars = dict(zip(optimizer.scalars, scalars[0].tolist(), strict=False))
        return losses[0][:seen], scores[0][:seen]
