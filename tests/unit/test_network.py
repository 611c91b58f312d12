import copy
import pickle

import numpy as np
import pytest

from chainrule import Dataset, NeuralNetwork
from chainrule.core.errors import ConfigError


def test_names_shapes_and_order() -> None:
    network = NeuralNetwork([784, 128, 10])
    shapes = {name: array.shape for name, array in network.parameters.items()}
    assert shapes == {
        "layer1.weights": (784, 128),
        "layer1.biases": (128,),
        "layer2.weights": (128, 10),
        "layer2.biases": (10,),
    }
    assert list(shapes) == ["layer1.weights", "layer1.biases", "layer2.weights", "layer2.biases"]
    assert isinstance(network.parameters, dict)
    assert network.parameters["layer1.weights"].dtype == np.float32


def test_a_network_worked_by_hand() -> None:
    """Two inputs, two ReLU neurons, two classes; every number by hand."""
    network = NeuralNetwork([2, 2, 2], activation="ReLU", loss="cross_entropy", dtype="float64")
    network.parameters["layer1.weights"] = [[1, -1], [2, 1]]
    network.parameters["layer1.biases"] = [0, 0.5]
    network.parameters["layer2.weights"] = [[1, 0], [0, 1]]
    network.parameters["layer2.biases"] = [0, np.log(3.0) + 3]
    # x = (1, 1): z1 = (3, 0.5), a1 = (3, 0.5); logits (3, 3.5 + log 3). Take x = (1, 0): z1 = (1, -0.5), a1 = (1, 0).
    x, y = np.array([[1.0, 0.0]]), np.array([0])
    network.parameters["layer2.biases"] = [-1, np.log(3.0)]  # logits (0, log 3): p = (1/4, 3/4)
    np.testing.assert_allclose(network.predict_proba(x), [[0.25, 0.75]], rtol=1e-15)
    loss, gradients = network.loss_and_gradients(x, y)
    assert loss == pytest.approx(np.log(4.0), rel=1e-15)
    np.testing.assert_allclose(gradients["layer2.weights"], [[-0.75, 0.75], [0, 0]], rtol=1e-15)
    np.testing.assert_allclose(gradients["layer2.biases"], [-0.75, 0.75], rtol=1e-15)
    np.testing.assert_allclose(gradients["layer1.weights"], [[-0.75, 0], [0, 0]], rtol=1e-15)
    np.testing.assert_allclose(gradients["layer1.biases"], [-0.75, 0], rtol=1e-15)


def test_softmax_regression_has_no_hidden_layer() -> None:
    network = NeuralNetwork([3, 2], dtype="float64")
    x = np.array([[1.0, 2.0, 3.0]])
    logits = x @ network.parameters["layer1.weights"]
    np.testing.assert_allclose(network.predict_proba(x), np.exp(logits) / np.exp(logits).sum(), rtol=1e-14)


def test_predictions_in_blocks_are_those_of_single_rows(random) -> None:
    network = NeuralNetwork([5, 4, 3], seed=2, dtype="float64")
    x = random.normal(size=(5000, 5))
    p = network.predict_proba(x)
    assert p.shape == (5000, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(p[4321], network.predict_proba(x[4321:4322])[0], rtol=1e-13)
    assert network.predict(x).dtype == np.int64
    np.testing.assert_array_equal(network.predict(x), p.argmax(axis=1))


def test_evaluate_agrees_with_loss_and_predictions(random) -> None:
    network = NeuralNetwork([5, 4, 3], seed=2, dtype="float64")
    x, y = random.normal(size=(50, 5)), random.integers(0, 3, 50)
    evaluation = network.evaluate(x, y)
    assert evaluation.loss == pytest.approx(network.loss_and_gradients(x, y)[0], rel=1e-13)
    assert evaluation.accuracy == (network.predict(x) == y).mean()


def test_results_of_two_calls_are_apart(random) -> None:
    network = NeuralNetwork([5, 4, 3])
    x, y = random.normal(size=(2, 6, 5)), random.integers(0, 3, (2, 6))
    _, first = network.loss_and_gradients(x[0], y[0])
    kept = first.flat.copy()
    network.loss_and_gradients(x[1], y[1])
    np.testing.assert_array_equal(first.flat, kept)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])  # noqa: S301
def test_copies_have_buffers_of_their_own(twin) -> None:
    network = NeuralNetwork([3, 4, 2])
    parameters = twin(network.parameters)
    np.testing.assert_array_equal(parameters.flat, network.parameters.flat)
    parameters["layer1.weights"][...] = 5
    assert (parameters.flat == 5).any(), "still one buffer"
    assert not (network.parameters.flat == 5).any(), "apart from the first"
    other = copy.deepcopy(network)
    other.parameters.flat[...] = 5
    assert not (network.parameters.flat == 5).any()


