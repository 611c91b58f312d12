"""Probabilities of classes as targets: gradients, both engines, equality with class numbers, and bad input."""

import numpy as np
import pytest
from gradcheck import numerical_gradient, relative_error

from chainrule import OPTIMIZERS, Adam, Dataset, NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.losses import CrossEntropy, Loss, MeanSquaredError
from chainrule.nn.network import Network

LOSSES = [loss(label_smoothing=share) for loss in (CrossEntropy, MeanSquaredError) for share in (0.0, 0.2)]
N, D, K = 300, 250, 4


def make_probabilities(n: int, k: int = K) -> np.ndarray:
    return np.random.default_rng(3).dirichlet(np.full(k, 0.5), n)


@pytest.fixture(params=LOSSES, ids=str)
def loss(request: pytest.FixtureRequest) -> Loss:
    return request.param


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(loss, k, weighted, random) -> None:
    network = Network([6, 5, k], "tanh", dtype="float64", seed=1, loss=loss)
    x, y = random.normal(size=(7, 6)), make_probabilities(7, k)
    weights = random.uniform(0, 2, 7) if weighted else None
    _, gradients = network.loss_and_gradients(x, y, weights)
    expected = numerical_gradient(lambda: network.loss_and_gradients(x, y, weights)[0], network.parameters.flat)
    assert relative_error(gradients.flat, expected) < 1e-8


@pytest.mark.torch
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_pytorch(smoothing, random) -> None:
    import torch
    from torch.nn import functional

    z, y = torch.tensor(random.normal(size=(6, K)), requires_grad=True), make_probabilities(6)
    value = functional.cross_entropy(z, torch.tensor(y), label_smoothing=smoothing)
    value.backward()
    objective = Network([2, K], dtype="float64", loss=CrossEntropy(label_smoothing=smoothing)).objective
    ours, gradient = objective.loss_and_gradient(z.detach().numpy(), objective.check_targets(y, K, "float64"))
    assert ours == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-3)])
def test_both_engines_and_any_number_of_threads(loss, weighted, dtype, tolerance) -> None:
    random = np.random.default_rng(5)
    x, weights = random.normal(size=(N, D)).astype(dtype), random.uniform(0, 2, N)
    weights = (weights / weights.mean()).astype(dtype) if weighted else None
    runs = []
    for engine, threads in ((ReferenceEngine, 1), (CompiledEngine, 1), (CompiledEngine, 2), (CompiledEngine, 3)):
        network = Network([D, 240, 230, K], "tanh", dtype=dtype, seed=1, loss=loss)
        y = network.check_targets(make_probabilities(N))
        made = engine(network, OPTIMIZERS["adam"](), 32, threads)
        results = made.train(x, y, np.arange(N)[::-1], weights)
        evaluation = made.evaluate(x, y, weights)
        runs.append((network.parameters.flat, results.losses, [results.score_sum, evaluation.loss, evaluation.score]))
    for ours in runs[1:]:
        for one, other in zip(ours, runs[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    for ours in runs[2:]:
        assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(ours, runs[1], strict=True))


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certain_probabilities_train_as_class_numbers_do(loss, engine, dtype, digits) -> None:
    ends = []
    for y in (digits.y_train, np.eye(10)[digits.y_train]):
        network = NeuralNetwork([64, 12, 10], loss=loss, seed=1, dtype=dtype)
        history = network.fit(
            digits.x_train, y, validation_data=(digits.x_val, digits.y_val), epochs=1, engine=engine, threads=1
        )
        ends.append((network.parameters.flat, history[0].train_loss, history[0].train_score))
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_one_network_learns_from_both_in_turn(digits) -> None:
    """The compiled engine has code for class numbers and code for probabilities, and one engine may get either."""
    network = NeuralNetwork([64, 10], dtype="float64", seed=1)
    engine = CompiledEngine(network, Adam(), 32, 1)
    x, order = digits.x_train.astype(np.float64), np.arange(320)
    losses = [engine.train(x, y, order).losses for y in (digits.y_train, np.eye(10)[digits.y_train], digits.y_train)]
    other = NeuralNetwork([64, 10], dtype="float64", seed=1)
    engine = CompiledEngine(other, Adam(), 32, 1)
    for expected in losses:
        np.testing.assert_allclose(engine.train(x, digits.y_train, order).losses, expected, rtol=1e-10)


def test_the_score_is_by_the_most_probable_class() -> None:
    objective = Network([1, 3], dtype="float64").objective
    z = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    y = np.array([[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]])
    assert objective.compute_scores(z, y).tolist() == [1.0, 0.0]
    evaluation = objective.evaluate(z, y)
    assert (evaluation.score, evaluation.labels.tolist()) == (0.5, [0, 0])
    by_hand = -(y * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1).mean()
    assert evaluation.loss == pytest.approx(by_hand, rel=1e-14)


@pytest.mark.parametrize(
    ("y", "facts"),
    [
        ([[0.5, 0.6], [0.5, 0.5]], "sum.*1.*Row 0.*1.1"),
        ([[1.5, -0.5], [0.5, 0.5]], "from 0.*-0.5.*row 0"),
        ([[0.5, 0.5], [np.nan, 1.0]], "finite.*nan.*row 1"),
        ([[0.5, 0.5], [np.inf, 1.0]], "finite.*inf.*row 1"),
        ([[0.2, 0.3, 0.5]] * 2, r"\(n,\).*\(2, 3\)"),
        ([["a", "b"]] * 2, "numbers"),
    ],
)
def test_bad_probabilities(y, facts) -> None:
    network = NeuralNetwork([1, 2])
    before = network.parameters.flat.copy()
    with pytest.raises(ConfigError, match=facts):
        network.fit([[0.0], [1.0]], y)
    assert (network.parameters.flat == before).all()


def test_a_dataset_of_probabilities() -> None:
    y = np.repeat([[0.9, 0.1], [0.2, 0.8]], 10, axis=0)
    data = Dataset.from_arrays(np.arange(20.0)[:, None], y, val_fraction=0.2)
    assert data.classes == ("0", "1")
    # The split is stratified by the most probable class.
    assert sorted(data.y_val[:, 0].tolist()) == pytest.approx([0.2, 0.2, 0.9, 0.9])
    assert data.train_labels.tolist() == [0] * 8 + [1] * 8
    with pytest.raises(ConfigError, match=r"class_weight.*probabilities"):
        data.weigh_classes("balanced")
