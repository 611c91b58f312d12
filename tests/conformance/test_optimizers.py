"""Every registered optimizer: it descends, keeps dtypes, decays weights and not biases, and is unlike the others."""

import copy
import inspect
import pickle

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.nn.parameters import ParameterDict

NAMES = list(OPTIMIZERS)


def quadratic(w: np.ndarray) -> tuple[float, np.ndarray]:
    """A bowl ten times steeper one way than the other, lowest at (1, -2)."""
    distance, steepness = w - np.array([1.0, -2.0]), np.array([1.0, 10.0])
    return float(0.5 * (steepness * distance**2).sum()) + 0.1, steepness * distance


def walk(optimizer, steps: int, dtype: str = "float64") -> list[np.ndarray]:
    w = {"w": np.array([3.0, 2.0], dtype)}
    places = []
    for _ in range(steps):
        loss, gradient = quadratic(w["w"])
        optimizer.step(w, {"w": gradient.astype(dtype)}, loss=loss)
        places.append(w["w"].copy())
    return places


@pytest.mark.parametrize("name", NAMES)
def test_goes_downhill(name) -> None:
    # AdaGrad's steps only get shorter.
    optimizer = OPTIMIZERS[name](learning_rate=0.5 if name == "adagrad" else 0.02, weight_decay=0)
    last = walk(optimizer, 2000)[-1]
    # rmsprop never settles: its steps keep about the size of the learning rate.
    np.testing.assert_allclose(last, [1.0, -2.0], atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_the_test_above_can_fail(name) -> None:
    """Uphill steps, the classic sign mistake, end far away."""

    class Uphill(OPTIMIZERS[name]):
        def step(self, parameters, gradients, *, loss=None):
            super().step(parameters, {key: -value for key, value in gradients.items()}, loss=loss)

    with np.errstate(all="ignore"):
        last = walk(Uphill(learning_rate=0.02, weight_decay=0), 2000)[-1]
    assert not np.allclose(last, [1.0, -2.0], atol=0.05)


def test_each_differs_from_every_other() -> None:
    """A nag that is plain momentum, or a nadam that is adam, would show here."""
    ends = {name: walk(OPTIMIZERS[name](learning_rate=0.02, weight_decay=0), 3)[-1] for name in NAMES}
    for first in NAMES:
        for second in NAMES:
            if first < second:
                assert np.abs(ends[first] - ends[second]).max() > 1e-5, (first, second)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_arguments_and_slots(name, dtype) -> None:
    optimizer = OPTIMIZERS[name](learning_rate=0.01)
    parameters = {"layer1.weights": np.ones((2, 3), dtype), "layer1.biases": np.ones(3, dtype)}
    arrays = list(parameters.values())
    gradients = {key: np.full_like(value, 0.5) for key, value in parameters.items()}
    optimizer.step(parameters, gradients, loss=1.0)
    assert all(parameters[key] is array for key, array in zip(parameters, arrays, strict=True)), "changed in place"
    assert all(array.dtype == dtype and (array < 1).all() for array in arrays)
    assert all((gradient == 0.5).all() for gradient in gradients.values())
    assert set(optimizer.state.slots) == set(optimizer.slots)
    assert all(slot[key].dtype == dtype for slot in optimizer.state.slots.values() for key in slot)


@pytest.mark.parametrize("name", NAMES)
def test_flat_buffers_give_the_same_as_single_arrays(name, random) -> None:
    """The fast path over a network's flat buffer (several pieces) against array by array, to the last bit."""
    network = NeuralNetwork([300, 200, 3], seed=1, dtype="float64")
    plain = {key: value.copy() for key, value in network.parameters.items()}
    fast, slow = (OPTIMIZERS[name](learning_rate=0.01, weight_decay=0.1) for _ in range(2))
    gradients = network.parameters.zeros_like()
    for step in range(3):
        gradients.flat[...] = random.normal(size=gradients.flat.size)
        fast.step(network.parameters, gradients, loss=1.0 + step)
        slow.step(plain, dict(gradients), loss=1.0 + step)
    for key, value in plain.items():
        np.testing.assert_array_equal(network.parameters[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_is_part_of_the_gradient_of_weights_only(name, random) -> None:
    decayed, plain = OPTIMIZERS[name](weight_decay=0.3), OPTIMIZERS[name](weight_decay=0)
    w = {"layer1.weights": random.normal(size=(3, 2)), "layer1.biases": random.normal(size=2)}
    same = {key: value.copy() for key, value in w.items()}
    for step in range(3):
        g = {key: random.normal(size=value.shape) for key, value in w.items()}
        with_penalty = {
            "layer1.weights": g["layer1.weights"] + 0.3 * same["layer1.weights"],
            "layer1.biases": g["layer1.biases"],
        }
        decayed.step(w, g, loss=1.0 + step)
        plain.step(same, with_penalty, loss=1.0 + step)
    for key in w:
        np.testing.assert_allclose(w[key], same[key], rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_declared_once_and_checked(name) -> None:
    optimizer = OPTIMIZERS[name]
    own = {key: field for key, field in optimizer.fields().items() if key not in ("decay_type", "schedule")}
    assert all(field.type is float and field.help for field in own.values())
    assert str(inspect.signature(optimizer)).startswith("(*, learning_rate: float = ")
    assert optimizer().as_dict() == {key: setting.default for key, setting in optimizer.fields().items()}
    for key in own:
        with pytest.raises(ConfigError, match=f"{key} must be a number"):
            optimizer(**{key: -1})
        with pytest.raises(ConfigError, match="got nan"):
            optimizer(**{key: float("nan")})
    with pytest.raises(ConfigError, match="Did you mean 'learning_rate'"):
        optimizer(learning_rat=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_time_counts_steps(name) -> None:
    optimizer = OPTIMIZERS[name]()
    walk(optimizer, 3)
    assert optimizer.state.step_count == 3


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arrays_are_refused_and_nothing_moves(name) -> None:
    optimizer, w = OPTIMIZERS[name](), {"w": np.ones(3)}
    for gradients in ({}, {"v": np.ones(3)}, {"w": np.ones(2)}):
        with pytest.raises(ConfigError, match="do not fit"):
            optimizer.step(w, gradients, loss=1.0)
    assert optimizer.state.step_count == 0
    assert (w["w"] == 1).all()
    optimizer.step(w, {"w": np.ones(3)}, loss=1.0)
    if optimizer.slots:
        with pytest.raises(ConfigError, match="make a new one"):
            optimizer.step({"w": np.ones(4)}, {"w": np.ones(4)}, loss=1.0)


@pytest.mark.parametrize("name", NAMES)
def test_rules_are_pure_elementwise_functions(name, random) -> None:
    """`update` of single numbers is what it is of arrays, and leaves its arguments alone: an engine may compile it."""
    optimizer = OPTIMIZERS[name]
    arrays = {key: np.abs(random.normal(size=4)) for key in ("weight", "gradient", *optimizer.slots)}
    numbers = dict.fromkeys((*optimizer.fields(), *optimizer.scalars), 0.5)
    kept = {key: value.copy() for key, value in arrays.items()}
    given = {key: value for key, value in {**arrays, **numbers}.items() if key in optimizer.update_arguments}
    whole = optimizer.update(**given)
    whole = whole if isinstance(whole, tuple) else (whole,)
    assert len(whole) == 1 + len(optimizer.slots)
    for key, value in kept.items():
        np.testing.assert_array_equal(arrays[key], value)
    for i in range(4):
        single = optimizer.update(**{key: value[i] if key in arrays else value for key, value in given.items()})
        single = single if isinstance(single, tuple) else (single,)
        assert [float(value) for value in single] == [float(value[i]) for value in whole]


def test_a_rule_that_asks_for_something_unknown_is_refused() -> None:
    from chainrule.optim.optimizer import Optimizer

    with pytest.raises(ConfigError, match=r"asks for 'gradiant'\. Did you mean 'gradient'"):

        class Misspelt(Optimizer):
            @staticmethod
            def update(gradiant):
                return gradiant

    with pytest.raises(ConfigError, match="@staticmethod"):

        class Method(Optimizer):
            def update(self, gradient):
                return gradient

    with pytest.raises(ConfigError, match="needs a static method 'update'"):

        class Empty(Optimizer):
            pass


def test_rules_that_go_wrong_are_named() -> None:
    from chainrule.core.fields import Float as Field
    from chainrule.optim.optimizer import Optimizer

    def define(**body):
        return type("Mine", (Optimizer,), body)

    keep = staticmethod(lambda gradient: gradient)
    for body, message in [
        ({"slots": ("mean"), "update": keep}, "must be a tuple of names"),
        ({"slots": ("weight",), "update": keep}, "'weight' twice, or it is reserved"),
        ({"t": Field(1.0, "x"), "update": keep}, "'t'"),
        ({"step": Field(1.0, "x"), "update": keep}, "'step'"),
        ({"a": Field(1.0, "x"), "slots": ("a",), "update": keep}, "'a' twice"),
        ({"scalars": ("a",), "update": keep}, "needs a static method 'prepare'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            define(**body)
    for body, message in [
        ({"slots": ("mean",), "update": keep}, r"update must return 2 values \(step, mean\), got 1"),
        ({"scalars": ("a",), "update": keep, "prepare": staticmethod(lambda: (1, 2))}, "prepare must return 1 values"),
        ({"update": staticmethod(lambda gradient: gradient[:1])}, r"a step of the shape .* \(3,\); got \(1,\)"),
        ({"update": staticmethod(lambda gradient: 1 / 0)}, "update failed: ZeroDivisionError"),
    ]:
        with pytest.raises(ConfigError, match=message):
            define(**body)().step({"w": np.ones(3)}, {"w": np.ones(3)}, loss=1.0)


def test_a_step_that_failed_is_not_counted() -> None:
    class Failing(OPTIMIZERS["adam"]):
        @staticmethod
        def update(gradient, mean, square):
            raise ValueError

    optimizer = Failing()
    with pytest.raises(ConfigError, match="update failed"):
        optimizer.step({"w": np.ones(3)}, {"w": np.ones(3)})
    assert optimizer.state.step_count == 0
    assert set(optimizer.state.scalars.values()) == {0.0}


def test_an_argument_may_be_handed_back() -> None:
    """A slot that keeps the weight of the step before, and one that keeps that slot."""
    from chainrule.optim.optimizer import Optimizer

    class Memory(Optimizer):
        slots = ("last", "last_but_one")

        @staticmethod
        def update(weight, last):
            return np.full_like(weight, -1), weight, last

    optimizer, w = Memory(), {"w": np.array([5.0])}
    for _ in range(3):
        optimizer.step(w, {"w": np.zeros(1)}, loss=1.0)
    assert (w["w"], optimizer.state.slots["last"]["w"], optimizer.state.slots["last_but_one"]["w"]) == (8, 7, 6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda parts: pickle.loads(pickle.dumps(parts))])  # noqa: S301
def test_copies_go_on_where_the_original_was(name, twin, random) -> None:
    def step(network, optimizer, gradients):
        optimizer.step(network.parameters, gradients, loss=1.0)

    network, optimizer = NeuralNetwork([4, 3, 2], seed=1), OPTIMIZERS[name](learning_rate=0.1)
    gradients = network.parameters.zeros_like()
    gradients.flat[...] = random.normal(size=gradients.flat.size)
    step(network, optimizer, gradients)
    copied = twin((network, optimizer, gradients))
    step(network, optimizer, gradients)
    step(*copied)
    np.testing.assert_array_equal(copied[0].parameters.flat, network.parameters.flat)
    assert copied[1].state.step_count == 2


def test_replaced_slots_are_used() -> None:
    network, optimizer = NeuralNetwork([4, 3, 2]), OPTIMIZERS["momentum"](learning_rate=0.1, weight_decay=0)
    gradients = network.parameters.zeros_like()
    optimizer.step(network.parameters, gradients, loss=1.0)
    optimizer.state.slots["velocity"] = network.parameters.zeros_like()
    optimizer.state.slots["velocity"].flat[...] = 1
    before = network.parameters.flat.copy()
    optimizer.step(network.parameters, gradients, loss=1.0)
    np.testing.assert_allclose(network.parameters.flat, before - 0.09, rtol=1e-5, atol=1e-6)


def test_integers_are_refused() -> None:
    with pytest.raises(ConfigError, match="floating-point"):
        OPTIMIZERS["sgd"]().step({"w": np.array([1, 2])}, {"w": np.array([1, 1])}, loss=1.0)


def test_eve_at_the_floor_of_the_loss() -> None:
    """No room between loss and floor: the change counts as `change_limit`."""
    optimizer, w = OPTIMIZERS["eve"](beta3=0.5, change_limit=4, loss_floor=1.0), {"w": np.ones(1)}
    for _ in range(2):
        optimizer.step(w, {"w": np.ones(1)}, loss=1.0)
    assert optimizer.state.scalars["distance"] == 0.5 * 1 + 0.5 * 4


def test_eve_looks_at_the_loss() -> None:
    calm, jumpy = OPTIMIZERS["eve"](), OPTIMIZERS["eve"]()
    one, other = {"w": np.ones(1)}, {"w": np.ones(1)}
    for step in range(5):
        calm.step(one, {"w": np.ones(1)}, loss=1.0)
        jumpy.step(other, {"w": np.ones(1)}, loss=1.0 if step % 2 else 5.0)
    assert one["w"] < other["w"], "a loss that jumps makes smaller steps"


def test_parameters_of_a_network_are_one_buffer() -> None:
    network = NeuralNetwork([4, 3, 2])
    assert isinstance(network.parameters, ParameterDict)
    assert all(np.shares_memory(array, network.parameters.flat) for array in network.parameters.values())


def test_a_default_is_changed_by_a_field_only() -> None:
    with pytest.raises(ConfigError, match=r"Faster\.learning_rate must be a field, got 0\.1"):
        type("Faster", (OPTIMIZERS["adam"],), {"learning_rate": 0.1})
