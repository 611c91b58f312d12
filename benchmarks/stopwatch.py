"""The child's side of speed.py: one system, its problems, and a clock."""

from __future__ import annotations

import time
from pathlib import Path

from problem import Data, Problem, mean_loss
from systems import load_system

__all__ = ["Stopwatch"]

_LOSS_SAMPLES = 2048
_WARM_UP = 0.2  # seconds


class Stopwatch:
    """Prepares a problem, then measures it as often as it is asked.

    Args:
        target: the system, as module:class.
        folder: where the data lie (problem.py).
        threads: how many it may use; None for its own choice.
    """

    def __init__(self, target: str, folder: str, threads: int | None) -> None:
        self._data = Data.open(Path(folder))
        self._system = load_system(target, self._data, threads)

    def version(self) -> str:
        """The version of the library."""
        return self._system.version

    def prepare(self, network: str, batch: int, rule: str, seconds: float) -> dict[str, float]:
        """Build, compile and warm up a problem, and find how many steps take about that many seconds."""
        began = time.perf_counter()
        self._system.prepare(Problem(network, batch, rule))
        self._system.steps(1)
        prepared = time.perf_counter() - began
        n = 1
        while True:
            began = time.perf_counter()
            done = self._system.steps(n)
            elapsed = time.perf_counter() - began
            if elapsed >= _WARM_UP:
                break
            n = max(n + 1, min(4 * n, int(1.2 * _WARM_UP * done / elapsed)))
        self._n = max(1, round(seconds * done / elapsed))
        return {"prepare_seconds": prepared, "loss": self._loss()}

    def measure(self) -> float:
        """Seconds a step, over one stretch of steps."""
        return self._once(self._n)

    def finish(self) -> float:
        """The loss after all that was measured. Frees the problem."""
        loss = self._loss()
        self._system.close()
        return loss

    def losses(self, network: str, batch: int, rule: str, steps: int) -> dict[str, float]:
        """From the common first weights, at least so many steps: the loss before, after, and the steps really taken."""
        self._system.prepare(Problem(network, batch, rule))
        before = self._loss()
        taken = self._system.steps(steps)
        after = self._loss()
        self._system.close()
        return {"before": before, "after": after, "steps": taken}

    def _once(self, n: int) -> float:
        began = time.perf_counter()
        done = self._system.steps(n)
        return (time.perf_counter() - began) / done

    def _loss(self) -> float:
        layers = self._system.parameters()
        return mean_loss(layers, self._data.x[:_LOSS_SAMPLES], self._data.y[:_LOSS_SAMPLES]) if layers else 0.0
