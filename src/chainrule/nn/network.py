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

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.seeding import generator
from chainrule.core.validation import check_features, check_same_length
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.initializers import INITIALIZERS, initialize
from chainrule.nn.layer import Layer, build_layers
from chainrule.nn.losses import LOSSES, Loss
from chainrule.nn.objective import make_objective
from chainrule.nn.parameters import Array, ParameterDict

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
        loss: name of the loss, from `LOSSES`, or one with hyperparameters of its own.
        seed: of the initial weights.
        dtype: "float32", or "float64" for gradient checks.

    Attributes:
        parameters: the weights (fan_in, fan_out) and biases (fan_out,) by name, "layer1.weights" first.
        layers: the same by layer, with each layer's activation and buffers.
        objective: output link, form of the targets, loss and score.

    Raises:
        ConfigError: fewer than two sizes, one below 1, too few outputs for the loss, an unknown name, another dtype.

    >>> Network([4, 3, 2], seed=0).logits(np.zeros((1, 4), np.float32))
    array([[0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "ReLU",
        weight_init: str = "Xavier",
        loss: str | Loss = "cross_entropy",
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.loss = LOSSES.name_of(type(loss)) if isinstance(loss, Loss) else LOSSES.canonical(loss)
        self.objective = make_objective(loss if isinstance(loss, Loss) else LOSSES[loss]())
        self.sizes = _check_sizes(sizes, self.objective.min_outputs)
        self.activation = ACTIVATIONS.canonical(activation)
        self.weight_init = INITIALIZERS.canonical(weight_init)
        if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype must be float32 or float64, got {dtype!r}.")
        self.dtype = dtype
        self._parameters = ParameterDict(self.sizes, self.dtype)
        self.layers: tuple[Layer, ...] = build_layers(self.parameters, self.activation)
        initialize(self.parameters, INITIALIZERS[weight_init], generator(seed, "initial weights"))

    @property
    def parameters(self) -> ParameterDict:
        """The arrays can be changed, but not replaced: layers, optimizers and engines have views of them."""
        return self._parameters

    def forward(self, x: Array) -> list[tuple[Array, Array]]:
        """Every layer's z and a, first hidden layer first.

        Args:
            x: (n, d), of the network's dtype.

        Returns:
            For each layer (z, a), both (n, width). The output layer has no activation: its z and a are the logits.
        """
        outputs: list[tuple[Array, Array]] = []
        a = x
        for layer in self.layers:
            z = a @ layer.weights
            z += layer.biases
            a = layer.activation.function(z) if layer.activation else z
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
        inputs = [x] + [a for _, a in outputs[:-1]]
        slopes = gradients.by_layer()
        for number in reversed(range(len(self.layers))):
            np.matmul(inputs[number].T, delta, out=slopes[number]["weights"])
            np.sum(delta, axis=0, out=slopes[number]["biases"])
            if number > 0:
                below = self.layers[number - 1].activation
                delta = delta @ self.layers[number].weights.T
                if below:
                    delta *= below.derivative(*outputs[number - 1])

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
        samples, targets = self.check_samples(x), self.check_targets(y)
        check_pairs(samples, targets)
        gradients = self.parameters.zeros_like()
        with np.errstate(all="ignore"):
            outputs = self.forward(samples)
            loss, delta = self.objective.loss_and_gradient(outputs[-1][0], targets)
            self.backward(samples, outputs, delta, gradients)
        return loss, gradients

    def logits(self, x: Array) -> Array:
        """The output layer's z for samples of the network's dtype: (n, d) -> (n, k), a block of rows at a time."""
        logits = np.empty((len(x), self.sizes[-1]), self.dtype)
        with np.errstate(all="ignore"):
            for start in range(0, len(x), _BLOCK_ROWS):
                logits[start : start + _BLOCK_ROWS] = self.forward(x[start : start + _BLOCK_ROWS])[-1][0]
        return logits

    def __getstate__(self) -> dict[str, object]:
        """For copies, here or in another process: the layers are views of arrays that a copy does not share."""
        return {name: value for name, value in self.__dict__.items() if name != "layers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.layers = build_layers(self.parameters, self.activation)

    def __repr__(self) -> str:
        loss = self.objective.loss if self.objective.loss.fields() else self.loss
        return (
            f"{type(self).__name__}({list(self.sizes)}, activation={self.activation!r}, "
            f"weight_init={self.weight_init!r}, loss={loss!r}, dtype={self.dtype!r})"
        )

    def check_samples(self, x: ArrayLike) -> Array:
        """Samples as a contiguous (n, d) array of the network's dtype, or a ConfigError that says what does not fit."""
        return check_features(x, n_features=self.sizes[0], dtype=self.dtype, finite=False)

    def check_targets(self, y: ArrayLike) -> NDArray[Any]:
        """Targets in the form that the objective takes, or a ConfigError that says what does not fit."""
        return self.objective.check_targets(y, self.sizes[-1])


def _check_sizes(sizes: Sequence[int], min_outputs: int) -> tuple[int, ...]:
    """Layer widths as a tuple of ints."""
    given = list(sizes) if isinstance(sizes, Iterable) else []
    whole = [int(size) for size in given if isinstance(size, int | np.integer) and not isinstance(size, bool)]
    if len(whole) != len(given) or len(whole) < 2 or min(whole) < 1 or whole[-1] < min_outputs:
        raise ConfigError(
            f"sizes must list the inputs, the hidden widths and the outputs, such as [784, 128, 10]: whole numbers of "
            f"1 or more, and at least {min_outputs} outputs (classes) for this loss. Got {sizes!r:.200}."
        )
    return tuple(whole)


def check_pairs(samples: Array, targets: NDArray[Any]) -> None:
    """Raise ConfigError unless there is at least one sample, and a target for each."""
    check_same_length(samples, targets)
    if len(samples) == 0:
        raise ConfigError("x and y must have at least one row, got none.")
