"""Running programs: each thread lets the driver go through its table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.activations import ACTIVATIONS
from chainrule.arrays import Array, Labels, aligned_zeros
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.losses import LOSSES

if TYPE_CHECKING:
    from chainrule.engine.program import Program
    from chainrule.network import NeuralNetwork
    from chainrule.optimizer import Optimizer

__all__ = ["Execution"]


class Execution:
    """The machine code for a network and a rule.

    Args:
        network: gives the activation, the loss and the precision.
        rule: the class of the optimizer.

    Raises:
        NotCompilableError: a part cannot be compiled.
    """

    def __init__(self, network: NeuralNetwork, rule: type[Optimizer]) -> None:
        # Imported here because Numba takes a quarter of a second, which only those who use it should wait for.
        from chainrule.engine.driver import driver
        from chainrule.engine.kernels import compile_kernels

        self._kernels = compile_kernels(ACTIVATIONS[network.activation], LOSSES[network.loss], rule, network.dtype)
        self._drive, self._called = driver(network.dtype)
        self._constants, self._dtype = max(len(rule.update_arguments), 1), network.dtype
        self._pool, self._waiting = ThreadPoolExecutor(1), 1

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
        time, decay = (rule.time, rule.weight_decay) if rule else (0, 0.0)
        settings = np.array(list(rule.options().values()) if rule else [0.0], np.float64)
        memories = [np.array([*(rule.memory.values() if rule else ()), 0.0]) for _ in program.tables]
        kernels = self._kernels

        def work(thread: int) -> int:
            # The first thread's results count; the others compute the same and throw it away.
            mine = (losses, correct) if thread == 0 else (losses.copy(), correct.copy())
            constants = aligned_zeros(self._constants, self._dtype)
            with subnormals_as_zero():
                done: Any = self._drive(
                    program.tables[thread], x.ctypes.data, y.ctypes.data, order.ctypes.data, first, steps, program.rows,
                    time, decay, settings.ctypes.data, memories[thread].ctypes.data, constants.ctypes.data, *mine,
                    *self._called, kernels.activate, kernels.slope, kernels.loss, kernels.prepare, kernels.update,
                )  # fmt: skip
            return int(done)

        if len(program.tables) - 1 > self._waiting:
            self._waiting = len(program.tables) - 1
            self._pool = ThreadPoolExecutor(self._waiting)
        others = [self._pool.submit(work, thread) for thread in range(1, len(program.tables))]
        looked_at = work(0)
        for other in others:
            other.result()
        if rule:
            rule.memory = dict(zip(rule.scalars, memories[0].tolist(), strict=False))
        return looked_at
