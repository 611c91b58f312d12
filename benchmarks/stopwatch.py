"""The child process of speed.py: times the training steps of one system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from problem import Data, Problem, mean_loss
from systems import load_system

__all__ = ["Stopwatch"]

_LOSS_SAMPLES = 2048
_WARM_UP = 0.2  # seconds


class Stopwatch:
    """Prepares a problem, then measures it repeatedly.

    Args:
        target: the system, as module:class.
        folder: folder of the data (problem.py).
        threads: number of threads; None for the system's own choice.
    """

    def __init__(self, target: str, folder: str, threads: int | None) -> None:
        self._data = Data.open(Path(folder))
        self._system = load_system(target, self._data, threads)

    def version(self) -> str:
        """Return the version of the library."""
        return self._system.version

    def prepare(self, seconds: float, **problem: Any) -> dict[str, float]:
        """Build, compile and warm up a problem, and choose the number of steps that takes about `seconds`."""
        start = time.perf_counter()
        self._system.prepare(Problem(**problem))
        self._system.steps(1)
        prepared = time.perf_counter() - start
        n = 1
        while True:
            start = time.perf_counter()
            done = self._system.steps(n)
            elapsed = time.perf_counter() - start
            if elapsed >= _WARM_UP:
                break
            n = max(n + 1, min(4 * n, int(1.2 * _WARM_UP * done / elapsed)))
        self._n = max(1, round(seconds * done / elapsed))
        return {"prepare_seconds": prepared, "loss": self._compute_loss()}

    def measure(self) -> float:
        """Measure the seconds per step."""
        return self._time_steps(self._n)

    def finish(self) -> float:
        """Return the loss after all measurements, and free the problem."""
        loss = self._compute_loss()
        self._system.close()
        return loss

    def losses(self, steps: int, **problem: Any) -> dict[str, float]:
        """Train for at least `steps` from the common initial parameters: loss before and after, and steps taken."""
        self._system.prepare(Problem(**problem))
        before = self._compute_loss()
        taken = self._system.steps(steps)
        after = self._compute_loss()
        self._system.close()
        return {"before": before, "after": after, "steps": taken}

    def save_parameters(self, steps: int, file: str, **problem: Any) -> float:
        """Train for at least `steps` from the common initial parameters, and write the parameters to an .npz file."""
        self._system.prepare(Problem(**problem))
        taken = self._system.steps(steps)
        np.savez(file, *sum(self._system.parameters(), ()))
        self._system.close()
        return taken

    def _time_steps(self, n: int) -> float:
        start = time.perf_counter()
        done = self._system.steps(n)
        return (time.perf_counter() - start) / done

    def _compute_loss(self) -> float:
        layers = self._system.parameters()
        return mean_loss(layers, self._data.x[:_LOSS_SAMPLES], self._data.y[:_LOSS_SAMPLES]) if layers else 0.0
