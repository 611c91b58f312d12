"""Running programs: each thread lets the driver go through its table."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.compiled.scalar_source import NotCompilableError
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.losses import LOSSES
from chainrule.nn.parameters import Array, Labels, aligned_zeros

if TYPE_CHECKING:
    from chainrule.engine.compiled.program import Program
    from chainrule.nn.network import Network
    from chainrule.optim.optimizer import Optimizer

__all__ = ["Execution"]


class Execution:
    """The machine code for a network and a rule.

    Args:
        network: gives the activation, the loss and the precision.
        rule: the class of the optimizer.

    Raises:
        NotCompilableError: a part cannot be compiled.
    """

    def __init__(self, network: Network, rule: type[Optimizer]) -> None:
        # Imported here because Numba takes a quarter of a second, which only those who use it should wait for.
        from chainrule.engine.compiled.driver import driver
        from chainrule.engine.compiled.kernels import compile_kernels

        self._kernels = compile_kernels(ACTIVATIONS[network.activation], LOSSES[network.loss], rule, network.dtype)
        self._drive, self._called = driver(network.dtype)
        for name, value in rule().as_dict().items():
            if not isinstance(value, int | float):
                raise NotCompilableError(f"the setting {name} of {rule.__name__} is no number")
        self._constants, self._dtype = max(len(rule.update_arguments), 1), network.dtype
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = self._process = 0
        # The arrays of a program are there once.
        self._lock = threading.Lock()

    def run(
        self, program: Program, x: Array, y: Labels, order: NDArray[np.int64], first: int, steps: int,
        losses: NDArray[np.float64], correct: NDArray[np.int64], rule: Optimizer | None = None,
    ) -> int:  # fmt: skip
        """Take steps with a program.

        Args:
            program: what a step does.
            x: samples, (n, d), in unbroken memory.
            y: their classes, (n,).
            order: positions of samples in x.
            first: where in `order` the first step's samples begin.
            steps: how many.
            losses: (steps,), written: each step's loss.
            correct: (steps,), written: each step's right answers.
            rule: the optimizer, whose memory is written; None where the program learns nothing.

        Returns:
            The steps looked at: `steps`, or fewer if the last one's loss is not finite.
        """
        with self._lock:
            return self._run(program, x, y, order, first, steps, losses, correct, rule)

    def _run(
        self, program: Program, x: Array, y: Labels, order: NDArray[np.int64], first: int, steps: int,
        losses: NDArray[np.float64], correct: NDArray[np.int64], rule: Optimizer | None,
    ) -> int:  # fmt: skip
        time, decay = (rule.time, rule.weight_decay) if rule else (0, 0.0)
        settings = np.array(list(rule.as_dict().values()) if rule else [0.0], np.float64)
        number, kernels = len(program.tables), self._kernels
        memories = [np.array([*(rule.memory.values() if rule else ()), 0.0]) for _ in range(number)]
        constants = [aligned_zeros(self._constants, self._dtype) for _ in range(number)]
        # The first thread's results count; the others compute the same and throw it away.
        results = [(losses, correct), *((losses.copy(), correct.copy()) for _ in range(1, number))]

        def work(thread: int) -> int:
            try:
                return go_through(thread)
            except BaseException:
                # Whoever waits for a thread that will never come would wait for ever.
                program.meeting[1] = 1
                raise

        def go_through(thread: int) -> int:
            with subnormals_as_zero():
                done: Any = self._drive(
                    program.tables[thread], x.ctypes.data, y.ctypes.data, order.ctypes.data, first, steps, program.rows,
                    time, decay, settings.ctypes.data, memories[thread].ctypes.data, constants[thread].ctypes.data,
                    *results[thread], *self._called, kernels.activate, kernels.slope, kernels.loss, kernels.prepare,
                    kernels.update,
                )  # fmt: skip
            return int(done)

        program.meeting[:] = 0
        others: list[Future[int]] = []
        try:
            others += [self._threads(number - 1).submit(work, thread) for thread in range(1, number)]
            looked_at = work(0)
        except BaseException:
            program.meeting[1] = 1
            raise
        finally:
            wait(others)
        for other in others:
            other.result()
        if rule:
            rule.memory = dict(zip(rule.scalars, memories[0].tolist(), strict=False))
        return looked_at

    def _threads(self, number: int) -> ThreadPoolExecutor:
        """At least so many threads that wait for work: a program needs all of its own at once."""
        # A process that was forked has inherited the pool without its threads.
        if self._pool is None or self._waiting < number or self._process != os.getpid():
            self._pool, self._waiting, self._process = ThreadPoolExecutor(number), number, os.getpid()
        return self._pool
