"""The floor: the work that no trainer with dense matrix products can avoid.

A step's matrix products alone (NumPy's BLAS, preallocated arrays), and one pass over the optimizer's memory: parameters
and square are read and written, gradients are read. No gather, no activation, no loss. A system that leaves out work,
such as products with pixels that are 0, can be below it.
"""

from __future__ import annotations

import numpy as np
from problem import Data, Floats, Layers, Problem, initial_parameters

__all__ = ["Floor"]


class Floor:
    """Matrix products and memory traffic."""

    def __init__(self, data: Data, threads: int | None) -> None:
        self.version = np.__version__
        self._x = data.x

    def prepare(self, problem: Problem) -> None:
        """Allocate everything, and list the products."""
        layers = initial_parameters(problem.sizes)
        self._flat, self._gradient, self._square = (
            np.full(sum(w.size + b.size for w, b in layers), 1e-3, np.float32) for _ in range(3)
        )
        activations = [np.array(self._x[: problem.batch])]
        activations += [np.full((problem.batch, size), 0.01, np.float32) for size in problem.sizes[1:]]
        deltas = [np.full((problem.batch, size), 0.01, np.float32) for size in problem.sizes]
        self._products: list[tuple[Floats, Floats, Floats]] = []
        for number, (weights, _) in enumerate(layers):
            self._products.append((activations[number], weights, np.empty_like(deltas[number + 1])))
        for number in reversed(range(len(layers))):
            weights = layers[number][0]
            self._products.append((activations[number].T, deltas[number + 1], np.empty_like(weights)))
            if number > 0:
                self._products.append((deltas[number + 1], weights.T, np.empty_like(deltas[number])))

    def steps(self, n: int) -> float:
        """The same work n times."""
        flat, gradient, square, one = self._flat, self._gradient, self._square, np.float32(1)
        for _ in range(n):
            for left, right, result in self._products:
                np.dot(left, right, out=result)  # for one sample, np.matmul takes five times as long
            np.add(square, gradient, out=square)
            np.multiply(flat, one, out=flat)
        return n

    def parameters(self) -> Layers:
        """None: nothing is trained."""
        return []

    def close(self) -> None:
        """Free the arrays."""
        self._products = []
