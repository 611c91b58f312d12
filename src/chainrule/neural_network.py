"""A network as its users know it: fit, predict, evaluate, on top of the training loop and the engines."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.data import Dataset
from chainrule.engine import LogitsPredictor, make_predictor
from chainrule.nn.losses import log_softmax
from chainrule.nn.metrics import Evaluation
from chainrule.nn.model_file import read_model
from chainrule.nn.network import Network, check_pairs
from chainrule.nn.parameters import Array
from chainrule.optim.optimizer import Optimizer
from chainrule.training.history import History
from chainrule.training.trainer import Trainer

__all__ = ["NeuralNetwork", "load_model"]

# Rows from which predictions are made by the compiled engine's kernels: loading them takes longer than they save below.
_MANY_ROWS = 1024


class NeuralNetwork(Network):
    """A classifier with softmax output that can be trained and asked for predictions.

    Its arguments, attributes and errors are those of `Network`.

    >>> network = NeuralNetwork([4, 3, 2], seed=0)
    >>> network.predict_proba(np.zeros((1, 4)))
    array([[0.5, 0.5]], dtype=float32)
    """

    def predict_proba(self, x: ArrayLike) -> Array:
        """The probability of each class: (n, d) -> (n, k), rows sum to 1. Raises ConfigError."""
        return np.exp(log_softmax(self._compute_logits(self.check_samples(x))))

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """The most probable class: (n, d) -> (n,). Raises ConfigError."""
        classes: NDArray[np.int64] = self._compute_logits(self.check_samples(x)).argmax(axis=1)
        return classes

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> Evaluation:
        """Loss, accuracy and predictions on labeled samples: x (n, d), y (n,). Raises ConfigError."""
        samples, targets = self.check_samples(x), self.check_targets(y)
        check_pairs(samples, targets)
        return self.objective.evaluate(self._compute_logits(samples), targets)

    def fit(
        self,
        data: Dataset,
        *,
        optimizer: Optimizer,
        epochs: int = 10,
        batch_size: int = 16,
        engine: str = "compiled",
        seed: int = 0,
    ) -> History:
        """Train on `data.x_train`, looking at `data.x_val` after each epoch.

        Args:
            data: from `load_dataset`, or a `Dataset` of your own.
            optimizer: such as `OPTIMIZERS["adam"](learning_rate=0.001)`. It keeps its memory: fitting again with the
                same object goes on where it stopped.
            epochs: passes over the training set.
            batch_size: samples a step; the last batch of an epoch may be shorter.
            engine: name of the engine, from `ENGINES`.
            seed: of the order in which samples are visited.

        Returns:
            One record an epoch.

        Raises:
            ConfigError: a setting or the data do not fit.
            DivergenceError: the loss became infinite or NaN.
        """
        trainer = Trainer(self, data, optimizer, batch_size=batch_size, engine=engine, seed=seed)
        for _ in trainer.run(epochs):
            pass
        return trainer.history

    def _compute_logits(self, x: Array) -> Array:
        """The output layer's z, by machine code where there are enough rows for it to pay off."""
        if len(x) >= _MANY_ROWS and self._predictor:
            return self._predictor.compute_logits(x)
        return self.logits(x)

    @cached_property
    def _predictor(self) -> LogitsPredictor | None:
        return make_predictor(self)

    def __getstate__(self) -> dict[str, object]:
        """For copies, here or in another process: a predictor holds addresses of this network's arrays."""
        return {name: value for name, value in super().__getstate__().items() if name != "_predictor"}


def load_model(path: Path | str) -> NeuralNetwork:
    """Load a network from a model file, such as the `model.safetensors` of a run folder.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or does not describe a network that fits it.
    """
    return read_model(path, NeuralNetwork)
