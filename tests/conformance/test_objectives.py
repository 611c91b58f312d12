"""Every objective: gradients, both engines, weights of samples, scores and bad targets."""

import numpy as np
import pytest
from gradcheck import numerical_gradient, relative_error

from chainrule import OPTIMIZERS, Dataset, NeuralNetwork, load_model, save_model
from chainrule.core.errors import ConfigError
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanSquaredError,
    Poisson,
    SquaredError,
)
from chainrule.nn.network import Network
from chainrule.nn.objective import make_objective
from chainrule.training.trainer import Trainer

CASES = [
    *((loss(label_smoothing=share), 3) for loss in (CrossEntropy, MeanSquaredError) for share in (0.0, 0.2)),
    *((loss, k) for loss in (SquaredError(), Huber(delta=0.7), Poisson()) for k in (1, 3)),
    *((BinaryCrossEntropy(label_smoothing=share), k) for share in (0.0, 0.1) for k in (1, 3)),
]
N, D = 300, 250


def make_targets(loss: Loss, k: int, n: int = N) -> np.ndarray:
    random = np.random.default_rng(3)
    if loss.link == "softmax":
        return random.integers(0, k, n)
    if loss.link == "sigmoid":
        return random.integers(0, 2, (n, k)).astype(float)
    return random.poisson(2, (n, k)).astype(float) if loss.link == "exp" else random.normal(size=(n, k))


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest):
    return request.param


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(case, weighted, random) -> None:
    loss, k = case
    network = Network([6, 5, k], "tanh", dtype="float64", seed=1, loss=loss)
    x, y = random.normal(size=(7, 6)), make_targets(loss, k, 7)
    weights = random.uniform(0, 2, 7) if weighted else None
    _, gradients = network.loss_and_gradients(x, y, weights)
    expected = numerical_gradient(lambda: network.loss_and_gradients(x, y, weights)[0], network.parameters.flat)
    assert relative_error(gradients.flat, expected) < 1e-8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-3)])
def test_both_engines_and_any_number_of_threads(case, weighted, dtype, tolerance) -> None:
    loss, k = case
    random = np.random.default_rng(5)
    x, weights = random.normal(size=(N, D)).astype(dtype), random.uniform(0, 2, N)
    weights = (weights / weights.mean()).astype(dtype) if weighted else None
    runs = []
    for engine, threads in ((ReferenceEngine, 1), (CompiledEngine, 1), (CompiledEngine, 2), (CompiledEngine, 3)):
        network = Network([D, 240, 230, k], "tanh", dtype=dtype, seed=1, loss=loss)
        y = network.check_targets(make_targets(loss, k))
        network.objective.prepare(y)
        made = engine(network, OPTIMIZERS["adam"](), 32, threads)
        results = made.train(x, y, np.arange(N)[::-1], weights)
        evaluation = made.evaluate(x, y, weights)
        runs.append((network.parameters.flat, results.losses, [results.score_sum, evaluation.loss, evaluation.score]))
    for ours in runs[1:]:
        for one, other in zip(ours, runs[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    for ours in runs[2:]:
        assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(ours, runs[1], strict=True))


def test_a_weight_counts_as_many_samples(case, random) -> None:
    loss, k = case
    network = Network([6, 5, k], dtype="float64", loss=loss)
    x, y, counts = random.normal(size=(5, 6)), make_targets(loss, k, 5), np.array([1, 0, 3, 2, 1])
    value, gradients = network.loss_and_gradients(x, y, counts)
    repeated = network.loss_and_gradients(np.repeat(x, counts, axis=0), np.repeat(y, counts, axis=0))
    # Weights are scaled to a mean of 1 over the samples given.
    assert value == pytest.approx(repeated[0], rel=1e-12)
    np.testing.assert_allclose(gradients.flat, repeated[1].flat, atol=1e-14)
    targets = network.check_targets(y)
    weighted = network.objective.evaluate(network.logits(x), targets, counts / counts.mean())
    plain = network.objective.evaluate(network.logits(np.repeat(x, counts, axis=0)), np.repeat(targets, counts, axis=0))
    assert (weighted.loss, weighted.score) == (pytest.approx(plain.loss), pytest.approx(plain.score))


@pytest.mark.torch
def test_losses_of_pytorch(random) -> None:
    import torch
    from torch.nn import functional

    z, labels = torch.tensor(random.normal(size=(6, 3)), requires_grad=True), random.integers(0, 3, 6)
    for loss, targets, reference in [
        (CrossEntropy(label_smoothing=0.1), labels, lambda t: functional.cross_entropy(z, t, label_smoothing=0.1)),
        (SquaredError(), random.normal(size=(6, 3)), lambda t: 1.5 * functional.mse_loss(z, t)),
        (Huber(delta=0.5), random.normal(size=(6, 3)), lambda t: 3 * functional.huber_loss(z, t, delta=0.5)),
        (
            BinaryCrossEntropy(),
            random.integers(0, 2, (6, 3)) * 1.0,
            lambda t: 3 * functional.binary_cross_entropy_with_logits(z, t),
        ),
    ]:
        z.grad = None
        value = reference(torch.tensor(targets))
        value.backward()
        objective = Network([2, 3], dtype="float64", loss=loss).objective
        ours, gradient = objective.loss_and_gradient(z.detach().numpy(), objective.check_targets(targets, 3, "float64"))
        assert ours == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-9, atol=1e-15)
    z.grad = None
    counts = random.poisson(2, (6, 3)) * 1.0
    functional.poisson_nll_loss(z, torch.tensor(counts), reduction="sum").backward()
    objective = Network([2, 3], dtype="float64", loss="poisson").objective
    np.testing.assert_allclose(
        objective.loss_and_gradient(z.detach().numpy(), counts)[1], z.grad.numpy() / 6, rtol=1e-9
    )


