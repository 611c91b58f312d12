"""What every optimizer gets from its base class: schedules, decoupled decay, clipping; the same in both engines."""

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork, TrainConfig
from chainrule.core.errors import ConfigError
from chainrule.core.fields import Float
from chainrule.engine import make_engine
from chainrule.optim.optimizers import SGD, Adam
from chainrule.optim.schedules import SCHEDULES
from chainrule.training.trainer import Trainer

VARIANTS = [
    *({"schedule": schedule} for schedule in SCHEDULES if schedule != "constant"),
    {"decay_type": "decoupled", "weight_decay": 0.1},
    {"clip_value": 0.001},
    {"warmup": 0.5},
    {"clip_norm": 0.05},
    {"bias_factor": 0.5},
    {"first_factor": 2.0, "last_factor": 0.1},
    {
        **{"schedule": "cosine", "warmup": 0.2, "decay_type": "decoupled", "weight_decay": 0.1, "clip_value": 0.01},
        **{"clip_norm": 0.3, "ema_decay": 0.9, "bias_factor": 3.0, "first_factor": 0.5},
    },
]


def train(engine: str, optimizer, digits, dtype: str = "float64", span=(0, 60)) -> np.ndarray:
    network = NeuralNetwork([64, 9, 10], seed=3, dtype=dtype)
    optimizer.schedule_span = span
    made = make_engine(engine, network, optimizer, 16, 1)
    made.train(digits.x_train.astype(dtype), digits.y_train, np.arange(16 * 40))
    return network.parameters.flat


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "eve"])
def test_engines_agree_and_the_variant_matters(digits, name, variant) -> None:
    make = OPTIMIZERS[name]
    compiled, reference = (train(engine, make(**variant), digits) for engine in ("compiled", "numpy"))
    np.testing.assert_allclose(compiled, reference, rtol=0, atol=1e-12 * np.abs(reference).max())
    assert np.abs(reference - train("numpy", make(), digits)).max() > 1e-6


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("sizes", "batch"), [([64, 9, 10], 40), ([256, 240, 250, 10], 16)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_threads_change_no_bit_where_the_norm_is_clipped(digits, threads, sizes, batch, batch_norm) -> None:
    x, ends = np.tile(digits.x_train, sizes[0] // 64), []
    for count in (1, threads):
        network = NeuralNetwork(sizes, seed=3, batch_norm=batch_norm)
        made = make_engine("compiled", network, Adam(clip_norm=0.1), batch, count)
        made.train(x, digits.y_train, np.arange(10 * batch))
        ends.append(network.parameters.flat.tobytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules_scale_the_learning_rate(name) -> None:
    optimizer, w, seen = SGD(learning_rate=0.1, schedule=name), {"w": np.zeros(1)}, []
    optimizer.schedule_span = (0, 4)
    for _ in range(6):
        before = w["w"].copy()
        optimizer.step(w, {"w": np.ones(1)})
        seen.append(float((before - w["w"])[0]))
    expected = [0.1 * SCHEDULES[name](min(step / 4, 1.0)) for step in range(6)]
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-16)


def test_known_factors() -> None:
    assert [SCHEDULES["linear"](p) for p in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [SCHEDULES["step"](p) for p in (0.0, 0.5, 0.75)] == [1.0, 0.1, 0.01]
    np.testing.assert_allclose([SCHEDULES["cosine"](p) for p in (0.0, 0.5, 1.0)], [1.0, 0.5, 0.0], atol=1e-16)


def test_more_known_factors() -> None:
    assert SCHEDULES["exponential"](0.5) == pytest.approx(0.1)
    np.testing.assert_allclose([SCHEDULES["one_cycle"](p) for p in (0.0, 0.3, 1.0)], [0.04, 1.0, 4e-6], atol=1e-16)
    # Cycles end where 1 + 15 p is a power of 2, and are at 1 half-way in between, on a logarithmic scale.
    np.testing.assert_allclose([SCHEDULES["coslog4"]((2**k - 1) / 15) for k in range(5)], 0, atol=1e-15)
    np.testing.assert_allclose([SCHEDULES["coslog4"]((2 ** (k + 0.5) - 1) / 15) for k in range(4)], 1)


def test_the_learning_rate_warms_up() -> None:
    optimizer = SGD(warmup=0.5, schedule="linear")
    optimizer.schedule_span = (0, 8)
    seen = []
    for step in range(9):
        optimizer.state.step_count = step
        seen.append(optimizer.schedule_factor())
    np.testing.assert_allclose(seen, [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_clipping_by_the_norm_by_hand() -> None:
    optimizer, w = SGD(learning_rate=1.0, clip_norm=1.0), {"a": np.zeros(1), "b": np.zeros(2)}
    optimizer.step(w, {"a": np.array([3.0]), "b": np.array([0.0, -4.0])})
    np.testing.assert_allclose(np.concatenate([w["a"], w["b"]]), [-0.6, 0.0, 0.8])
    optimizer.step(w, {"a": np.array([0.3]), "b": np.array([0.0, 0.4])})  # short enough
    np.testing.assert_allclose(np.concatenate([w["a"], w["b"]]), [-0.9, 0.0, 0.4])


def test_factors_of_the_learning_rate_by_hand() -> None:
    optimizer = SGD(learning_rate=1.0, bias_factor=2.0, first_factor=3.0, last_factor=5.0)
    names = [f"layer{layer}.{kind}" for layer in (1, 2, 10) for kind in ("weights", "biases")]
    w = {name: np.zeros(1) for name in names}
    optimizer.step(w, {name: np.ones(1) for name in names})
    assert [float(-w[name][0]) for name in names] == [3.0, 2.0, 1.0, 2.0, 5.0, 2.0]


def test_the_average_of_the_weights_by_hand() -> None:
    optimizer, w, weights = SGD(learning_rate=1.0, ema_decay=0.8), {"w": np.zeros(1)}, []
    for gradient in (1.0, -3.0, 0.5):
        optimizer.step(w, {"w": np.array([gradient])})
        weights.append(float(w["w"][0]))
    shares = np.array([0.8**2, 0.8, 1.0])
    np.testing.assert_allclose(optimizer.averaged("w"), (shares * weights).sum() / shares.sum())
    with pytest.raises(ConfigError, match="ema_decay"):
        SGD().averaged("w")


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_the_average_is_validated_and_kept_and_training_goes_on_without_it(digits, engine) -> None:
    network, plain = (NeuralNetwork([64, 16, 10], seed=3) for _ in range(2))
    trainers = [
        Trainer(net, digits, SGD(learning_rate=0.2, ema_decay=decay), batch_size=10, engine=engine, seed=1)
        for net, decay in ((network, 0.9), (plain, 0.0))
    ]
    for trainer in trainers:
        list(trainer.run(2))
    averaging, other = trainers
    np.testing.assert_array_equal(network.parameters.flat, plain.parameters.flat)
    assert [r.train_loss for r in averaging.history] == [r.train_loss for r in other.history]
    assert [r.val_loss for r in averaging.history] != [r.val_loss for r in other.history]
    for name, array in network.parameters.items():
        array[...] = averaging.optimizer.averaged(name)
    np.testing.assert_array_equal(network.parameters.flat, averaging.last_parameters)
    assert averaging.history[-1].val_loss == network.evaluate(digits.x_val, digits.y_val).loss


def test_fit_leaves_the_average(digits) -> None:
    optimizer, network = SGD(ema_decay=0.9), NeuralNetwork([64, 16, 10])
    network.fit(digits, optimizer=optimizer, epochs=1)
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(array, optimizer.averaged(name))


def test_a_hyperparameter_may_have_any_name(digits) -> None:
    """Not only those that the engine does not use itself."""

    class Shrinking(SGD):
        shrink = Float(0.5, "factor of the step", gt=0)

        @staticmethod
        def update(gradient, learning_rate, shrink):
            return shrink * learning_rate * gradient

    for options in ({}, {"clip_norm": 0.05}):
        compiled, reference = (train(engine, Shrinking(**options), digits) for engine in ("compiled", "numpy"))
        np.testing.assert_allclose(compiled, reference, rtol=0, atol=1e-12)


def test_decoupled_decay_by_hand() -> None:
    """AdamW, first step: w - lr * g / (|g| + eps) - lr * decay * w; biases do not decay. arXiv 1711.05101."""
    optimizer = Adam(learning_rate=0.1, weight_decay=0.5, decay_type="decoupled")
    w = {"layer1.weights": np.array([2.0]), "layer1.biases": np.array([2.0])}
    optimizer.step(w, {"layer1.weights": np.array([3.0]), "layer1.biases": np.array([3.0])})
    np.testing.assert_allclose(w["layer1.weights"], 2.0 - 0.1 - 0.1 * 0.5 * 2.0, rtol=1e-8)
    np.testing.assert_allclose(w["layer1.biases"], 2.0 - 0.1, rtol=1e-8)


def test_clipping_by_hand() -> None:
    optimizer, w = SGD(learning_rate=1.0, clip_value=0.5), {"w": np.zeros(3)}
    optimizer.step(w, {"w": np.array([-2.0, 0.25, 7.0])})
    np.testing.assert_array_equal(w["w"], [0.5, -0.25, -0.5])


def test_a_variant_that_is_changed_between_epochs_is_compiled_anew(digits) -> None:
    ends = []
    for engine in ("compiled", "numpy"):
        network, optimizer = NeuralNetwork([64, 10], seed=3, dtype="float64"), SGD()
        made = make_engine(engine, network, optimizer, 16, 1)
        x, order = digits.x_train.astype("float64"), np.arange(160)
        made.train(x, digits.y_train, order)
        optimizer.clip_value = 1e-4
        made.train(x, digits.y_train, order)
        ends.append(network.parameters.flat)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_a_schedule_without_a_number_of_steps_is_refused(digits, engine) -> None:
    with pytest.raises(ConfigError, match=r"'cosine'.*schedule_span"):
        train(engine, SGD(schedule="cosine"), digits, span=(0, 0))


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_fit_spans_the_schedule_over_its_epochs(digits, engine) -> None:
    optimizer = SGD(schedule="linear")
    NeuralNetwork([64, 10]).fit(digits, optimizer=optimizer, epochs=3, batch_size=100, engine=engine)
    steps = 3 * -(-len(digits.x_train) // 100)
    assert (optimizer.schedule_span, optimizer.state.step_count) == ((0, steps), steps)
    assert optimizer.schedule_factor() == 0.0


@pytest.mark.parametrize(("schedule", "may_change"), [("constant", True), ("cosine", False)])
def test_a_run_with_a_schedule_is_resumed_with_its_own_number_of_epochs_only(schedule, may_change) -> None:
    short, long = (TrainConfig({"schedule": schedule, "epochs": epochs}) for epochs in (3, 5))
    assert (short.find_differences(long) == {}) == may_change
    assert (short.fingerprint == long.fingerprint) == may_change
