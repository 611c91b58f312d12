"""A feedforward network: layers of weighted sums, each followed by an elementwise function; and backpropagation.

Forward, for a batch of n samples x, layer by layer, beginning with a = x:

    z = a @ W + b          (n, fan_in) @ (fan_in, fan_out) + (fan_out,)  ->  (n, fan_out)
    a = f(z)               hidden layers; the output layer's z are the logits, which softmax turns into probabilities

Backward, with delta = dL/dz, (n, fan_out), known for the output layer from the loss, from the last layer to the first:

    dL/dW = a_before.T @ delta         each weight's gradient: its input times the delta of its output, over the batch
    dL/db = delta summed over the batch
    delta_before = (delta @ W.T) * f'(z_before)

That is all there is to it; docs/maths.md derives each line. A `Network` has parameters and these two passes, and no
data, optimizer or engine. What users call (fit, predict, evaluate) is in neural_network.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.seeding import generator
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.initializers import INITIALIZERS, initialize
from chainrule.nn.losses import LOSSES, log_softmax
from chainrule.nn.metrics import Evaluation
from chainrule.nn.parameters import Array, Labels, ParameterDict

__all__ = ["Network", "check_pairs"]

# Rows per block of a forward pass: enough for efficient matrix products, few enough to need little memory.
_BLOCK_ROWS = 2048


class Network:
    """The parameters of a classifier with softmax output, its forward and its backward pass.

    Args:
        sizes: width of each layer from inputs to classes. `[784, 128, 10]` has one hidden layer; `[784, 10]` has none
            and is softmax regression.
        activation: name of the hidden layers' function, from `ACTIVATIONS`.
        weight_init: name of the initializer, from `INITIALIZERS`.
        loss: name of the loss, from `LOSSES`.
        seed: of the initial weights.
        dtype: "float32", or "float64" for gradient checks.

    Attributes:
        parameters: the weights (fan_in, fan_out) and biases (fan_out,) by name, "layer1.weights" first.

    Raises:
        ConfigError: fewer than two sizes or one below 1 (or a single class), an unknown name, another dtype.

    >>> Network([4, 3, 2], seed=0).logits(np.zeros((1, 4), np.float32))
    array([[0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "ReLU",
        weight_init: str = "Xavier",
        loss: str = "cross_entropy",
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.sizes = _check_sizes(sizes)
        self.activation = ACTIVATIONS.canonical(activation)
        self.weight_init = INITIALIZERS.canonical(weight_init)
        self.loss = LOSSES.canonical(loss)
        if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype must be float32 or float64, got {dtype!r}.")
        self.dtype = dtype
        self.parameters = ParameterDict(self.sizes, self.dtype)
        initialize(self.parameters, INITIALIZERS[weight_init], generator(seed, "initial weights"))

    def forward(self, x: Array) -> list[tuple[Array, Array]]:
        """Every layer's z and a, first hidden layer first.

        Args:
            x: (n, d), of the network's dtype.

        Returns:
            For each layer (z, a), both (n, width). The output layer has no activation: its z and a are the logits.
        """
        function = ACTIVATIONS[self.activation].function
        layers, a = self.parameters.layers(), x
        outputs: list[tuple[Array, Array]] = []
        for number, (weights, biases) in enumerate(layers, start=1):
            z = a @ weights
            z += biases
            a = function(z) if number < len(layers) else z
            outputs.append((z, a))
        return outputs

    def backward(self, x: Array, outputs: list[tuple[Array, Array]], delta: Array, gradients: ParameterDict) -> None:
        """The gradients of the loss, by the chain rule from the last layer to the first.

        Args:
            x: the batch that `forward` got, (n, d).
            outputs: what `forward` returned.
            delta: the derivative of the loss with respect to the logits, (n, k).
            gradients: written to; laid out like `parameters`.
        """
        derivative = ACTIVATIONS[self.activation].derivative
        weights, slopes = self.parameters.layers(), gradients.layers()
        inputs = [x] + [a for _, a in outputs[:-1]]
        for layer in reversed(range(len(outputs))):
            weight_slopes, bias_slopes = slopes[layer]
            np.matmul(inputs[layer].T, delta, out=weight_slopes)
            np.sum(delta, axis=0, out=bias_slopes)
            if layer > 0:
                delta = delta @ weights[layer][0].T
                delta *= derivative(*outputs[layer - 1])

    def loss_and_gradients(self, x: ArrayLike, y: ArrayLike) -> tuple[float, ParameterDict]:
        """The mean loss of a batch and its gradient with respect to every parameter.

        Args:
            x: samples, (n, d) with n >= 1.
            y: their classes, (n,), each from 0 to k - 1.

        Returns:
            The loss, and arrays with the names and shapes of `parameters`.

        Samples that hold NaN or infinity give a loss that is not finite.

        Raises:
            ConfigError: a shape or a label that does not fit; the message says which and what is expected.
        """
        samples, labels = self.check_samples(x), self.check_labels(y)
        check_pairs(samples, labels)
        gradients = self.parameters.zeros_like()
        with np.errstate(all="ignore"):
            outputs = self.forward(samples)
            loss, delta = LOSSES[self.loss].value_and_gradient(outputs[-1][0], labels)
            self.backward(samples, outputs, delta, gradients)
        return loss, gradients

    def logits(self, x: Array) -> Array:
        """The output layer's z for samples of the network's dtype: (n, d) -> (n, k), a block of rows at a time."""
        logits = np.empty((len(x), self.sizes[-1]), self.dtype)
        with np.errstate(all="ignore"):
            for start in range(0, len(x), _BLOCK_ROWS):
                logits[start : start + _BLOCK_ROWS] = self.forward(x[start : start + _BLOCK_ROWS])[-1][0]
        return logits

    def evaluate_logits(self, logits: Array, labels: NDArray[np.int64]) -> Evaluation:
        """Loss, accuracy and predictions from the output layer's z, (n, k), and the labels, (n,)."""
        predictions = logits.argmax(axis=1)
        with np.errstate(all="ignore"):
            losses = LOSSES[self.loss].values(logits, labels)
            probabilities = np.exp(log_softmax(logits))
        return Evaluation(
            loss=float(losses.mean(dtype=np.float64)),
            score=float((predictions == labels).mean()),
            labels=labels,
            predictions=predictions,
            probabilities=probabilities,
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({list(self.sizes)}, activation={self.activation!r}, "
            f"weight_init={self.weight_init!r}, loss={self.loss!r}, dtype={self.dtype!r})"
        )

    def check_samples(self, x: ArrayLike) -> Array:
        """Samples as an (n, d) array of the network's dtype, or a ConfigError that says what does not fit."""
        samples = _as_numbers(x, "x")
        if samples.ndim != 2 or samples.shape[1] != self.sizes[0]:
            raise ConfigError(f"x must have the shape (n, {self.sizes[0]}), a row a sample; got {samples.shape}.")
        return samples.astype(self.dtype, copy=False)

    def check_labels(self, y: ArrayLike) -> NDArray[np.int64]:
        """Labels as an (n,) int64 array, or a ConfigError that says what does not fit."""
        labels, k = _as_numbers(y, "y"), self.sizes[-1]
        if labels.ndim != 1:
            raise ConfigError(f"y must have the shape (n,), a class number a sample; got {labels.shape}.")
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64, copy=False)
        if len(labels) and not (np.array_equal(whole, labels) and whole.min() >= 0 and whole.max() < k):
            raise ConfigError(f"y must hold class numbers from 0 to {k - 1}, got {_first_bad(labels, k)!r}.")
        return whole


def _check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Layer widths as a tuple of ints."""
    try:
        sizes = list(sizes)
    except TypeError:
        sizes = []
    whole = [int(size) for size in sizes if isinstance(size, int | np.integer) and not isinstance(size, bool)]
    if len(whole) != len(sizes) or len(whole) < 2 or min(whole) < 1 or whole[-1] < 2:
        raise ConfigError(
            f"sizes must list the inputs, the hidden widths and the classes, such as [784, 128, 10]: whole numbers of "
            f"1 or more, and at least 2 classes. Got {list(sizes)!r}."
        )
    return tuple(whole)


def _as_numbers(values: ArrayLike, name: str) -> NDArray[Any]:
    """An array of real numbers, or a ConfigError."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"{name} must be an array of numbers with rows of one length; {error}") from error
    if array.dtype.kind not in "iufb":
        raise ConfigError(f"{name} must hold numbers, got an array of {array.dtype}.")
    return array


def check_pairs(samples: Array, labels: Labels) -> None:
    """At least one sample, and a label for each."""
    if len(samples) != len(labels) or len(samples) == 0:
        raise ConfigError(
            f"x and y must have the same number of rows, 1 or more; got {len(samples)} and {len(labels)}."
        )


def _first_bad(labels: NDArray[Any], k: int) -> float:
    """The first label that is no class number."""
    bad = ~np.isin(labels, np.arange(k))
    value: float = labels[bad][0].item()
    return value
