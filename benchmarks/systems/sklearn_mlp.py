"""scikit-learn's MLPClassifier. It has Adam and SGD but no RMSprop, so it is compared under Adam.

`fit` with `warm_start`, a few passes over a part of the data at a time. Nothing is subtracted: each call checks its
input and makes the labels binary, about one hundredth of the time, as in real use. It adds the penalty to the loss in
every step. It has no switch for subnormal numbers, and none is set for it.
"""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
from problem import HYPERPARAMETERS, WEIGHT_DECAY, Data, Layers, Problem, initial_parameters
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

__all__ = ["SklearnMLP"]

# Samples of a pass: more than caches hold, few enough that a call makes several passes for one check of its input.
_SAMPLES_A_PASS = 16384
_SAMPLES_AT_LEAST = 128  # every class must be among them


class SklearnMLP:
    """Its stochastic solver, one batch after another. Threads are set by the environment (pool.py)."""

    def __init__(self, data: Data, threads: int | None) -> None:
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.version = sklearn.__version__
        self._x, self._y = data.x, data.y
        self._random = np.random.default_rng(0)

    def prepare(self, problem: Problem) -> None:
        """Let it allocate its arrays, then set the common initial parameters."""
        if problem.optimizer != "adam":
            raise ValueError("scikit-learn has no RMSprop")
        self._batch = problem.batch
        options = HYPERPARAMETERS["adam"]
        self._model = MLPClassifier(
            problem.sizes[1:-1],
            solver="adam",
            alpha=WEIGHT_DECAY * problem.batch,  # it divides the penalty by the batch size
            batch_size=problem.batch,
            learning_rate_init=options["learning_rate"],
            beta_1=options["beta1"],
            beta_2=options["beta2"],
            epsilon=options["epsilon"],
            shuffle=True,
            warm_start=True,
            n_iter_no_change=10**9,
            random_state=0,
            max_iter=1,
        )
        self._model.fit(self._x[:_SAMPLES_AT_LEAST], self._y[:_SAMPLES_AT_LEAST])
        layers = initial_parameters(problem.sizes)
        self._model.coefs_ = [weights for weights, _ in layers]
        self._model.intercepts_ = [biases for _, biases in layers]

    def steps(self, n: int) -> float:
        """Passes over a part of the data."""
        samples = min(max(n * self._batch, _SAMPLES_AT_LEAST), _SAMPLES_A_PASS) // self._batch * self._batch
        passes = max(1, round(n * self._batch / samples))
        start = int(self._random.integers(len(self._y) - samples + 1))
        self._model.set_params(max_iter=passes)
        self._model.fit(self._x[start : start + samples], self._y[start : start + samples])
        return samples // self._batch * passes

    def parameters(self) -> Layers:
        """The model's own."""
        return list(zip(self._model.coefs_, self._model.intercepts_, strict=True))

    def close(self) -> None:
        """Free the model."""
        del self._model
