"""Dropout and batch normalization: equal in both engines, for any number of threads, and true to their definitions."""

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork, load_model, save_model
from chainrule.core.errors import ConfigError
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.dropout import derive_key, drop
from chainrule.nn.network import Network
from chainrule.nn.normalization import EPSILON

PARTS = [
    {"dropout": 0.5},
    {"input_dropout": 0.2},
    {"batch_norm": True},
    {"batch_norm": True, "dropout": 0.3, "input_dropout": 0.1},
]


def train(engine, digits, *, hidden=(30, 20), batch=12, threads=1, dtype="float64", activation="ReLU", wide=1, **parts):
    network = Network([64 * wide, *hidden, 10], activation, seed=3, dtype=dtype, **parts)
    rule = OPTIMIZERS["adam"](learning_rate=0.003, weight_decay=0.01)
    x = np.tile(digits.x_train.astype(dtype), wide)
    made = engine(network, rule, batch, threads, 99)
    order = np.arange(4 * batch + batch // 2)
    losses = [made.train(x, digits.y_train, order).losses for _ in range(2)]
    return network, rule, np.concatenate(losses), made.evaluate(x, digits.y_train)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("activation", ["ReLU", "tanh", "sigmoid"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 1e-4)])
def test_both_engines_compute_the_same(digits, parts, activation, dtype, rtol) -> None:
    one, other = (
        train(engine, digits, dtype=dtype, activation=activation, **parts)
        for engine in (ReferenceEngine, CompiledEngine)
    )
    memory = one[0].parameters.memory
    np.testing.assert_allclose(other[0].parameters.memory, memory, rtol=0, atol=rtol * np.abs(memory).max())
    np.testing.assert_allclose(other[2], one[2], rtol=rtol)
    np.testing.assert_allclose(other[3].probabilities, one[3].probabilities, rtol=0, atol=rtol)
    for slot in one[1].slots:
        ours, theirs = other[1].state.slots[slot].flat, one[1].state.slots[slot].flat
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("hidden", "batch"), [((), 9), ((30, 20), 12), ((230, 256), 16), ((150,), 200)])
def test_the_number_of_threads_changes_no_bit(digits, parts, dtype, hidden, batch) -> None:
    runs = [
        train(CompiledEngine, digits, hidden=hidden, batch=batch, threads=threads, dtype=dtype, wide=4, **parts)
        for threads in (1, 2, 3)
    ]
    for network, _, losses, evaluation in runs[1:]:
        assert network.parameters.memory.tobytes() == runs[0][0].parameters.memory.tobytes()
        assert losses.tobytes() == runs[0][2].tobytes()
        assert evaluation.probabilities.tobytes() == runs[0][3].probabilities.tobytes()


@pytest.mark.parametrize("engine", [ReferenceEngine, CompiledEngine])
def test_dropout_depends_on_its_seed(digits, engine) -> None:
    ends = []
    for seed in (1, 1, 2):
        network = Network([64, 20, 10], seed=3, dropout=0.5)
        engine(network, OPTIMIZERS["sgd"](), 10, 1, seed).train(digits.x_train, digits.y_train, np.arange(100))
        ends.append(network.parameters.flat.tobytes())
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(rate) -> None:
    n = 400
    masks = [drop(np.ones((n, n)), rate, derive_key(5, step), layer) for step in range(3) for layer in range(2)]
    deviation = (rate * (1 - rate)) ** 0.5 / n
    for mask in masks:
        assert set(np.unique(mask)) == {0.0, np.float64(2**32 / (2**32 - round(rate * 2**32)))}
        assert (mask == 0).mean() == pytest.approx(rate, abs=5 * deviation)
        # Rows and columns are as even as independent draws.
        for axis in (0, 1):
            assert (mask == 0).mean(axis=axis).std() == pytest.approx(deviation * n**0.5, rel=0.25)
    centered = [(mask == 0) - rate for mask in masks]
    for number, one in enumerate(centered):
        for other in [*centered[number + 1 :], np.roll(one, 1, axis=0), np.roll(one, 1, axis=1)]:
            assert abs((one * other).mean()) < 5 * rate * (1 - rate) / n


def test_nothing_is_left_out_of_a_prediction(digits) -> None:
    plain, dropped = NeuralNetwork([64, 20, 10], seed=3), NeuralNetwork([64, 20, 10], seed=3, dropout=0.5)
    np.testing.assert_array_equal(plain.predict_proba(digits.x_test), dropped.predict_proba(digits.x_test))


def test_normalized_layers_have_mean_0_and_variance_1(digits) -> None:
    network = Network([64, 20, 15, 10], seed=3, dtype="float64", batch_norm=True)
    for output in network.forward(digits.x_train[:200].astype(float), 0)[:-1]:
        np.testing.assert_allclose(output.z.mean(axis=0), 0, atol=1e-12)
        variance = output.normalized.variance
        np.testing.assert_allclose(output.z.var(axis=0), variance / (variance + EPSILON), rtol=1e-9)


def test_predictions_use_the_running_means(digits) -> None:
    """By their definition, not by absorbing them into the weights."""
    network, _, _, evaluation = train(ReferenceEngine, digits, batch_norm=True)
    a = digits.x_train.astype(float)
    for layer in network.layers:
        z = a @ layer.weights
        if layer.is_normalized:
            z = layer.parameters["scales"] * (z - layer.buffers["mean"]) / np.sqrt(layer.buffers["variance"] + EPSILON)
        z = z + layer.biases
        a = np.maximum(z, 0)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(evaluation.probabilities, p / p.sum(axis=1, keepdims=True), atol=1e-10)


def test_running_means_approach_those_of_the_data(digits) -> None:
    network, rule = Network([64, 20, 10], dtype="float64", batch_norm=True), OPTIMIZERS["sgd"](learning_rate=1e-12)
    engine = CompiledEngine(network, rule, 100, 1)
    x = digits.x_train.astype(float)[:1000]
    for _ in range(20):
        engine.train(x, digits.y_train, np.arange(1000))
    z = x @ network.layers[0].weights
    np.testing.assert_allclose(network.layers[0].buffers["mean"], z.mean(axis=0), atol=0.2 * z.std())
    np.testing.assert_allclose(network.layers[0].buffers["variance"], z.var(axis=0), rtol=0.3)


def test_a_model_file_keeps_parts_and_running_means(digits, tmp_path) -> None:
    network = NeuralNetwork([64, 20, 10], dropout=0.25, input_dropout=0.1, batch_norm=True)
    network.fit(digits.x_train[:300], digits.y_train[:300], epochs=2)
    save_model(network, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert repr(again) == repr(network)
    assert again.parameters.memory.tobytes() == network.parameters.memory.tobytes()
    for rows in (10, 1200):  # by NumPy, and by machine code
        np.testing.assert_array_equal(
            again.predict_proba(digits.x_train[:rows]), network.predict_proba(digits.x_train[:rows])
        )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"dropout": 1.0}, "dropout.*below 1.*1.0"),
        ({"dropout": -0.1}, "dropout.*-0.1"),
        ({"input_dropout": "much"}, "input_dropout.*much"),
        ({"input_dropout": float("nan")}, "input_dropout.*nan"),
        ({"batch_norm": 1}, "batch_norm.*True or False.*1"),
    ],
)
def test_bad_parts_are_refused(parts, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Network([4, 3, 2], **parts)