def test_setting_a_parameter_copies_into_the_buffer() -> None:
    network = NeuralNetwork([3, 4, 2])
    network.parameters["layer1.biases"] = [1, 2, 3, 4]
    assert network.parameters.flat[20:24].tolist() == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match=r"shape \(4,\); an array of shape \(3,\)"):
        network.parameters["layer1.biases"] = [1, 2, 3]
    with pytest.raises(ConfigError, match=r"no parameter 'layer9\.biases'"):
        network.parameters["layer9.biases"] = 0
    for lose in (
        lambda p: p.pop("layer1.biases"),
        lambda p: p.popitem(),
        lambda p: p.clear(),
        lambda p: p.__delitem__("layer1.biases"),
        lambda p: p.__ior__({"x": 1}),
        lambda p: p.setdefault("x", 1),
    ):
        with pytest.raises(ConfigError, match="none can be added or removed"):
            lose(network.parameters)
    with pytest.raises(ConfigError, match="does not fit"):
        network.parameters["layer1.biases"] = None


@pytest.mark.parametrize("sizes", [[], [3], [3, 1], [0, 2], [3, -1, 2], [3, 2.5], [3, "4"], [True, 2], 5, None])
def test_bad_sizes(sizes) -> None:
    with pytest.raises(ConfigError, match="sizes must list"):
        NeuralNetwork(sizes)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("activation", "relo", "Did you mean 'ReLU'"),
        ("loss", "hinge", "Unknown loss 'hinge'"),
        ("weight_init", "Xavir", "Did you mean 'Xavier'"),
        ("dtype", "float16", "float32 or float64"),
        ("dtype", "int32", "float32 or float64"),
        ("dtype", "nonsense", "float32 or float64"),
        ("dtype", np.dtype("float32"), "float32 or float64"),
        ("seed", -1, "seed must be"),
        ("seed", 1.5, "seed must be"),
    ],
)
def test_bad_arguments(argument, value, message) -> None:
    with pytest.raises(ConfigError, match=message):
        NeuralNetwork([3, 2], **{argument: value})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 4)), [0, 1], r"shape \(n, 3\).*got \(2, 4\)"),
        (np.zeros(3), [0], r"got \(3,\)"),
        (np.zeros((2, 3)), [0, 5], r"from 0 to 4.*got 5"),
        (np.zeros((2, 3)), [0, -1], "got -1"),
        (np.zeros((2, 3)), [0, 0.5], "got 0.5"),
        (np.zeros((2, 3)), [0, np.nan], "got nan"),
        (np.zeros((2, 3)), [[0, 1]], r"shape \(n,\)"),
        (np.zeros((2, 3)), [0], "got 2 and 1"),
        (np.zeros((0, 3)), [], "at least one row"),
        ([["a", "b", "c"]], [0], "must hold numbers"),
        (np.zeros((1, 3)), ["a"], "must hold numbers"),
        (np.zeros((1, 3), complex), [0], "must hold numbers"),
        ([[1, 2, 3], [1, 2]], [0, 1], "x must"),
    ],
)
def test_bad_batches(x, y, message) -> None:
    with pytest.raises(ConfigError, match=f"(?i){message}"):
        NeuralNetwork([3, 5]).loss_and_gradients(x, y)


def test_labels_of_other_types_are_taken() -> None:
    network = NeuralNetwork([3, 2], dtype="float64")
    x = np.ones((2, 3))
    losses = {
        network.loss_and_gradients(x, y)[0] for y in ([0, 1], [0.0, 1.0], np.array([0, 1], np.uint8), [False, True])
    }
    assert len(losses) == 1


def test_samples_that_are_not_finite_give_a_loss_that_is_not() -> None:
    network = NeuralNetwork([3, 4, 2])
    for value in (np.nan, np.inf, 1e38):
        x = np.full((2, 3), value)
        assert not np.isfinite(network.loss_and_gradients(x, [0, 1])[0]) or value == 1e38


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "evaluate"])
def test_samples_to_predict_must_be_finite(method, value) -> None:
    x = np.ones((2, 3))
    x[1, 2] = value
    with pytest.raises(ConfigError, match=f"x .*finite.*{value}.*row 1, column 2"):
        getattr(NeuralNetwork([3, 4, 2]), method)(x, *([[0, 1]] if method == "evaluate" else []))


def test_arguments_of_other_kinds_say_what_to_do() -> None:
    network = NeuralNetwork([3, 4, 2])
    data = Dataset.from_arrays(np.ones((2, 3)), [0, 1])
    for method in (network.predict, network.predict_proba, network.evaluate):
        with pytest.raises(ConfigError, match=r"x_test.*Dataset"):
            method(data)
    with pytest.raises(ConfigError, match=r"y.*missing.*evaluate\(x, y\)"):
        network.evaluate(np.ones((2, 3)))
    with pytest.raises(ConfigError, match=r"\(n, 3\).*\(3,\).*np.newaxis"):
        network.predict(np.ones(3))
    with pytest.raises(ConfigError, match=r"y.*\(n, 2\).*\(3, 3\).*argmax\(axis=1\).*one-hot"):
        network.fit(np.ones((3, 3)), np.eye(3))
    with pytest.raises(ConfigError, match=r"y .*\(2, 1\).*np.ravel"):
        network.fit(np.ones((2, 3)), [[0], [1]])


def test_parameters_cannot_be_replaced() -> None:
    network = NeuralNetwork([2, 2])
    with pytest.raises(AttributeError):
        network.parameters = network.parameters.copy()
