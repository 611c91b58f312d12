"""JAX with the parts of training_parts.py: the step, jitted, in a `lax.scan` over many batches, as in jax_scan.py.

Dropout uses `jax.random.bernoulli` with the default generator: on a CPU, the generators `rbg` and `unsafe_rbg` took
longer, and comparing 8, 16 or 32 random bits as long.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import HYPERPARAMETERS, Data, Layers, Order, Problem, initial_parameters
from training_parts import PARTS, Parts

from chainrule.nn.normalization import EPSILON, MOMENTUM, fold

__all__ = ["JaxScan"]

_ADAM = HYPERPARAMETERS["adam"]
_SAMPLES_A_SCAN = 8192


class JaxScan:
    """A scan of fixed length, started as often as needed. Threads are set by the environment (pool.py)."""

    def __init__(self, data: Data, threads: int | None) -> None:
        self.version = jax.__version__
        self._x, self._y = jnp.asarray(data.x), jnp.asarray(data.y.astype(np.int32))

    def prepare(self, problem: Problem) -> None:
        """Compile for the problem's shapes."""
        parts = PARTS[problem.parts]
        self._batch, self._order = problem.batch, Order(len(self._y))
        self._length = min(1024, _SAMPLES_A_SCAN // problem.batch)
        layers = [{"weights": jnp.asarray(w), "biases": jnp.asarray(b)} for w, b in initial_parameters(problem.sizes)]
        statistics = []
        if parts.batch_norm:
            for layer in layers[:-1]:
                layer["scales"] = jnp.ones_like(layer["biases"])
                statistics.append((jnp.zeros_like(layer["biases"]), jnp.ones_like(layer["biases"])))
        slots = [jax.tree.map(jnp.zeros_like, layers) for _ in range(3 if parts.ema_decay else 2)]
        key = jax.random.key(0)
        self._state = (layers, statistics, slots, jnp.zeros((), jnp.int32), key)
        step = partial(_take_step, parts)
        scan = jax.jit(partial(_scan, step), donate_argnums=0)
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
        """Copies as NumPy arrays, with the normalization folded into them."""
        layers: Layers = []
        for number, layer in enumerate(self._state[0]):
            weights, biases = np.array(layer["weights"]), np.array(layer["biases"])
            if "scales" in layer:
                statistics = [np.array(value) for value in self._state[1][number]]
                weights, biases = fold(weights, biases, np.array(layer["scales"]), *statistics)
            layers.append((weights, biases))
        return layers

    def close(self) -> None:
        """Free parameters and machine code."""
        del self._state, self._scan
        jax.clear_caches()


def _scan(step: Any, state: Any, x: Any, y: Any, batches: Any) -> Any:
    def take(state: Any, chosen: Any) -> Any:
        # mode="clip" spares the check of every index; they are in range.
        return step(state, jnp.take(x, chosen, axis=0, mode="clip"), jnp.take(y, chosen, mode="clip"))

    return jax.lax.scan(take, state, batches)


def _loss(layers: Any, x: Any, y: Any, parts: Parts, key: Any) -> Any:
    """The loss, and mean and variance of each normalized layer."""
    statistics = []
    for number, layer in enumerate(layers):
        z = x @ layer["weights"]
        if "scales" in layer:
            mean, variance = z.mean(axis=0), z.var(axis=0)
            statistics.append((mean, variance))
            z = (z - mean) * (layer["scales"] * jax.lax.rsqrt(variance + EPSILON))
        x = z = z + layer["biases"]
        if number < len(layers) - 1:
            x = jax.nn.relu(z)
            if parts.dropout:
                key, own = jax.random.split(key)
                stays = jax.random.bernoulli(own, 1 - parts.dropout, z.shape)
                x = jnp.where(stays, x / (1 - parts.dropout), 0)
    log_p = jax.nn.log_softmax(x)
    right = jnp.take_along_axis(log_p, y[:, None], axis=1)[:, 0]
    smoothing = parts.label_smoothing
    losses = -(1 - smoothing) * right - smoothing * log_p.mean(axis=1) if smoothing else -right
    return losses.mean(), statistics


def _take_step(parts: Parts, state: Any, x: Any, y: Any) -> Any:
    layers, statistics, slots, count, key = state
    key, own = jax.random.split(key) if parts.dropout else (key, key)
    (loss, new), gradients = jax.value_and_grad(_loss, has_aux=True)(layers, x, y, parts, own)
    statistics = jax.tree.map(lambda old, now: old + MOMENTUM * (now - old), statistics, new)
    if parts.clip_norm:
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradients)))
        shrink = jnp.minimum(1.0, parts.clip_norm / norm)
        gradients = jax.tree.map(lambda g: g * shrink, gradients)
    rate: Any = _ADAM["learning_rate"]
    if parts.cosine_steps:
        rate *= 0.5 * (1 + jnp.cos(jnp.pi * count / parts.cosine_steps))
    beta1, beta2, epsilon = _ADAM["beta1"], _ADAM["beta2"], _ADAM["epsilon"]
    count = count + 1
    for_mean, for_square = 1 - beta1 ** count.astype(jnp.float32), 1 - beta2 ** count.astype(jnp.float32)
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, slots[0], gradients)
    square = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, slots[1], gradients)

    def move(path: Any, w: Any, m: Any, v: Any) -> Any:
        step = (m / for_mean) / (jnp.sqrt(v / for_square) + epsilon)
        return w - rate * (step + parts.weight_decay * w if path[-1].key == "weights" else step)

    layers = jax.tree_util.tree_map_with_path(move, layers, mean, square)
    kept = parts.ema_decay
    averages = [jax.tree.map(lambda a, w: kept * a + (1 - kept) * w, average, layers) for average in slots[2:]]
    return (layers, statistics, [mean, square, *averages], count, key), loss
