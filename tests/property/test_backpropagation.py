"""Random networks: backpropagation against numerical gradients, and against PyTorch where it is installed."""

import numpy as np
import pytest
from gradcheck import numerical_gradient, relative_error
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule import ACTIVATIONS, INITIALIZERS, NeuralNetwork


def networks(**parts) -> st.SearchStrategy[NeuralNetwork]:
    return st.builds(
        NeuralNetwork,
        st.lists(st.integers(1, 7), min_size=1, max_size=5).flatmap(
            lambda hidden: st.integers(2, 6).map(lambda k: [*hidden, k])
        ),
        activation=st.sampled_from(list(ACTIVATIONS)),
        weight_init=st.sampled_from(list(INITIALIZERS)),
        loss=st.sampled_from(["cross_entropy", "mean_squared_error"]),
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
    numerical = numerical_gradient(lambda: network.loss_and_gradients(x, y)[0], network.parameters.flat)
    # Differences of a loss around 1 cannot resolve slopes below 1e-10 or so.
    assume(np.abs(numerical).max() > 1e-3)
    assert relative_error(gradients.flat, numerical) < 1e-7


@given(network=networks(), n=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_a_batch_is_the_mean_of_its_samples(network, n) -> None:
    x, y = batch(network, n)
    loss, gradients = network.loss_and_gradients(x, y)
    singles = [network.loss_and_gradients(x[i : i + 1], y[i : i + 1]) for i in range(n)]
    assert loss == pytest.approx(np.mean([value for value, _ in singles]), rel=1e-12)
    mean = np.mean([single.flat for _, single in singles], axis=0)
    np.testing.assert_allclose(gradients.flat, mean, rtol=1e-10, atol=1e-14)


@pytest.mark.torch
@given(network=networks(batch_norm=st.booleans()), n=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_gradients_of_pytorch(network, n) -> None:
    import torch
    from golden.make_golden import FUNCTIONS as functions

    x, y = batch(network, n)
    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in network.parameters.items()}
    a, layers = torch.tensor(x), len(network.layers)
    for layer in range(1, layers + 1):
        z, biases = a @ tensors[f"layer{layer}.weights"], tensors[f"layer{layer}.biases"]
        if f"layer{layer}.scales" in tensors:
            z = torch.nn.functional.batch_norm(z, None, None, tensors[f"layer{layer}.scales"], biases, training=True)
        else:
            z = z + biases
        a = functions[network.activation](z) if layer < layers else z
    if network.loss == "cross_entropy":
        value = torch.nn.functional.cross_entropy(a, torch.tensor(y))
    else:
        target = torch.nn.functional.one_hot(torch.tensor(y), network.sizes[-1])
        value = 0.5 * ((torch.softmax(a, dim=1) - target) ** 2).sum(dim=1).mean()
    value.backward()
    loss, gradients = network.loss_and_gradients(x, y)
    assert loss == pytest.approx(value.item(), rel=1e-12, abs=1e-14)
    largest = max(tensor.grad.abs().max().item() for tensor in tensors.values())
    assume(largest > 1e-8)
    for key, tensor in tensors.items():
        assert np.abs(gradients[key] - tensor.grad.numpy()).max() < 1e-9 * largest
