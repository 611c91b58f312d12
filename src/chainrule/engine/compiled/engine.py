"""The compiled engine: the same rules as machine code, in loops without Python, on all cores where that is faster."""

from __future__ import annotations

import operator
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.base import ENGINES, Stretch
from chainrule.engine.compiled.prediction import Predictor, holds_many_zeros
from chainrule.engine.compiled.runtime import Execution
from chainrule.engine.threads import Choice
from chainrule.nn.parameters import Array, Labels

if TYPE_CHECKING:
    from chainrule.engine.compiled.program import Program
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network
    from chainrule.optim.optimizer import Optimizer

__all__ = ["CompiledEngine"]

# Samples on which a number of threads is tried.
_SAMPLES_OF_A_TRIAL = 2048


@ENGINES.register("compiled")
class CompiledEngine:
    """Runs the programs of program.py with the driver of driver.py and the kernels of kernels.py.

    The number of threads changes nothing but the time, so it may change from stretch to stretch.

    Raises:
        NotCompilableError: a rule cannot be compiled.
    """

    def __init__(self, network: Network, rule: Optimizer, batch_size: int, threads: int = 0) -> None:
        self._network, self._rule, self._batch_size = network, rule, batch_size
        self._execution = Execution(network, type(rule))
        self._predictor = Predictor(network.parameters, self._execution, threads)
        self._choice = Choice(threads)
        self._programs: dict[tuple[int, int], Program] = {}
        self._arrays: list[object] = []
        self._zeros: bool | None = None

    def train(self, x: Array, y: Labels, order: NDArray[np.int64]) -> Stretch:
        """Take the steps for the samples `order`, `batch_size` at a time."""
        # Machine code does not look where it reads.
        x = np.ascontiguousarray(self._network.check_samples(x))
        y = np.ascontiguousarray(y, np.int64)
        if len(order) and not 0 <= order.min() <= order.max() < min(len(x), len(y)):
            raise IndexError("order holds positions outside of the samples")
        order = np.ascontiguousarray(order, np.int64)
        self._see_that_arrays_stand()
        if self._zeros is None:
            self._zeros = holds_many_zeros(x[order[:256]])
        whole, rest = divmod(len(order), self._batch_size)
        stretches: list[Stretch] = []
        done = 0
        while done < whole and (not stretches or np.isfinite(stretches[-1].losses[-1])):
            program = self._program(self._batch_size, self._choice.threads)
            few = max(1, _SAMPLES_OF_A_TRIAL // self._batch_size)
            steps = min(whole - done, few) if self._choice.trying else whole - done
            began = time.perf_counter()
            stretches.append(self._steps(program, x, y, order, done * self._batch_size, steps))
            # Fewer steps, the last ones of an epoch say, take longer to wake up for than to take.
            if steps >= few:
                self._choice.learn(time.perf_counter() - began, len(stretches[-1].losses), few)
            done += steps
        if rest and (not stretches or np.isfinite(stretches[-1].losses[-1])):
            program = self._program(rest, self._choice.threads)
            stretches.append(self._steps(program, x, y, order, whole * self._batch_size, 1))
        return Stretch(np.concatenate([np.zeros(0), *(s.losses for s in stretches)]), sum(s.correct for s in stretches))

    def _steps(
        self, program: Program, x: Array, y: Labels, order: NDArray[np.int64], first: int, steps: int
    ) -> Stretch:
        """Some steps of as many samples as the program takes."""
        for weights, transpose in program.transposes:
            transpose[...] = weights.T
        losses, correct = np.zeros(steps), np.zeros(steps, np.int64)
        looked_at = self._execution.run(program, x, y, order, first, steps, losses, correct, self._rule)
        taken = looked_at if np.isfinite(losses[looked_at - 1]) else looked_at - 1
        self._rule.time += taken
        return Stretch(losses[:looked_at], int(correct[:taken].sum()))

    def _see_that_arrays_stand(self) -> None:
        """Make the programs anew if the optimizer has got other arrays, as another engine may have given it."""
        self._rule.allocate(self._network.parameters)
        arrays: list[object] = [self._network.parameters, *(self._rule.state[slot] for slot in self._rule.slots)]
        if len(arrays) != len(self._arrays) or any(map(operator.is_not, arrays, self._arrays)):
            self._programs.clear()
            self._arrays = arrays

    def _program(self, rows: int, threads: int) -> Program:
        """The program for so many rows and threads, made once."""
        from chainrule.engine.compiled.program import training_program

        if (rows, threads) not in self._programs:
            slots = [self._rule.state[slot].flat for slot in self._rule.slots]  # type: ignore[attr-defined]
            self._programs[rows, threads] = training_program(
                self._network.parameters, slots, rows, threads, zeros=bool(self._zeros)
            )
        return self._programs[rows, threads]

    def evaluate(self, x: Array, y: Labels) -> Evaluation:
        """Loss, accuracy and predictions on x (n, d) and y (n,)."""
        labels = self._network.check_labels(y)
        return self._network.evaluate_logits(self._predictor.logits(self._network.check_samples(x)), labels)
