"""The forward pass alone, for many samples, with the compiled engine's kernels."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from chainrule.core.machine import cores
from chainrule.engine.compiled.runtime import Execution
from chainrule.engine.compiled.scalar_source import NotCompilableError
from chainrule.nn.parameters import Array, ParameterDict
from chainrule.optim.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from chainrule.engine.compiled.program import Program
    from chainrule.nn.network import Network

__all__ = ["Predictor", "holds_many_zeros", "predictor_of"]

# Samples of a block: their activations stay in a core's cache between layers.
_ROWS = 256
# Share of zeros in the samples from which looking for them takes less time than it saves.
_MANY_ZEROS = 0.4


class Predictor:
    """Computes logits.

    Args:
        parameters: of a network; read anew at each call.
        execution: the network's machine code.
        threads: how many; 0 for all cores.
    """

    def __init__(self, parameters: ParameterDict, execution: Execution, threads: int = 0) -> None:
        self._parameters, self._execution, self._threads = parameters, execution, threads or cores()
        self._programs: dict[tuple[int, bool], Program] = {}
        self._lock = threading.Lock()

    def logits(self, x: Array) -> Array:
        """The output layer's z: (n, d) -> (n, k)."""
        with self._lock:
            return self._logits(np.ascontiguousarray(x))

    def _logits(self, x: Array) -> Array:
        logits = np.empty((len(x), self._parameters.sizes[-1]), x.dtype)
        order, nothing = np.arange(len(x)), np.zeros(len(x), np.int64)
        zeros = holds_many_zeros(x[:_ROWS])
        whole, rest = divmod(len(x), _ROWS)
        for first, rows, steps in ((0, _ROWS, whole), (whole * _ROWS, rest, 1)):
            if rows and steps:
                program, unused = self._program(rows, zeros), (np.zeros(steps), np.zeros(steps, np.int64))
                program.logits_to(logits[first:])
                self._execution.run(program, x, nothing, order, first, steps, *unused)
        return logits

    def _program(self, rows: int, zeros: bool) -> Program:
        """The program for blocks of so many samples, made once."""
        from chainrule.engine.compiled.program import evaluation_program

        if (rows, zeros) not in self._programs:
            # Blocks of all lengths come up, but only one again and again.
            self._programs = {key: program for key, program in self._programs.items() if key[0] == _ROWS}
            threads = min(self._threads, -(-rows // 64))
            self._programs[rows, zeros] = evaluation_program(self._parameters, rows, threads, zeros=zeros)
        return self._programs[rows, zeros]


def holds_many_zeros(x: Array) -> bool:
    """Whether it pays to look for zeros in such samples."""
    return int(np.count_nonzero(x)) < (1 - _MANY_ZEROS) * x.size


_predictors: WeakKeyDictionary[Network, Predictor | None] = WeakKeyDictionary()


def predictor_of(network: Network) -> Predictor | None:
    """A network's predictor, made once; None where a part of it cannot be compiled."""
    if network not in _predictors:
        try:
            # An evaluation calls none of the rule's kernels; the driver wants to have some.
            execution = Execution(network, OPTIMIZERS["sgd"])
            _predictors[network] = Predictor(network.parameters, execution)
        except (NotCompilableError, ImportError):
            _predictors[network] = None
    return _predictors[network]
