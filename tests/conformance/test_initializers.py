"""Every registered initializer: the spread that it promises, biases of 0, one seed one result."""

import math

import numpy as np
import pytest

from chainrule import INITIALIZERS, NeuralNetwork

# fan_in and fan_out differ, so that taking one for the other shows.
FAN_IN, FAN_OUT = 400, 100
PROMISED = {"random": 0.05, "Xavier": math.sqrt(2 / 500), "He": math.sqrt(2 / 400)}


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_spread_and_mean(name) -> None:
    network = NeuralNetwork([FAN_IN, FAN_OUT, 2], weight_init=name, seed=3, dtype="float64")
    weights = network.parameters["layer1.weights"]
    std = INITIALIZERS[name].std(FAN_IN, FAN_OUT)
    # 40,000 draws: the standard error of the spread is 0.35 %, that of the mean 0.5 % of the spread.
    assert weights.std() == pytest.approx(std, rel=0.02)
    assert abs(weights.mean()) < 0.02 * std
    share = (np.abs(weights) < std).mean()
    assert share == pytest.approx(0.6827, abs=0.01)  # normal, not uniform (0.577)


@pytest.mark.parametrize(("name", "std"), PROMISED.items())
def test_pinned_formula(name, std) -> None:
    assert INITIALIZERS[name].std(FAN_IN, FAN_OUT) == std


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_biases_are_zero_and_seeds_repeat(name) -> None:
    first, again, other = (NeuralNetwork([5, 4, 3], weight_init=name, seed=seed) for seed in (1, 1, 2))
    assert not first.parameters["layer1.biases"].any()
    assert not first.parameters["layer2.biases"].any()
    np.testing.assert_array_equal(first.parameters.flat, again.parameters.flat)
    assert (first.parameters["layer1.weights"] != other.parameters["layer1.weights"]).all()


def test_float32_starts_where_float64_does() -> None:
    single, double = (NeuralNetwork([5, 4, 3], seed=1, dtype=dtype) for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(single.parameters.flat, double.parameters.flat.astype("float32"))
