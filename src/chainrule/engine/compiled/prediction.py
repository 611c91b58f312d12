"""The forward pass alone, for many samples, with the compiled engine's kernels."""

from __future__ import annotations

import threading

import numpy as np

from chainrule.core.machine import cores
from chainrule.engine.compiled.runtime import EvaluationRunner, ThreadTeam
from chainrule.engine.compiled.workspace import Plan, plan_evaluation
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array

__all__ = ["Predictor", "has_many_zeros"]

# Samples of a block: their activations stay in a core's cache between layers.
_ROWS = 256
# Fewer rows than this for each thread are not worth waking it up.
_ROWS_PER_THREAD = 64
# Fraction of zeros in the samples from which skipping them saves more time than finding them takes.
_MANY_ZEROS = 0.4


class Predictor:
    """Computes the logits of a network.

    Args:
        network: its parameters are read anew at each call.
        team: the threads to use; without it, some of its own.
        threads: how many; 0 for all cores.

    Raises:
        NotCompilableError: the activation cannot be compiled.
    """

    def __init__(self, network: Network, team: ThreadTeam | None = None, threads: int = 0) -> None:
        self._network, self._threads = network, threads or cores()
        # Normalized layers are predicted by a network without, which absorbs them anew at each call.
        self._parameters = network.fold() if network.batch_norm else network.parameters
        self._runner = EvaluationRunner(network, team or ThreadTeam())
        self._plans: dict[tuple[int, bool], Plan] = {}
        self._lock = threading.Lock()

    def limit_threads(self, threads: int) -> None:
        """Use this many threads from the next call on."""
        with self._lock:
            self._threads = threads
            self._plans.clear()

    def compute_logits(self, x: Array) -> Array:
        """The output layer's z: (n, d) -> (n, k)."""
        with self._lock:
            if self._network.batch_norm:
                self._parameters.flat[...] = self._network.fold().flat
            x = np.ascontiguousarray(x)
            logits = np.empty((len(x), self._parameters.sizes[-1]), x.dtype)
            order, sparse = np.arange(len(x)), has_many_zeros(x[:_ROWS])
            whole, rest = divmod(len(x), _ROWS)
            for first, rows, steps in ((0, _ROWS, whole), (whole * _ROWS, rest, 1)):
                if rows and steps:
                    self._runner.run(self._get_plan(rows, sparse), x, order, first, steps, logits[first:])
            return logits

    def _get_plan(self, rows: int, sparse: bool) -> Plan:
        """The plan for blocks of this many rows, made once."""
        if (rows, sparse) not in self._plans:
            # Last blocks come in all lengths; only whole blocks come again and again.
            self._plans = {key: plan for key, plan in self._plans.items() if key[0] == _ROWS}
            threads = min(self._threads, -(-rows // _ROWS_PER_THREAD))
            self._plans[rows, sparse] = plan_evaluation(self._parameters, rows, threads, sparse=sparse)
        return self._plans[rows, sparse]


def has_many_zeros(x: Array) -> bool:
    """Whether products with these samples are faster when they skip zeros."""
    return int(np.count_nonzero(x)) < (1 - _MANY_ZEROS) * x.size