def test_smoothing_is_for_training_only() -> None:
    smooth, plain = (
        Network([4, 3], seed=1, loss=CrossEntropy(label_smoothing=share)).objective for share in (0.3, 0.0)
    )
    z, y = np.array([[2.0, 0.0, -1.0]]), np.array([0])
    assert smooth.evaluate(z, y).loss == plain.evaluate(z, y).loss
    assert smooth.loss_and_gradient(z, y)[0] > plain.loss_and_gradient(z, y)[0]


def test_r2_by_hand() -> None:
    objective = Network([1, 2], dtype="float64", loss="squared_error").objective
    y = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 10.0]])
    z = np.array([[1.0, 10.0], [2.0, 10.0], [4.0, 10.0]])
    assert objective.evaluate(z, y).score == pytest.approx((1 - 1 / 2 + 1) / 2)
    objective.prepare(y)
    # A constant target adds nothing to the score of training samples.
    assert objective.sum_scores(z, y) / 3 == pytest.approx(1 - (1 / 2) / 2)


@pytest.mark.parametrize(("loss", "low"), [("squared_error", 0.9), ("huber", 0.9), ("poisson", 0.8)])
def test_regression_learns(loss, low, random) -> None:
    x = random.normal(size=(600, 3))
    y = np.exp(0.5 * x[:, 0] - 0.3 * x[:, 1])
    network = NeuralNetwork([3, 16, 1], "tanh", loss=loss)
    history = network.fit(
        x[:500],
        y[:500],
        validation_data=(x[500:], y[500:]),
        epochs=60,
        optimizer=OPTIMIZERS["adam"](learning_rate=0.01),
    )
    assert history[-1].score_name == "r2"
    assert history[-1].val_score > low
    assert network.predict(x).shape == (600,)
    assert network.evaluate(x, y).score > low
    with pytest.raises(ConfigError, match="no classes"):
        network.predict_proba(x)


def test_labels_are_learned_one_by_one(random, tmp_path) -> None:
    x = random.normal(size=(600, 4))
    y = (x[:, :2] > 0).astype(int)
    network = NeuralNetwork([4, 16, 2], loss="binary_cross_entropy")
    network.fit(x, y, epochs=30)
    evaluation = network.evaluate(x, y)
    assert evaluation.accuracy > 0.9
    np.testing.assert_array_equal(network.predict(x), network.predict_proba(x) > 0.5)
    save_model(network, tmp_path / "m.safetensors")
    np.testing.assert_array_equal(load_model(tmp_path / "m.safetensors").predict(x), network.predict(x))


def test_balanced_weights_help_the_rare_class(random) -> None:
    x = np.concatenate([random.normal(size=(950, 2)), random.normal(loc=1.5, size=(50, 2))])
    y = np.repeat([0, 1], [950, 50])
    recalls = []
    for class_weight in (None, "balanced"):
        network = NeuralNetwork([2, 2], seed=1)
        network.fit(x, y, class_weight=class_weight, epochs=10)
        recalls.append((network.predict(x)[y == 1] == 1).mean())
    assert recalls[1] > recalls[0] + 0.3


