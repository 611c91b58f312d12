"""Every registered activation: its derivative, its behaviour at extremes, its manners."""

import numpy as np
import pytest

from chainrule import ACTIVATIONS

EXTREMES = np.array([-1e300, -1000.0, -40.0, -1e-300, 0.0, 1e-300, 40.0, 1000.0, 1e300])


@pytest.fixture(params=list(ACTIVATIONS))
def activation(request: pytest.FixtureRequest):
    return ACTIVATIONS[request.param]


def test_derivative_is_the_slope(activation, random) -> None:
    z = random.normal(scale=2.0, size=200)
    z = z[np.abs(z) > 1e-3]  # the kink of ReLU, where there is no slope
    step = 1e-6
    slope = (activation.function(z + step) - activation.function(z - step)) / (2 * step)
    np.testing.assert_allclose(activation.derivative(z, activation.function(z)), slope, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("strict_arithmetic")
def test_extremes_stay_finite(activation) -> None:
    a = activation.function(EXTREMES)
    assert np.isfinite(a).all()
    assert np.isfinite(activation.derivative(EXTREMES, a)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keeps_dtype_and_arguments(activation, random, dtype) -> None:
    z = random.normal(size=(3, 4)).astype(dtype)
    before = z.copy()
    a = activation.function(z)
    kept = a.copy()
    slope = activation.derivative(z, a)
    assert a.dtype == slope.dtype == z.dtype
    assert a.shape == slope.shape == z.shape
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(a, kept)


def test_works_on_single_numbers(activation) -> None:
    z = np.array([-0.7, 0.3])
    a = activation.function(z)
    for number in range(2):
        assert activation.function(z[number]) == a[number]
        assert activation.derivative(z[number], a[number]) == activation.derivative(z, a)[number]


def test_each_differs_from_every_other() -> None:
    z = np.linspace(-3, 3, 13)
    values = [ACTIVATIONS[name].function(z).tolist() for name in ACTIVATIONS]
    assert all(values.count(value) == 1 for value in values)


@pytest.mark.parametrize(
    ("name", "z", "a", "slope"),
    [
        ("identity", -2.0, -2.0, 1.0),
        ("sigmoid", 0.0, 0.5, 0.25),
        ("sigmoid", np.log(3.0), 0.75, 0.1875),
        ("sigmoid", -np.log(3.0), 0.25, 0.1875),
        ("tanh", np.log(2.0), 0.6, 0.64),
        ("ReLU", 2.0, 2.0, 1.0),
        ("ReLU", -2.0, 0.0, 0.0),
        ("ReLU", 0.0, 0.0, 0.0),
    ],
)
def test_known_values(name, z, a, slope) -> None:
    got = ACTIVATIONS[name].function(np.array([z]))
    np.testing.assert_allclose(got, [a], rtol=1e-15)
    np.testing.assert_allclose(ACTIVATIONS[name].derivative(np.array([z]), got), [slope], rtol=1e-15)


def test_sigmoid_of_very_negative_numbers_keeps_its_digits() -> None:
    np.testing.assert_allclose(ACTIVATIONS["sigmoid"].function(np.array([-700.0])), [np.exp(-700.0)], rtol=1e-14)
