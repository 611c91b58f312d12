"""A feedforward network: layers of weighted sums, each followed by an elementwise function; and backpropagation.

Forward, for a batch of n samples x, layer by layer, beginning with a = x:

    z = a @ W + b          (n, fan_in) @ (fan_in, fan_out) + (fan_out,)  ->  (n, fan_out)
    a = f(z)               hidden layers; the output layer's z are the logits, which softmax turns into probabilities

Backward, with delta = dL/dz, (n, fan_out), known for the output layer from the loss, from the last layer to the first:

    dL/dW = a_before.T @ delta         each weight's gradient: its input times the delta of its output, over the batch
    dL/db = delta summed over the batch
    delta_before = (delta @ W.T) * f'(z_before)

That is all there is to it; docs/maths.md derives each line. While a network trains, two things may be added between
layers: batch normalization, before an activation (normalization.py), and dropout, after it (dropout.py). A `Network`
has parameters and these two passes, and no data, optimizer or engine. What users call (fit, predict, evaluate) is in
neural_network.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.seeding import generator
from chainrule.core.validation import check_features, check_same_length, check_weights
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.dropout import drop
from chainrule.nn.initializers import INITIALIZERS, initialize
from chainrule.nn.layer import Layer, build_layers
from chainrule.nn.losses import LOSSES, Loss
from chainrule.nn.normalization import Normalized, fold, normalize, normalize_backward, track
from chainrule.nn.objective import make_objective
from chainrule.nn.parameters import Array, ParameterDict

__all__ = ["LayerOutput", "Network", "check_pairs"]

# Rows per block of a forward pass: enough for efficient matrix products, few enough to need little memory.
_BLOCK_ROWS = 2048


class LayerOutput(NamedTuple):
    """What a layer computed of n samples.

    Attributes:
        z: (n, width), what the activation got: the weighted sum, normalized if the layer is.
        a: (n, width), the activation; z in the output layer.
        inputs: (n, fan_in), what the weights were multiplied with, after dropout.
        normalized: what batch normalization needs in the backward pass; None without.
    """

    z: Array
    a: Array
    inputs: Array
    normalized: Normalized | None


class Network:
    """The parameters of a network, its forward and its backward pass. The loss decides what its outputs mean.

    Args:
        sizes: width of each layer from inputs to outputs. `[784, 128, 10]` has one hidden layer; `[784, 10]` has none
            and is softmax regression.
        activation: name of the hidden layers' function, from `ACTIVATIONS`.
        weight_init: name of the initializer, from `INITIALIZERS`.
        loss: name of the loss, from `LOSSES`, or one with hyperparameters of its own.
        dropout: the probability with which a hidden unit is left out of a training step.
        input_dropout: the same of an input.
        batch_norm: whether the hidden layers are normalized over the batch.
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
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        batch_norm: bool = False,
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
        self.dropout, self.input_dropout = _check_rate("dropout", dropout), _check_rate("input_dropout", input_dropout)
        if not isinstance(batch_norm, bool):
            raise ConfigError(f"batch_norm must be True or False, got {batch_norm!r:.100}.")
        self.batch_norm = batch_norm
        self._parameters = ParameterDict(self.sizes, self.dtype, batch_norm)
        self.layers: tuple[Layer, ...] = build_layers(self.parameters, self.activation)
        initialize(self.parameters, INITIALIZERS[weight_init], generator(seed, "initial weights"))

    @property
    def parameters(self) -> ParameterDict:
        """The arrays can be changed, but not replaced: layers, optimizers and engines have views of them."""
        return self._parameters

    @property
    def training_parts(self) -> dict[str, float]:
        """What the network has for training only, by the names of its arguments: dropout, batch normalization."""
        parts = {"dropout": self.dropout, "input_dropout": self.input_dropout, "batch_norm": self.batch_norm}
        return {name: value for name, value in parts.items() if value}

    def forward(self, x: Array, key: int | None = None) -> list[LayerOutput]:
        """What every layer computes, first hidden layer first.

        Args:
            x: (n, d), of the network's dtype.
            key: 64 bits that determine which units dropout leaves out, for a training step; None predicts: nothing is
                left out, and batch normalization uses the running mean and variance.

        Returns:
            The output layer has no activation: its z and a are the logits.
        """
        outputs: list[LayerOutput] = []
        a = x
        layers = self.layers if key is not None or not self.batch_norm else build_layers(self.fold(), self.activation)
        for number, layer in enumerate(layers):
            inputs = a if key is None else drop(a, self._dropout_rate(number), key, number)
            z = inputs @ layer.weights
            normalized = normalize(z) if layer.is_normalized else None
            if normalized:
                z = layer.parameters["scales"] * normalized.zhat
            z += layer.biases
            a = layer.activation.function(z) if layer.activation else z
            outputs.append(LayerOutput(z, a, inputs, normalized))
        return outputs

    def backward(self, outputs: list[LayerOutput], delta: Array, gradients: ParameterDict, key: int = 0) -> None:
        """The gradients of the loss, by the chain rule from the last layer to the first.

        Args:
            outputs: what `forward` returned for a training step.
            delta: the derivative of the loss with respect to the logits, (n, k).
            gradients: written to; laid out like `parameters`.
            key: the one that `forward` got.
        """
        slopes = gradients.by_layer()
        for number in reversed(range(len(self.layers))):
            layer, output, slope = self.layers[number], outputs[number], slopes[number]
            if layer.activation:
                delta = drop(delta, self._dropout_rate(number + 1), key, number + 1)
                delta = delta * layer.activation.derivative(output.z, output.a)
            if output.normalized:
                delta, slope["scales"][...], slope["biases"][...] = normalize_backward(
                    delta, output.normalized, layer.parameters["scales"]
                )
            else:
                np.sum(delta, axis=0, out=slope["biases"])
            np.matmul(output.inputs.T, delta, out=slope["weights"])
            if number > 0:
                delta = delta @ layer.weights.T

    def track(self, outputs: list[LayerOutput]) -> None:
        """Move the running means of normalized layers towards those of a training step that `forward` computed."""
        for layer, output in zip(self.layers, outputs, strict=True):
            if output.normalized:
                track(layer.buffers["mean"], layer.buffers["variance"], output.normalized)

    def _dropout_rate(self, layer: int) -> float:
        """The rate of what goes into a layer, 0 for the first."""
        return self.dropout if layer else self.input_dropout

    def fold(self) -> ParameterDict:
        """The parameters of the network without normalization that predicts the same; without any, a copy."""
        folded = ParameterDict(self.sizes, self.dtype)
        for layer, target in zip(self.layers, folded.by_layer(), strict=True):
            target["weights"][...], target["biases"][...] = (
                fold(*layer.parameters.values(), *layer.buffers.values())
                if layer.is_normalized
                else layer.parameters.values()
            )
        return folded

    def loss_and_gradients(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, key: int = 0
    ) -> tuple[float, ParameterDict]:
        """The mean loss of a batch in a training step and its gradient with respect to every parameter.

        Args:
            x: samples, (n, d) with n >= 1.
            y: their classes, (n,), each from 0 to k - 1; or what else the objective takes.
            sample_weight: how much each sample counts, (n,), scaled to a mean of 1; None for equal weights.
            key: determines which units dropout leaves out.

        Returns:
            The loss, and arrays with the names and shapes of `parameters`.

        Samples that hold NaN or infinity give a loss that is not finite.

        Raises:
            ConfigError: a shape or a label that does not fit; the message says which and what is expected.
        """
        samples, targets = self.check_samples(x), self.check_targets(y)
        check_pairs(samples, targets)
        weights = check_weights(sample_weight, len(samples), self.dtype)
        gradients = self.parameters.zeros_like()
        with np.errstate(all="ignore"):
            outputs = self.forward(samples, key)
            loss, delta = self.objective.loss_and_gradient(outputs[-1].z, targets, weights)
            self.backward(outputs, delta, gradients, key)
        return loss, gradients

    def logits(self, x: Array) -> Array:
        """The output layer's z for samples of the network's dtype: (n, d) -> (n, k), a block of rows at a time."""
        with np.errstate(all="ignore"):
            if len(x) <= _BLOCK_ROWS:
                return self.forward(x)[-1].z
            starts = range(0, len(x), _BLOCK_ROWS)
            return np.concatenate([self.forward(x[start : start + _BLOCK_ROWS])[-1].z for start in starts])

    def __getstate__(self) -> dict[str, object]:
        """For copies, here or in another process: the layers are views of arrays that a copy does not share."""
        return {name: value for name, value in self.__dict__.items() if name != "layers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.layers = build_layers(self.parameters, self.activation)

    def __repr__(self) -> str:
        loss = self.objective.loss if self.objective.loss.fields() else self.loss
        shown = "".join(f", {name}={value}" for name, value in self.training_parts.items())
        return (
            f"{type(self).__name__}({list(self.sizes)}, activation={self.activation!r}, "
            f"weight_init={self.weight_init!r}, loss={loss!r}{shown}, dtype={self.dtype!r})"
        )

    def check_samples(self, x: ArrayLike) -> Array:
        """Samples as a contiguous (n, d) array of the network's dtype, or a ConfigError that says what does not fit."""
        return check_features(x, n_features=self.sizes[0], dtype=self.dtype, finite=False)

    def check_targets(self, y: ArrayLike) -> NDArray[Any]:
        """Targets in the form that the objective takes, or a ConfigError that says what does not fit."""
        return self.objective.check_targets(y, self.sizes[-1], self.dtype)


def _check_rate(name: str, rate: float) -> float:
    """A probability below 1."""
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.floating) or not 0 <= rate < 1:
        raise ConfigError(f"{name} must be a number of at least 0 and below 1, got {rate!r:.100}.")
    return float(rate)


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
