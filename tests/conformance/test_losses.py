"""Every registered loss: value and gradient agree, for every number of classes, and stay finite."""

import numpy as np
import pytest
from gradcheck import numerical_gradient, relative_error

from chainrule import LOSSES
from chainrule.nn.losses import log_softmax
from chainrule.nn.objective import SoftmaxClassification

SOFTMAX = [name for name in LOSSES if LOSSES[name].link == "softmax"]


@pytest.fixture(params=SOFTMAX)
def loss(request: pytest.FixtureRequest):
    return SoftmaxClassification(LOSSES[request.param]())


@pytest.mark.parametrize("k", [2, 3, 5, 10])
@pytest.mark.parametrize("n", [1, 7])
def test_gradient_is_the_slope_of_the_value(loss, random, k, n) -> None:
    logits, labels = random.normal(scale=2.0, size=(n, k)), random.integers(0, k, n)
    _, gradient = loss.loss_and_gradient(logits, labels)
    expected = numerical_gradient(lambda: loss.loss_and_gradient(logits, labels)[0], logits)
    assert relative_error(gradient, expected) < 1e-9


def test_the_diagonal_of_the_jacobian_is_not_enough(random) -> None:
    """The check above would catch the usual shortcut for squared error: dL/dz = (p - y) p (1 - p)."""
    logits, labels = random.normal(size=(5, 4)), random.integers(0, 4, 5)
    p, y = np.exp(log_softmax(logits)), np.eye(4)[labels]
    loss = SoftmaxClassification(LOSSES["mean_squared_error"]())
    expected = numerical_gradient(lambda: loss.loss_and_gradient(logits, labels)[0], logits)
    assert relative_error((p - y) * p * (1 - p) / 5, expected) > 0.05


def test_mean_of_single_samples(loss, random) -> None:
    logits, labels = random.normal(size=(6, 3)), random.integers(0, 3, 6)
    value, gradient = loss.loss_and_gradient(logits, labels)
    singles = [loss.loss_and_gradient(logits[i : i + 1], labels[i : i + 1]) for i in range(6)]
    assert value == pytest.approx(np.mean([v for v, _ in singles]), rel=1e-14)
    np.testing.assert_allclose(gradient, np.concatenate([g for _, g in singles]) / 6, rtol=1e-14)
    assert loss.evaluate(logits, labels).loss == pytest.approx(value, rel=1e-13)


@pytest.mark.usefixtures("strict_arithmetic")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_stay_finite(loss, dtype) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype)
    for label in range(3):
        value, gradient = loss.loss_and_gradient(logits, np.full(3, label))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert gradient.dtype == logits.dtype


def test_gradient_rows_sum_to_zero(loss, random) -> None:
    """Adding a constant to all logits changes no probability, so the gradient has no part in that direction."""
    logits, labels = random.normal(size=(6, 5)), random.integers(0, 5, 6)
    np.testing.assert_allclose(loss.loss_and_gradient(logits, labels)[1].sum(axis=1), 0, atol=1e-16)


def test_arguments_are_left_alone(loss, random) -> None:
    logits, labels = random.normal(size=(4, 3)), random.integers(0, 3, 4)
    kept = logits.copy(), labels.copy()
    loss.loss_and_gradient(logits, labels)
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(labels, kept[1])


def test_known_values() -> None:
    """p = (1/4, 3/4) and the right class is the first: worked by hand."""
    logits, label = np.array([[0.0, np.log(3.0)]]), np.array([0])
    value, gradient = SoftmaxClassification(LOSSES["cross_entropy"]()).loss_and_gradient(logits, label)
    assert value == pytest.approx(np.log(4.0), rel=1e-15)
    np.testing.assert_allclose(gradient, [[-0.75, 0.75]], rtol=1e-15)
    value, gradient = SoftmaxClassification(LOSSES["mean_squared_error"]()).loss_and_gradient(logits, label)
    assert value == pytest.approx(0.5625, rel=1e-15)  # 1/2 (9/16 + 9/16)
    np.testing.assert_allclose(gradient, [[-0.28125, 0.28125]], rtol=1e-14)  # p1 p2 (-3/4 - 3/4) = -9/32


def test_confidently_wrong_costs_what_the_logits_say() -> None:
    """A probability that rounds to 0 still has the right loss: cross entropy is the distance of the logits."""
    objective = SoftmaxClassification(LOSSES["cross_entropy"]())
    value, gradient = objective.loss_and_gradient(np.array([[0.0, 2000.0]]), np.array([0]))
    assert value == 2000.0
    np.testing.assert_array_equal(gradient, [[-1.0, 1.0]])


def test_each_differs_from_every_other(random) -> None:
    logits, labels = random.normal(size=(4, 3)), random.integers(0, 3, 4)
    values = [SoftmaxClassification(LOSSES[name]()).loss_and_gradient(logits, labels)[0] for name in SOFTMAX]
    assert len(set(values)) == len(values)
