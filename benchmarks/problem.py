"""The problems: network, batch size and optimizer, with equal float32 data and initial parameters for every system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BATCHES",
    "HYPERPARAMETERS",
    "NETWORKS",
    "OPTIMIZER_NAMES",
    "WEIGHT_DECAY",
    "Data",
    "Layers",
    "Order",
    "Problem",
    "initial_parameters",
    "mean_loss",
    "store",
]

NETWORKS = ("784-128-10", "784-128x4-10", "784-512x3-10")
BATCHES = (1, 16, 64, 256, 1024)
WEIGHT_DECAY = 5e-4
HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "rmsprop": {"learning_rate": 1e-4, "beta": 0.9, "epsilon": 1e-6},
    "adam": {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
}

OPTIMIZER_NAMES = {"rmsprop": "RMSprop", "adam": "Adam"}

Floats = NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]


@dataclass(frozen=True)
class Problem:
    """A training step to measure.

    Attributes:
        network: the widths of its layers, such as one of NETWORKS; 128x4 means four layers of 128.
        batch: samples a step.
        optimizer: the optimizer, a key of HYPERPARAMETERS.
        parts: what is added to the step, a key of PARTS; "" for an L2 penalty of WEIGHT_DECAY on the weights alone.
    """

    network: str
    batch: int
    optimizer: str = "rmsprop"
    parts: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of each layer, inputs first."""
        sizes: list[int] = []
        for layers in self.network.split("-"):
            width, _, count = layers.partition("x")
            sizes += [int(width)] * int(count or 1)
        return tuple(sizes)

    @property
    def name(self) -> str:
        """The name in `--problems`, such as 784-128x4-10/16."""
        return f"{self.network}/{self.batch}"


@dataclass(frozen=True)
class Data:
    """Fashion-MNIST's training images (n, 784) as float32 from 0 to 1, and their classes (n,) as int64."""

    x: Floats
    y: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> Data:
        """Map the arrays that `store` wrote into memory, so that all processes share one copy."""
        # Copy-on-write instead of read-only: PyTorch warns about read-only arrays.
        x, y = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in ("x", "y"))
        return cls(x, y)


def store(folder: Path, dataset: str) -> None:
    """Write the training samples of a dataset, for `Data.open`."""
    from chainrule import load_dataset

    data = load_dataset(dataset, seed=0)
    np.save(folder / "x.npy", np.ascontiguousarray(data.x_train, np.float32))
    np.save(folder / "y.npy", np.ascontiguousarray(data.y_train, np.int64))


def initial_parameters(sizes: Sequence[int]) -> Layers:
    """Draw Xavier weights (fan_in, fan_out), equal in every process; biases are 0."""
    random = np.random.default_rng(0)
    layers: Layers = []
    for fan_in, fan_out in pairwise(sizes):
        weights = random.standard_normal((fan_in, fan_out), np.float32) * np.float32(np.sqrt(2 / (fan_in + fan_out)))
        layers.append((weights, np.zeros(fan_out, np.float32)))
    return layers


def mean_loss(layers: Layers, x: Floats, y: NDArray[np.int64]) -> float:
    """Compute the mean cross-entropy of a ReLU network, in the same way for every system."""
    a = x
    for number, (weights, biases) in enumerate(layers, start=1):
        a = a @ weights + biases
        if number < len(layers):
            a = np.maximum(a, 0)
    a = a - a.max(axis=1, keepdims=True)
    log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(y)), y].mean())


class Order:
    """Shuffled minibatches: a new permutation of all samples for each epoch."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._random = np.random.default_rng(0)

    def batches(self, n: int, batch: int) -> NDArray[np.int64]:
        """Draw sample indices, (n, batch). Every batch is full, so that all steps take equally long."""
        passes = -(-n * batch // self._samples)
        order = np.concatenate([self._random.permutation(self._samples) for _ in range(passes)])
        return order[: n * batch].reshape(n, batch)
