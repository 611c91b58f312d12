"""The compiled engine: the same rules as machine code, in loops without Python, around BLAS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.activations import ACTIVATIONS
from chainrule.arrays import Array, Labels, aligned_zeros
from chainrule.engine.base import ENGINES, Stretch
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.engine.threads import cores, step_threads
from chainrule.losses import LOSSES

if TYPE_CHECKING:
    from chainrule.engine.program import Program
    from chainrule.metrics import Evaluation
    from chainrule.network import NeuralNetwork
    from chainrule.optimizer import Optimizer

__all__ = ["CompiledEngine"]

# Samples that are evaluated in one go.
_EVALUATED_ROWS = 1024


@ENGINES.register("compiled")
class CompiledEngine:
    """Runs the programs of program.py with the driver of driver.py and the kernels of kernels.py.

    Raises:
        NotCompilableError: a rule cannot be compiled.
    """

    def __init__(self, network: NeuralNetwork, rule: Optimizer, batch_size: int, threads: int = 0) -> None:
        # Imported here because Numba takes a quarter of a second, which only those who use it should wait for.
        from chainrule.engine.driver import driver
        from chainrule.engine.kernels import compile_kernels

        self._network, self._rule, self._batch_size = network, rule, batch_size
        self._threads = threads or step_threads(batch_size)
        self._kernels = compile_kernels(
            ACTIVATIONS[network.activation], LOSSES[network.loss], type(rule), network.dtype
        )
        self._drive, self._called = driver(network.dtype)
        rule.allocate(network.parameters)
        most = max(cores(), self._threads)
        self._constants = [aligned_zeros(max(len(rule.update_arguments), 1), network.dtype) for _ in range(most)]
        self._programs: dict[tuple[str, int, int], Program] = {}
        self._pool = ThreadPoolExecutor(most)

    def train(self, x: Array, y: Labels, order: NDArray[np.int64]) -> Stretch:
        """Take the steps for the samples `order`, `batch_size` at a time."""
        # Machine code does not look where it reads.
        if len(order) and not 0 <= order.min() <= order.max() < min(len(x), len(y)):
            raise IndexError("order holds positions outside of the samples")
        order = np.ascontiguousarray(order, np.int64)
        whole, rest = divmod(len(order), self._batch_size)
        stretches = []
        if whole:
            stretches.append(self._steps(x, y, order, 0, whole, self._batch_size))
        if rest and (not stretches or np.isfinite(stretches[0].losses[-1])):
            stretches.append(self._steps(x, y, order, whole * self._batch_size, 1, rest))
        return Stretch(np.concatenate([s.losses for s in stretches]), sum(s.correct for s in stretches))

    def _steps(self, x: Array, y: Labels, order: NDArray[np.int64], first: int, steps: int, rows: int) -> Stretch:
        """Some steps of `rows` samples each."""
        rule = self._rule
        program = self._program("train", rows, min(self._threads, rows))
        for weights, transpose in program.transposes:
            transpose[...] = weights.T
        memories = [np.array([*rule.memory.values(), 0.0]) for _ in program.tables]
        losses, correct = np.zeros(steps), np.zeros(steps, np.int64)
        looked_at = self._run(program, x, y, order, first, steps, memories, losses, correct)
        taken = looked_at if np.isfinite(losses[looked_at - 1]) else looked_at - 1
        rule.time += taken
        rule.memory = dict(zip(rule.scalars, memories[0].tolist(), strict=False))
        return Stretch(losses[:looked_at], int(correct[:taken].sum()))

    def evaluate(self, x: Array, y: Labels) -> Evaluation:
        """Loss, accuracy and predictions on x (n, d) and y (n,)."""
        x, y = np.ascontiguousarray(self._network.check_samples(x)), self._network.check_labels(y)
        logits = np.empty((len(x), self._network.sizes[-1]), self._network.dtype)
        everything = np.arange(len(x))
        unused, memory = np.zeros(1), [np.zeros(len(self._rule.scalars) + 1) for _ in range(cores())]
        for start in range(0, len(x), _EVALUATED_ROWS):
            rows = min(_EVALUATED_ROWS, len(x) - start)
            program = self._program("evaluate", rows, min(cores(), -(-rows // 128)))
            self._run(program, x, y, everything, start, 1, memory, unused, np.zeros(1, np.int64))
            logits[start : start + rows] = program.logits
        return self._network.evaluate_logits(logits, y)

    def _program(self, kind: str, rows: int, threads: int) -> Program:
        """The program for so many rows, made once."""
        from chainrule.engine.program import evaluation_program, training_program

        key = (kind, rows, threads)
        if key not in self._programs:
            parameters = self._network.parameters
            if kind == "train":
                slots = [self._rule.state[slot].flat for slot in self._rule.slots]  # type: ignore[attr-defined]
                program = training_program(parameters, slots, rows, threads)
            else:
                program = evaluation_program(parameters, rows, threads)
            self._programs[key] = program
        return self._programs[key]

    def _run(
        self, program: Program, x: Array, y: Labels, order: NDArray[np.int64], first: int, steps: int,
        memories: list[NDArray[np.float64]], losses: NDArray[np.float64], correct: NDArray[np.int64],
    ) -> int:  # fmt: skip
        """Let each thread run its table; returns the steps looked at."""
        rule = self._rule
        settings = np.array(list(rule.options().values()), np.float64)
        kernels = self._kernels

        def work(thread: int) -> int:
            # The first thread's results count; the others compute the same and throw it away.
            mine = (losses, correct) if thread == 0 else (losses.copy(), correct.copy())
            with subnormals_as_zero():
                done: Any = self._drive(
                    program.tables[thread], x.ctypes.data, y.ctypes.data, order.ctypes.data, first, steps, program.rows,
                    rule.time, rule.weight_decay, settings.ctypes.data, memories[thread].ctypes.data,
                    self._constants[thread].ctypes.data, *mine, *self._called, kernels.activate, kernels.slope,
                    kernels.loss, kernels.prepare, kernels.update,
                )  # fmt: skip
            return int(done)

        others = [self._pool.submit(work, thread) for thread in range(1, len(program.tables))]
        looked_at = work(0)
        for other in others:
            other.result()
        return looked_at
