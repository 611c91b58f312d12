"""Dataset.from_arrays: own arrays are validated, split on request, and neither scaled nor copied without need."""

import dataclasses

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.data import Dataset, load_dataset

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 100, (30, 4)).astype(np.float32)
Y = np.arange(30) % 3


def test_arrays_are_used_as_they_are():
    data = Dataset.from_arrays(X, Y)
    assert data.x_train is X
    assert data.y_train is Y
    assert (data.x_val.shape, data.y_val.shape, data.x_test.shape, data.y_test.shape) == ((0, 4), (0,), (0, 4), (0,))
    assert (data.name, data.classes, data.image_shape) == ("arrays", ("0", "1", "2"), None)
    np.testing.assert_array_equal(data.train_indices, np.arange(30))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "x", [X.tolist(), X.astype(">f8"), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.astype(np.float64)]
)
def test_what_is_not_contiguous_or_of_another_type_is_converted(x, dtype):
    data = Dataset.from_arrays(x, Y.tolist(), validation_data=(x, Y), test_data=[x, Y.astype(float)], dtype=dtype)
    for array in (data.x_train, data.x_val, data.x_test):
        np.testing.assert_array_equal(array, X.astype(dtype))
        assert array.dtype == dtype
        assert array.flags.c_contiguous
    for labels in (data.y_train, data.y_val, data.y_test):
        np.testing.assert_array_equal(labels, Y)
        assert labels.dtype == np.int64


def test_a_fraction_is_held_out_as_load_dataset_does():
    digits = load_dataset("digits", val_fraction=0)
    data = Dataset.from_arrays(digits.x_train, digits.y_train, val_fraction=0.1, seed=4)
    expected = load_dataset("digits", seed=4)
    assert data.digest == expected.digest
    np.testing.assert_array_equal(data.train_indices, expected.train_indices)
    np.testing.assert_array_equal(data.val_indices, expected.val_indices)


def test_a_network_is_trained_on_them():
    data = Dataset.from_arrays(X / 100, Y, validation_data=(X / 100, Y), name="mine", classes=["a", "b", "c"])
    assert data.classes == ("a", "b", "c")
    history = NeuralNetwork([4, 8, 3]).fit(data, optimizer=OPTIMIZERS["adam"](learning_rate=0.01), epochs=2)
    assert history[-1].val_score is not None


def test_named_classes_need_not_all_occur():
    data = Dataset.from_arrays(X, np.zeros(30, int), classes=("a", "b"), validation_data=(X, np.ones(30, int)))
    assert data.classes == ("a", "b")


def with_value(value):
    x = X.astype(np.float64)
    x[17, 2] = value
    return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[0]}, r"x .*\(n, d\).* \(4,\)"),
        ({"x": X[:, :0]}, r"x .*\(n, d\).* \(30, 0\)"),
        ({"x": [[1, 2], [3]]}, "x .*rows of equal length"),
        ({"x": X.astype(str)}, "x .*numbers.* <U"),
        ({"x": with_value(np.nan)}, "x .*finite as float32, got nan in row 17, column 2"),
        ({"x": with_value(-np.inf), "dtype": "float64"}, "x .*finite as float64, got -inf in row 17, column 2"),
        ({"x": with_value(1e300)}, r"x .*finite as float32, got 1e\+300 in row 17, column 2"),
        ({"y": Y[:-1]}, "x and y .*30 and 29"),
        ({"x": X[:0], "y": Y[:0]}, "y .*class number.* got none"),
        ({"x": X[:0], "y": Y[:0], "classes": "ab"}, "classes.* tuple"),
        ({"x": X[:0], "y": Y[:0], "classes": ("a", "b")}, "training set is empty"),
        ({"y": Y[:, np.newaxis]}, r"y .*\(n,\).* \(30, 1\)"),
        ({"y": Y + 0.5}, "y .*class numbers.* 0.5 in row 0"),
        ({"y": Y - 1}, "y .*class numbers.* -1 in row 0"),
        ({"y": Y + 1}, r"y .*every class number.* got 1, 2, 3\. .*classes=.*np.unique"),
        ({"y": Y * 1000}, "got 0, 1000, 2000"),
        ({"y": np.zeros(30, int)}, "every class number.* got 0"),
        ({"y": np.array(["cat", "dog", "cow"] * 10)}, "y .*numbers.* <U3.* np.unique"),
        ({"classes": ("a", "b")}, "y_train .*0 to 1.* 2 in row 2"),
        ({"classes": ("a", "a", "b")}, "classes .*'a' twice"),
        ({"validation_data": (X, Y), "val_fraction": 0.1}, "validation_data or val_fraction"),
        ({"validation_data": X}, r"validation_data .*\(x, y\).* ndarray"),
        ({"validation_data": (X[:, :3], Y)}, r"x_val .*\(n, 4\).* \(30, 3\)"),
        ({"validation_data": (X, Y[1:])}, "x_val and y_val .*30 and 29"),
        ({"validation_data": (X, Y + 1)}, "y_val .*0 to 2.* 3 in row 2"),
        ({"test_data": (with_value(np.nan), Y)}, "x_test .*finite.* nan in row 17"),
        ({"val_fraction": 1.0}, "val_fraction .*less than 1, got 1.0"),
        ({"val_fraction": 0.001}, "none to hold out"),
        ({"val_fraction": 0.1, "seed": -1}, "seed.* -1"),
        ({"dtype": "float16"}, "dtype .*float32, float64.* 'float16'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Dataset.from_arrays(**{"x": X, "y": Y, **arguments})


def test_a_dataset_is_validated_however_it_is_made():
    data = Dataset.from_arrays(X, Y)
    with pytest.raises(ConfigError, match=r"x_val .*finite"):
        dataclasses.replace(data, x_val=with_value(np.nan), y_val=Y)
    with pytest.raises(ConfigError, match=r"image_shape .*= 4.* \(3, 3\)"):
        dataclasses.replace(data, image_shape=(3, 3))
    assert dataclasses.replace(data, image_shape=[2, 2]).image_shape == (2, 2)
