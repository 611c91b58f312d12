"""The child process of paired.py: times the compiled engine of the checkout on PYTHONPATH.

It uses only names that all versions since 0.1 have: `NeuralNetwork`, `OPTIMIZERS`, `load_dataset` and `Trainer`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from problem import HYPERPARAMETERS, WEIGHT_DECAY

import chainrule
from chainrule import OPTIMIZERS, Dataset, NeuralNetwork, load_dataset

try:
    from chainrule.training.trainer import Trainer
except ImportError:  # before 0.2
    from chainrule.training import Trainer  # type: ignore[attr-defined, no-redef]

__all__ = ["Runs"]

_SAMPLES, _STEPS = 8192, 512  # at most, in an epoch
_SIZES = {
    "784-10": (784, 10),
    "784-128x4-10": (784, 128, 128, 128, 128, 10),
    "784-512x3-10": (784, 512, 512, 512, 10),
}
_WARM_UP = 0.3  # seconds


def make_data() -> Dataset:
    """Images of which half the pixels are 0, as in Fashion-MNIST, and no validation set."""
    random = np.random.default_rng(0)
    x = random.random((_SAMPLES, 784), np.float32) * (random.random((_SAMPLES, 784)) < 0.5)
    y = random.integers(0, 10, _SAMPLES)
    # A dataset of whatever fields this version's has.
    return dataclasses.replace(
        load_dataset("digits"), x_train=x, y_train=y, x_val=x[:0], y_val=y[:0], x_test=x[:0], y_test=y[:0],
        image_shape=None, train_indices=np.arange(_SAMPLES), val_indices=np.arange(0),
    )  # fmt: skip


class Runs:
    """Prepares a case, then measures it as often as requested.

    Args:
        checkout: the folder that chainrule must come from.
    """

    def __init__(self, checkout: str) -> None:
        self._checkout = checkout
        if Path(checkout).resolve() not in Path(chainrule.__file__).resolve().parents:
            raise ImportError(f"chainrule was imported from {chainrule.__file__}, not from {checkout}")
        self._data = make_data()

    def describe(self) -> str:
        """Version and commit."""
        command = ["git", "-C", self._checkout, "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return f"chainrule {chainrule.__version__} {commit}".rstrip()

    def prepare(self, network: str, batch: int, optimizer: str, threads: int) -> float:
        """Build, compile and warm up a case. Returns the seconds of one repetition: an epoch, or a prediction."""
        self._network = NeuralNetwork(_SIZES[network], seed=0)
        if optimizer:
            self._prepare_training(batch, optimizer, threads)
        else:
            self._prepare_prediction(batch)
        self._repeat()
        start, repeats = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < _WARM_UP:
            self._repeat()
            repeats += 1
        # The sides warm up for the same time and not for the same number of steps; training starts anew.
        if optimizer:
            self._network = NeuralNetwork(_SIZES[network], seed=0)
            self._prepare_training(batch, optimizer, threads)
            self._repeat()
        return elapsed / repeats

    def _prepare_training(self, batch: int, optimizer: str, threads: int) -> None:
        chosen = OPTIMIZERS[optimizer](weight_decay=WEIGHT_DECAY, **HYPERPARAMETERS[optimizer])
        n = min(_SAMPLES, _STEPS * batch)
        full = self._data
        data = dataclasses.replace(
            full, x_train=full.x_train[:n], y_train=full.y_train[:n], train_indices=full.train_indices[:n]
        )
        trainer = Trainer(self._network, data, chosen, batch_size=batch, engine="compiled", seed=0, threads=threads)
        if "Compiled" not in type(trainer.engine).__name__:
            raise RuntimeError("the compiled engine could not be used")
        self._repeat: Callable[[], object] = lambda: list(trainer.run(1))
        self._parts = n // batch

    def _prepare_prediction(self, rows: int) -> None:
        x = np.resize(self._data.x_train, (rows, 784))
        self._repeat = lambda: self._network.predict(x)
        self._parts = 1

    def measure(self, repeats: int) -> float:
        """Seconds a step, or a prediction."""
        start = time.perf_counter()
        for _ in range(repeats):
            self._repeat()
        return (time.perf_counter() - start) / (repeats * self._parts)

    def finish(self) -> str:
        """A digest of the parameters and of some probabilities. Frees the case."""
        digest = hashlib.sha256(np.concatenate([each.ravel() for each in self._network.parameters.values()]).tobytes())
        digest.update(self._network.predict_proba(self._data.x_train[:2048]).tobytes())
        del self._network, self._repeat
        return digest.hexdigest()
