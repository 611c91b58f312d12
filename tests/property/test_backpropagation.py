"""Random networks: backpropagation against numerical gradients, and against PyTorch where it is installed."""

import numpy as np
import pytest
from gradcheck import numerical_gradient, relative_error
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule import ACTIVATIONS, INITIALIZERS, NeuralNetwork


def networks(
    losses=("cross_entropy", "mean_squared_error"), fewest_outputs=2, **parts
) -> st.SearchStrategy[NeuralNetwork]:
    return st.builds(
        NeuralNetwork,
        st.lists(st.integers(1, 7), min_size=1, max_size=5).flatmap(
            lambda hidden: st.integers(fewest_outputs, 6).map(lambda k: [*hidden, k])
        ),
        activation=st.sampled_from(list(ACTIVATIONS)),
        weight_init=st.sampled_from(list(INITIALIZERS)),
        loss=st.sampled_from(losses),
        seed=st.integers(0, 1000),
        dtype=st.just("float64"),
        **parts,
    )


# A numerical gradient across a kink measures nothing.
KINKED = ("ReLU", "leaky_ReLU", "SELU")
DROPOUT = {"dropout": st.sampled_from([0.0, 0.3]), "input_dropout": st.sampled_from([0.0, 0.2])}


def batch(network: NeuralNetwork, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    # Biases away from 0 keep the sums away from the kink of ReLU.
    for name, values in network.parameters.items():
        if name.endswith("biases"):
            values[...] = random.normal(size=values.shape)
    return random.normal(size=(n, network.sizes[0])), random.integers(0, network.sizes[-1], n)


@given(network=networks(batch_norm=st.booleans(), **DROPOUT), n=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_gradients_of_random_networks(network, n, seed) -> None:
    x, y = batch(network, n, seed)
    hidden = network.forward(x, 0)[:-1]
    assume(network.activation not in KINKED or all(np.abs(output.z).min() > 1e-3 for output in hidden))
    # Normalization magnifies differences of numbers that are nearly equal.
    assume(all(output.normalized is None or output.normalized.variance.min() > 1e-3 for output in hidden))
    _, gradients = network.loss_and_gradients(x, y)
    # Several normalized layers with small variances magnify a step so much that only a smaller one is accurate.
    measured = [
        numerical_gradient(lambda: network.loss_and_gradients(x, y)[0], network.parameters.flat, step)
        for step in (2e-5, 2e-6)
    ]
    # Differences of a loss around 1 cannot resolve slopes below 1e-10 or so.
    assume(np.abs(measured[0]).max() > 1e-3)
    assert min(relative_error(gradients.flat, numerical) for numerical in measured) < 1e-7


@given(network=networks(), n=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_a_batch_is_the_mean_of_its_samples(network, n) -> None:
    x, y = batch(network, n)
    loss, gradients = network.loss_and_gradients(x, y)
    singles = [network.loss_and_gradients(x[i : i + 1], y[i : i + 1]) for i in range(n)]
    assert loss == pytest.approx(np.mean([value for value, _ in singles]), rel=1e-12)
    mean = np.mean([single.flat for _, single in singles], axis=0)
    np.testing.assert_allclose(gradients.flat, mean, rtol=1e-10, atol=1e-14)


def forward_in_pytorch(network: NeuralNetwork, x: np.ndarray):
    """The logits, and the parameters, as tensors."""
    import torch
    from golden.make_golden import FUNCTIONS as functions

    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in network.parameters.items()}
    a, layers = torch.tensor(x), len(network.layers)
    for layer in range(1, layers + 1):
        z, biases = a @ tensors[f"layer{layer}.weights"], tensors[f"layer{layer}.biases"]
        if f"layer{layer}.scales" in tensors:
            z = torch.nn.functional.batch_norm(z, None, None, tensors[f"layer{layer}.scales"], biases, training=True)
        else:
            z = z + biases
        a = functions[network.activation](z) if layer < layers else z
    return a, tensors


def check_gradients(network: NeuralNetwork, x: np.ndarray, y: np.ndarray, value, tensors) -> None:
    """Compare loss and gradients with those of PyTorch's `value`."""
    value.backward()
    loss, gradients = network.loss_and_gradients(x, y)
    assert loss == pytest.approx(value.item(), rel=1e-12, abs=1e-14)
    largest = max(tensor.grad.abs().max().item() for tensor in tensors.values())
    assume(largest > 1e-8)
    for key, tensor in tensors.items():
        assert np.abs(gradients[key] - tensor.grad.numpy()).max() < 1e-9 * largest


@pytest.mark.torch
@given(network=networks(batch_norm=st.booleans()), n=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_gradients_of_pytorch(network, n) -> None:
    import torch

    x, y = batch(network, n)
    z, tensors = forward_in_pytorch(network, x)
    if network.loss == "cross_entropy":
        value = torch.nn.functional.cross_entropy(z, torch.tensor(y))
    else:
        target = torch.nn.functional.one_hot(torch.tensor(y), network.sizes[-1])
        value = 0.5 * ((torch.softmax(z, dim=1) - target) ** 2).sum(dim=1).mean()
    check_gradients(network, x, y, value, tensors)


@pytest.mark.torch
@given(
    network=networks(["squared_error", "huber", "poisson", "binary_cross_entropy"], 1, batch_norm=st.booleans()),
    n=st.integers(2, 6),
)
@settings(max_examples=60, deadline=None)
def test_gradients_of_pytorch_in_regression_and_with_many_labels(network, n) -> None:
    import torch
    from torch.nn import functional

    x, _ = batch(network, n)
    random, shape = np.random.default_rng(1), (n, network.sizes[-1])
    z, tensors = forward_in_pytorch(network, x)
    if network.loss == "squared_error":
        y = random.normal(size=shape)
        value = 0.5 * functional.mse_loss(z, torch.tensor(y), reduction="sum")
    elif network.loss == "huber":
        y = random.normal(size=shape)
        value = functional.huber_loss(z, torch.tensor(y), reduction="sum")
    elif network.loss == "poisson":
        y = random.poisson(2, shape) * 1.0
        assume(z.abs().max().item() < 20)
        value = functional.poisson_nll_loss(z, torch.tensor(y), reduction="sum")
        value = value + torch.special.xlogy(torch.tensor(y), torch.tensor(y)).sum() - y.sum()
    else:
        y = random.integers(0, 2, shape) * 1.0
        value = functional.binary_cross_entropy_with_logits(z, torch.tensor(y), reduction="sum")
    check_gradients(network, x, y, value / n, tensors)
