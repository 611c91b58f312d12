"""What every optimizer gets from its base class: schedules, decoupled decay, clipping; the same in both engines."""

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork, TrainConfig
from chainrule.core.errors import ConfigError
from chainrule.engine import make_engine
from chainrule.optim.optimizers import SGD, Adam
from chainrule.optim.schedules import SCHEDULES

VARIANTS = [
    *({"schedule": schedule} for schedule in SCHEDULES if schedule != "constant"),
    {"decay_type": "decoupled", "weight_decay": 0.1},
    {"clip_value": 0.001},
    {"schedule": "cosine", "decay_type": "decoupled", "weight_decay": 0.1, "clip_value": 0.01},
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


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedules_scale_the_learning_rate(name) -> None:
    optimizer, w, seen = SGD(learning_rate=0.1, schedule=name), {"w": np.zeros(1)}, []
    optimizer.schedule_span = (0, 4)
    for _ in range(6):
        before = w["w"].copy()
        optimizer.step(w, {"w": np.ones(1)})
        seen.append(float((before - w["w"])[0]))
    expected = [0.1 * SCHEDULES[name](min(step / 4, 1.0)) for step in range(6)]
    np.testing.assert_allclose(seen, expected, rtol=1e-14, atol=1e-17)


def test_known_factors() -> None:
    assert [SCHEDULES["linear"](p) for p in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [SCHEDULES["step"](p) for p in (0.0, 0.5, 0.75)] == [1.0, 0.1, 0.01]
    np.testing.assert_allclose([SCHEDULES["cosine"](p) for p in (0.0, 0.5, 1.0)], [1.0, 0.5, 0.0], atol=1e-16)


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
