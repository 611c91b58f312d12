"""The numerical gradient is right where the answer is known, and tells a wrong gradient from a right one."""

import numpy as np
from gradcheck import numerical_gradient, relative_error


def test_gradient_of_a_cubic_is_known() -> None:
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    assert relative_error(numerical_gradient(lambda: float((x**3).sum()), x), 3 * x**2) < 1e-9


def test_array_is_put_back() -> None:
    x = np.array([1.0, 2.0])
    numerical_gradient(lambda: float(x.sum()), x)
    assert x.tolist() == [1.0, 2.0]


def test_wrong_gradient_is_caught() -> None:
    x = np.array([1.0, -2.0])
    assert relative_error(numerical_gradient(lambda: float((x**3).sum()), x), 2.99 * x**2) > 1e-3
