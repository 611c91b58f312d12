"""Keras on its JAX backend: `model.fit`, as its users call it, with several steps in one compiled call."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from problem import HYPERPARAMETERS, WEIGHT_DECAY, Data, Layers, Problem, initial_parameters

__all__ = ["KerasFit"]

_STEPS_A_CALL = 16


class KerasFit:
    """One epoch over as many samples as the steps need. Threads are set by the environment (pool.py).

    Its RMSprop has epsilon inside the square root, and its L2 is a part of the loss: the same gradient, another printed
    loss.
    """

    def __init__(self, data: Data, threads: int | None) -> None:
        self.version = keras.__version__
        self._x, self._y = data.x, data.y.astype(np.int32)
        self._random = np.random.default_rng(0)

    def prepare(self, problem: Problem) -> None:
        """Build and compile the model, and take its first steps on copies of the parameters."""
        self._batch = problem.batch
        penalty = keras.regularizers.L2(WEIGHT_DECAY / 2)  # Keras: penalty * w**2, whose slope is 2 * penalty * w
        hidden, last = problem.sizes[1:-1], problem.sizes[-1]
        layers = [keras.layers.Dense(size, activation="relu", kernel_regularizer=penalty) for size in hidden]
        layers.append(keras.layers.Dense(last, kernel_regularizer=penalty))
        self._model = keras.Sequential([keras.Input((problem.sizes[0],)), *layers])
        rate, options = HYPERPARAMETERS[problem.optimizer]["learning_rate"], HYPERPARAMETERS[problem.optimizer]
        if problem.optimizer == "rmsprop":
            optimizer = keras.optimizers.RMSprop(rate, rho=options["beta"], epsilon=options["epsilon"])
        else:
            optimizer = keras.optimizers.Adam(rate, options["beta1"], options["beta2"], epsilon=options["epsilon"])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._model.compile(optimizer=optimizer, loss=loss, steps_per_execution=_STEPS_A_CALL)
        for layer, (weights, biases) in zip(layers, initial_parameters(problem.sizes), strict=True):
            layer.set_weights([weights, biases])

    def steps(self, n: int) -> float:
        """`fit` on a part of the data, or on all of it as many times as needed."""
        n = -(-n // _STEPS_A_CALL) * _STEPS_A_CALL
        steps_a_pass = len(self._y) // self._batch // _STEPS_A_CALL * _STEPS_A_CALL
        steps = min(n, steps_a_pass)
        passes = -(-n // steps)
        samples = steps * self._batch
        start = int(self._random.integers(len(self._y) - samples + 1))
        x, y = self._x[start : start + samples], self._y[start : start + samples]
        self._model.fit(x, y, batch_size=self._batch, epochs=passes, shuffle=True, verbose=0)
        return steps * passes

    def parameters(self) -> Layers:
        """Copies as NumPy arrays."""
        arrays = self._model.get_weights()
        return list(zip(arrays[0::2], arrays[1::2], strict=True))

    def close(self) -> None:
        """Drop the model and what Keras keeps of it."""
        del self._model
        keras.backend.clear_session()