def test_class_weights_multiply_sample_weights() -> None:
    data = Dataset.from_arrays(np.zeros((4, 1)), [0, 0, 0, 1], sample_weight=[1, 2, 3, 4], class_weight={0: 10, 1: 0.5})
    np.testing.assert_allclose(data.sample_weight, [10, 20, 30, 2])
    balanced = Dataset.from_arrays(np.zeros((4, 1)), [0, 0, 0, 1], class_weight="balanced").sample_weight
    np.testing.assert_allclose(balanced, [2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("squared_error", [[1.0, 2.0]], r"\(n, 1\).*\(1, 2\)"),
        ("squared_error", [np.nan], "finite.*nan"),
        ("poisson", [-1.0], "from 0.*-1"),
        ("binary_cross_entropy", [0.5], r"0 \(false\) and 1 \(true\).*0.5"),
        ("binary_cross_entropy", [2], "from 0 to 1.*2"),
    ],
)
def test_bad_targets(loss, y, message) -> None:
    with pytest.raises(ConfigError, match=message):
        NeuralNetwork([1, 1], loss=loss).fit([[0.0]], y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight": [1.0]}, r"\(2,\).*\(1,\)"),
        ({"sample_weight": [1.0, -1.0]}, "0 or more.*-1"),
        ({"sample_weight": [np.nan, 1.0]}, "finite.*nan"),
        ({"sample_weight": [0.0, 0.0]}, "only zeros"),
        ({"class_weight": "even"}, "balanced.*even"),
        ({"class_weight": {0: 1.0}}, "every class.*1"),
        ({"class_weight": {0: 1.0, 1: "a"}}, "class_weight.*0 or more.*'a'"),
        ({"class_weight": {0: 1.0, 1: -1.0}}, "class_weight.*0 or more.*-1"),
    ],
)
def test_bad_weights(arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        NeuralNetwork([1, 2]).fit([[0.0], [1.0]], [0, 1], **arguments)


@pytest.mark.parametrize(("n", "batch_size"), [(5, 1), (5, 2), (1, 8)])
def test_normalization_needs_more_than_one_sample(n, batch_size) -> None:
    network, data = (
        Network([2, 3, 2], batch_norm=True),
        Dataset.from_arrays(np.zeros((n, 2)), [0] * n, classes=["a", "b"]),
    )
    with pytest.raises(ConfigError, match=f"one sample.*{n} samples.*{batch_size}"):
        Trainer(network, data, "adam", batch_size=batch_size, engine="numpy", seed=0)


def test_a_loss_for_other_targets_is_refused(digits) -> None:
    numbers = Dataset.from_arrays(np.zeros((3, 2)), [0.5, 1.5, 2.5], classes=())
    for sizes, loss, data, message in [
        ([64, 10], "squared_error", digits, "squared_error is for numbers.*have classes.*cross_entropy"),
        ([2, 2], "cross_entropy", numbers, "cross_entropy is for classes.*have none.*squared_error"),
    ]:
        with pytest.raises(ConfigError, match=message):
            NeuralNetwork(sizes, loss=loss).fit(data)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_a_nearly_constant_target_gives_finite_scores(engine, random) -> None:
    x, y = random.normal(size=(60, 3)), 1e-20 * random.normal(size=60)
    network = NeuralNetwork([3, 8, 1], loss="squared_error")
    history = network.fit(x[:50], y[:50], validation_data=(x[50:], y[50:]), epochs=1, engine=engine)
    assert np.isfinite(history[0].train_score)
    assert history.to_jsonl()


def test_huge_weights_are_scaled(digits) -> None:
    ends = []
    for weight in (1.0, 1e308):
        network = NeuralNetwork([64, 10])
        network.fit(digits.x_train, digits.y_train, sample_weight=np.full(len(digits.x_train), weight), epochs=1)
        ends.append(network.parameters.flat.tobytes())
    assert ends[0] == ends[1]


def test_predictions_have_one_form(random) -> None:
    x, y = random.normal(size=(20, 3)), random.normal(size=20)
    evaluation = NeuralNetwork([3, 1], loss="squared_error").evaluate(x, y)
    assert evaluation.predictions.shape == evaluation.labels.shape == (20,)


def test_a_loss_with_an_unknown_link_is_refused() -> None:
    class Odd(LOSSES["squared_error"]):
        link = "odd"

    with pytest.raises(ConfigError, match=r"link of Odd.*softmax.*odd"):
        make_objective(Odd())


def test_the_compiled_engine_refuses_targets_of_another_shape(random) -> None:
    """Machine code would read them as something else."""
    network = Network([3, 1], loss="squared_error")
    with pytest.raises(ConfigError, match=r"shape \(n, 1\).*\(10,\)"):
        CompiledEngine(network, OPTIMIZERS["sgd"](), 5, 1).train(
            random.normal(size=(10, 3)), np.ones(10), np.arange(10)
        )
