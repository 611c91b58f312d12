"""The public network class: fit, predict and evaluate, on top of the training loop and the engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.validation import check_features
from chainrule.data import Dataset
from chainrule.engine import LogitsPredictor, make_predictor
from chainrule.model import Model
from chainrule.nn.augmentation import Augmentation
from chainrule.nn.network import Network, check_pairs
from chainrule.nn.parameters import Array
from chainrule.nn.views import Views
from chainrule.optim.optimizer import Optimizer
from chainrule.training.callbacks import Callback, EarlyStopping, EpochFunction
from chainrule.training.history import History
from chainrule.training.trainer import Trainer

__all__ = ["NeuralNetwork"]

# Rows from which predictions are made by the compiled engine's kernels: loading them takes longer than they save below.
_MANY_ROWS = 1024


class NeuralNetwork(Network, Model):
    """A classifier with softmax output that can be trained and makes predictions.

    Its arguments, attributes and errors are those of `Network`.

    >>> network = NeuralNetwork([4, 3, 2], seed=0)
    >>> network.predict_proba([[0.0, 0.0, 0.0, 0.0]])
    array([[0.5, 0.5]], dtype=float32)
    """

    def average_logits(self, samples: Array, views: Views | None, image_shape: tuple[int, int] | None) -> Array:
        """The output layer's z, or that whose answer is the mean over views: (n, d) -> (n, k). Raises ConfigError."""
        if views is None or views.count == 1:
            return self._compute_logits(samples)
        return self.objective.average(
            np.stack([self._compute_logits(view) for view in views.make(samples, image_shape)])
        )

    def check_evaluated(self, x: ArrayLike, y: ArrayLike | None) -> tuple[Array, NDArray[Any]]:
        """Samples and targets in the form that an evaluation takes. Raises ConfigError."""
        samples = self.check_predicted(x)
        if y is None:
            raise ConfigError("y, the target of each sample, is missing: evaluate(x, y).")
        targets = self.check_targets(y)
        check_pairs(samples, targets)
        return samples, targets

    def fit(
        self,
        x: Dataset | ArrayLike,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        optimizer: Optimizer | str = "adam",
        epochs: int = 10,
        batch_size: int = 16,
        engine: str = "compiled",
        threads: int = 0,
        seed: int = 0,
        callbacks: Sequence[Callback | EpochFunction] = (),
        augmentation: Augmentation | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> History:
        """Train on samples x and their targets y, or on the training set of a `Dataset`.

        Args:
            x: (n, d), or a `Dataset`, from `load_dataset` say, whose validation set is evaluated after each epoch.
            y: class numbers, (n,), or probabilities of the classes, (n, k); or what else the loss is for: numbers for
                regression, zeros and ones for labels, (n, k) for k outputs. None with a `Dataset`.
            validation_data: (x_val, y_val), evaluated after each epoch; only with arrays.
            sample_weight: how much each sample counts, (n,), 0 or more; only with arrays.
            class_weight: the same by class number, or "balanced"; only with arrays.
            optimizer: such as `Adam(learning_rate=0.001)`, or a name from `OPTIMIZERS`. An object keeps its state:
                fitting again with it continues from there; if it averages the weights, from the average.
            epochs: passes over the training set.
            batch_size: samples per step; the last batch of an epoch may be shorter.
            engine: name of the engine, from `ENGINES`.
            threads: processor cores to use; 0 chooses what is fastest.
            seed: of the order in which samples are visited.
            callbacks: `Callback` objects, or functions `f(trainer, record)` called after each epoch.
            augmentation: how training images are changed at random, such as `Augmentation(shift=2, flip=True)`.
            image_shape: (height, width) of a sample, which augmentation needs; only with arrays.

        Returns:
            One record per epoch.

        Raises:
            ConfigError: an argument or the data do not fit.
            DivergenceError: the loss became infinite or NaN.
        """
        data = self.make_dataset(x, y, validation_data, sample_weight, class_weight, image_shape)
        trainer = Trainer(
            self,
            data,
            optimizer,
            batch_size=batch_size,
            engine=engine,
            seed=seed,
            threads=threads,
            epochs=epochs,
            callbacks=callbacks,
            augmentation=augmentation,
        )
        for _ in trainer.run(epochs):
            pass
        if any(isinstance(callback, EarlyStopping) and callback.restore_best for callback in callbacks):
            self.parameters.memory[...] = trainer.best_parameters
        elif trainer.optimizer.ema_decay:
            self.parameters.memory[...] = trainer.last_parameters
        return trainer.history

    def make_dataset(
        self,
        x: Dataset | ArrayLike,
        y: ArrayLike | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> Dataset:
        """The arguments of `fit` as a dataset. Raises ConfigError."""
        if isinstance(x, Dataset):
            if any(given is not None for given in (y, validation_data, sample_weight, class_weight, image_shape)):
                raise ConfigError(
                    "A Dataset has its labels, validation set, weights and image shape: leave y, validation_data, "
                    "sample_weight, class_weight and image_shape out."
                )
            return x
        if y is None:
            raise ConfigError(f"y, the target of each sample, is missing: fit(x, y). Got only x, a {type(x).__name__}.")
        return Dataset.from_arrays(
            x,
            y,
            validation_data=validation_data,
            classes=[str(number) for number in range(self.sizes[-1])] if self.objective.has_classes else (),
            sample_weight=sample_weight,
            class_weight=class_weight,
            image_shape=image_shape,
            dtype=self.dtype,
        )

    def check_predicted(self, x: ArrayLike) -> Array:
        """Samples to predict, as an (n, d) array of the network's dtype."""
        if isinstance(x, Dataset):
            raise ConfigError("x must be an array, such as x_test of a Dataset, got the Dataset.")
        return check_features(x, n_features=self.sizes[0], dtype=self.dtype)

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
