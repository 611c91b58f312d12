"""What can predict: a network, or an ensemble of networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import ArrayLike, NDArray

from chainrule.nn.metrics import Evaluation
from chainrule.nn.objective import Objective
from chainrule.nn.parameters import Array
from chainrule.nn.views import Views

__all__ = ["Model"]


class Model(ABC):
    """Predictions and their evaluation.

    All methods take `views`, with which the answers to several views of an image are averaged, such as
    `Views(view_shift=1, view_flip=True)`, and the `image_shape`, (height, width), that views need.
    """

    objective: Objective

    @abstractmethod
    def check_predicted(self, x: ArrayLike) -> Array:
        """Samples in the form that a prediction takes. Raises ConfigError."""

    @abstractmethod
    def check_evaluated(self, x: ArrayLike, y: ArrayLike | None) -> tuple[Array, NDArray[Any]]:
        """Samples and targets in the form that an evaluation takes. Raises ConfigError."""

    @abstractmethod
    def average_logits(self, samples: Array, views: Views | None, image_shape: tuple[int, int] | None) -> Array:
        """`compute_logits` of samples that are checked."""

    def compute_logits(
        self, x: ArrayLike, *, views: Views | None = None, image_shape: tuple[int, int] | None = None
    ) -> Array:
        """The z of the outputs, (n, d) -> (n, k); of views, the z whose answer is the mean. Raises ConfigError."""
        return self.average_logits(self.check_predicted(x), views, image_shape)

    def predict_proba(
        self, x: ArrayLike, *, views: Views | None = None, image_shape: tuple[int, int] | None = None
    ) -> Array:
        """The probability of each class: (n, d) -> (n, k), rows sum to 1. Raises ConfigError."""
        return self.objective.predict_proba(self.compute_logits(x, views=views, image_shape=image_shape))

    def predict(
        self, x: ArrayLike, *, views: Views | None = None, image_shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """The most probable class, the expected numbers, or the true labels: (n,) or (n, k). Raises ConfigError."""
        return self.objective.predict(self.compute_logits(x, views=views, image_shape=image_shape))

    def evaluate(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        views: Views | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> Evaluation:
        """Loss, score and predictions on samples with known targets: x (n, d), y (n,). Raises ConfigError."""
        samples, targets = self.check_evaluated(x, y)
        return self.objective.evaluate(self.average_logits(samples, views, image_shape), targets)
