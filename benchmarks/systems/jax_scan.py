"""JAX: the step, jitted, in a `lax.scan` over many batches, with donated parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import HYPERPARAMETERS, WEIGHT_DECAY, Data, Layers, Order, Problem, initial_parameters

__all__ = ["JaxScan"]

_SAMPLES_A_SCAN = 8192  # enough that starting a scan costs nothing beside it


class JaxScan:
    """A scan of fixed length, started as often as needed. Threads are set by the environment (pool.py)."""

    def __init__(self, data: Data, threads: int | None) -> None:
        self.version = jax.__version__
        self._x, self._y = jnp.asarray(data.x), jnp.asarray(data.y.astype(np.int32))

    def prepare(self, problem: Problem) -> None:
        """Compile for the problem's shapes."""
        self._batch = problem.batch
        self._order = Order(len(self._y))
        self._length = min(1024, _SAMPLES_A_SCAN // problem.batch)
        parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in initial_parameters(problem.sizes)]
        slots = 1 if problem.optimizer == "rmsprop" else 2
        zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(slots)]
        self._state = (parameters, zeros, jnp.zeros((), jnp.float32))
        optimizer = partial(_rmsprop if problem.optimizer == "rmsprop" else _adam, **HYPERPARAMETERS[problem.optimizer])
        scan = jax.jit(partial(_scan, optimizer), donate_argnums=0)
        example = jax.ShapeDtypeStruct((self._length, problem.batch), jnp.int32)
        self._scan = scan.lower(self._state, self._x, self._y, example).compile()

    def steps(self, n: int) -> float:
        """As many whole scans as n steps need."""
        scans = -(-n // self._length)
        batches = self._order.batches(scans * self._length, self._batch).astype(np.int32)
        for chosen in batches.reshape(scans, self._length, self._batch):
            self._state, losses = self._scan(self._state, self._x, self._y, jnp.asarray(chosen))
        jax.block_until_ready((self._state, losses))
        return scans * self._length

    def parameters(self) -> Layers:
        """Copies as NumPy arrays."""
        return [(np.array(w), np.array(b)) for w, b in self._state[0]]

    def close(self) -> None:
        """Free parameters and machine code."""
        del self._state, self._scan
        jax.clear_caches()


def _loss(parameters: Any, x: Any, y: Any) -> Any:
    a = x
    for number, (weights, biases) in enumerate(parameters, start=1):
        a = a @ weights + biases
        if number < len(parameters):
            a = jax.nn.relu(a)
    return -jnp.take_along_axis(jax.nn.log_softmax(a), y[:, None], axis=1).mean()


def _scan(optimizer: Any, state: Any, x: Any, y: Any, batches: Any) -> Any:
    def step(state: Any, chosen: Any) -> Any:
        parameters, slots, time = state
        # mode="clip" spares the check of every index; they are in range.
        images, labels = jnp.take(x, chosen, axis=0, mode="clip"), jnp.take(y, chosen, mode="clip")
        loss, gradients = jax.value_and_grad(_loss)(parameters, images, labels)
        gradients = [(g + WEIGHT_DECAY * w, h) for (g, h), (w, _) in zip(gradients, parameters, strict=True)]
        return optimizer(parameters, slots, gradients, time + 1), loss

    return jax.lax.scan(step, state, batches)


def _rmsprop(
    parameters: Any, slots: Any, gradients: Any, time: Any, learning_rate: float, beta: float, epsilon: float
) -> Any:
    square = jax.tree.map(lambda s, g: beta * s + (1 - beta) * g * g, slots[0], gradients)
    new = jax.tree.map(lambda w, g, s: w - learning_rate * g / (jnp.sqrt(s) + epsilon), parameters, gradients, square)
    return new, [square], time


def _adam(
    parameters: Any, slots: Any, gradients: Any, time: Any, learning_rate: float, beta1: float, beta2: float,
    epsilon: float,
) -> Any:  # fmt: skip
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, slots[0], gradients)
    square = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, slots[1], gradients)
    for_mean, for_square = 1 - beta1**time, 1 - beta2**time
    new = jax.tree.map(
        lambda w, m, v: w - learning_rate * (m / for_mean) / (jnp.sqrt(v / for_square) + epsilon),
        parameters, mean, square,
    )  # fmt: skip
    return new, [mean, square], time
