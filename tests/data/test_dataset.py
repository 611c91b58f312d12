"""load_dataset: the split, the scaling, the checks of a loader's arrays, and the real data."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from data.tiny_dataset import make_contents, make_spec, write_files
from hypothesis import given
from hypothesis import strategies as st

import chainrule.data
from chainrule.core.errors import ConfigError, DataError
from chainrule.core.registry import Registry, UnknownNameError
from chainrule.data import DATASETS, Dataset, RawDataset, load_dataset, load_raw_dataset
from chainrule.data.idx import read_idx
from chainrule.data.sources import find_files
from chainrule.data.specs import SPECS
from chainrule.data.splits import stratified_split


@pytest.fixture
def load(monkeypatch):
    """Loads a raw dataset under the name "mine", without a trace in the registry."""

    def load_raw(raw, **options):
        registry = Registry("dataset")
        registry.register("mine")(lambda data_dir: raw)
        monkeypatch.setattr("chainrule.data.dataset.DATASETS", registry)
        return load_dataset("mine", **options)

    return load_raw


def raw_dataset(n=30, m=12, d=4, k=3, **changes):
    rng = np.random.default_rng(0)
    whole = RawDataset(
        rng.integers(0, 256, (n, d)).astype(np.uint8),
        np.arange(n) % k,
        rng.integers(0, 256, (m, d)).astype(np.uint8),
        np.arange(m) % k,
        tuple("abcdefghij"[:k]),
        image_shape=(2, 2),
        scale=255.0,
    )
    return dataclasses.replace(whole, **changes)


# --- the split


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 0),
    st.floats(0, 0.999),
    st.integers(0, 2**32),
)
def test_the_split_is_a_stratified_partition(counts, fraction, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    spare = sum(max(count - 1, 0) for count in counts)
    expected = min(round(fraction * len(labels)), spare)
    if fraction > 0 and expected == 0:
        with pytest.raises(ConfigError, match="none to hold out"):
            stratified_split(labels, fraction, rng)
        return
    kept, held_out = stratified_split(labels, fraction, rng)
    assert len(held_out) == expected
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    given_up = np.bincount(labels[held_out], minlength=len(counts))
    for count, number in zip(counts, given_up, strict=True):
        assert number <= max(count - 1, 0)
        if spare == sum(counts) - len(counts) and all(c * (1 - fraction) >= 2 for c in counts):
            assert abs(number - fraction * count) < 1 + 1e-9


def test_the_split_matches_scikit_learns_shares():
    """Largest remainders, by an independent implementation: equal wherever no two remainders are."""
    from sklearn.model_selection import StratifiedShuffleSplit

    labels = np.repeat([0, 1, 2], [101, 47, 252])
    ours = np.bincount(labels[stratified_split(labels, 0.1, np.random.default_rng(0))[1]])
    splitter = StratifiedShuffleSplit(1, test_size=40, random_state=0)
    theirs = np.bincount(labels[next(splitter.split(np.zeros((400, 1)), labels))[1]])
    np.testing.assert_array_equal(ours, theirs)


def test_the_seed_decides_the_split_and_nothing_else_does(load):
    first, again, other = (load(raw_dataset(n=300), seed=seed, val_fraction=0.2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.val_indices, again.val_indices)
    assert not np.array_equal(first.val_indices, other.val_indices)
    as_float64 = load(raw_dataset(n=300), seed=1, val_fraction=0.2, dtype="float64")
    np.testing.assert_array_equal(first.val_indices, as_float64.val_indices)
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    load(raw_dataset())
    assert np.random.random() == expected, "NumPy's global generator was used"


def test_samples_stay_with_their_labels(load):
    source = raw_dataset(n=10_000)  # more than are scaled at once
    data = load(source, seed=3)
    for x, y, indices in (
        (data.x_train, data.y_train, data.train_indices),
        (data.x_val, data.y_val, data.val_indices),
        (data.x_test, data.y_test, None),
    ):
        expected_x, expected_y = (source.x_test, source.y_test) if indices is None else (source.x_train, source.y_train)
        rows = slice(None) if indices is None else indices
        np.testing.assert_array_equal(x, expected_x[rows].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(y, expected_y[rows])


def test_no_validation_set_on_request(load):
    data = load(raw_dataset(), val_fraction=0)
    assert data.x_val.shape == (0, 4)
    assert data.y_val.shape == data.val_indices.shape == (0,)
    assert len(data.x_train) == len(data.train_indices) == 30


# --- types, values and arguments


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_and_values(load, dtype):
    x = np.arange(256, dtype=np.uint8).reshape(64, 4)
    data = load(raw_dataset(x_train=x, y_train=np.arange(64, dtype=np.uint8) % 3), val_fraction=0, dtype=dtype)
    assert isinstance(data, Dataset)
    assert data.x_train.dtype == data.x_val.dtype == data.x_test.dtype == dtype
    assert data.y_train.dtype == data.y_val.dtype == data.y_test.dtype == np.int64
    assert data.train_indices.dtype == data.val_indices.dtype == np.int64
    assert data.x_train.flags.c_contiguous
    expected = [np.dtype(dtype).type(value) / np.dtype(dtype).type(255) for value in range(256)]
    np.testing.assert_array_equal(data.x_train.ravel(), expected)
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1


def test_samples_that_were_read_before_are_split_without_reading_again(monkeypatch):
    calls = []
    registry = Registry("dataset")
    registry.register("mine")(lambda data_dir: calls.append(data_dir) or raw_dataset())
    monkeypatch.setattr("chainrule.data.dataset.DATASETS", registry)
    kept = load_raw_dataset("mine")
    again, anew = load_dataset("mine", seed=3, raw=kept), load_dataset("mine", seed=3)
    assert calls == [None, None]
    assert again.digest == anew.digest
    assert again.digest != load_dataset("mine", seed=4, raw=kept).digest


def test_the_loaders_arrays_are_left_as_they_are(load):
    source = raw_dataset(x_train=np.full((30, 4), 8.0, dtype=np.float32))
    load(source)
    assert (source.x_train == 8).all()


def test_the_name_is_the_registered_spelling():
    assert load_dataset("DIGITS").name == "digits"
    with pytest.raises(UnknownNameError, match="Did you mean 'fashion_mnist'"):
        load_dataset("fashion-mnist")
    assert list(DATASETS) == ["fashion_mnist", "mnist", "digits"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 1}, "val_fraction.* at least 0 and less than 1, got 1"),
        ({"val_fraction": -0.1}, "got -0.1"),
        ({"val_fraction": float("nan")}, "got nan"),
        ({"val_fraction": "0.1"}, "got '0.1'"),
        ({"val_fraction": True}, "got True"),
        ({"val_fraction": 0.001}, "none to hold out"),
        ({"dtype": "float16"}, "dtype.* float32, float64.* 'float16'"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_arguments_out_of_range(load, options, message):
    with pytest.raises(ConfigError, match=message):
        load(raw_dataset(), **options)


BAD_FLOATS = np.ones((30, 4))
BAD_FLOATS[29, 3] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.arange(30) % 4}, "y_train.* 0 to 2.* 3 in row 3"),
        ({"y_test": np.arange(12) % 3 - 1}, "y_test.* 0 to 2.* -1 in row 0"),
        ({"y_train": np.arange(29) % 3}, "x_train and y_train.* 30 and 29"),
        ({"x_test": np.zeros((0, 4)), "y_test": np.zeros(0, int)}, "x_test.* at least one row, got 0"),
        ({"x_test": np.zeros((12, 5))}, r"x_test.*\(n, 4\).*5"),
        ({"x_train": np.zeros((30, 2, 2))}, r"x_train.* \(n, d\).* \(30, 2, 2\)"),
        ({"x_train": np.full((30, 4), "a")}, "x_train.* numbers.* <U1"),
        ({"y_train": np.full(30, 0.5)}, "y_train.* class numbers.* 0.5 in row 0"),
        ({"y_train": np.full(30, np.nan)}, "y_train.* class numbers.* nan in row 0"),
        ({"y_train": np.array(["a", "b", "c"] * 10)}, "y_train.* numbers.* <U1.* np.unique"),
        ({"y_train": np.zeros((30, 1), int)}, r"y_train.* \(n,\).* \(30, 1\)"),
        ({"x_train": [[0, 0, 0, 0]] * 30}, "x_train.* NumPy array.* got list"),
        ({"x_train": BAD_FLOATS}, "x_train.* finite as float32, got nan"),
        ({"x_test": np.full((12, 4), np.inf)}, "x_test.* finite as float32, got inf in row 0, column 0"),
        ({"x_train": np.full((30, 4), 1e300)}, "x_train.* finite as float32"),
        ({"image_shape": (3, 2)}, r"image_shape.* = 4.* \(3, 2\)"),
        ({"x_train": np.zeros((30, 0)), "x_test": np.zeros((12, 0))}, r"x_train.* d >= 1.* \(30, 0\)"),
        ({"image_shape": (4,)}, r"image_shape.* = 4.* \(4,\)"),
        ({"image_shape": (2, 2, 1)}, r"image_shape.* = 4.* \(2, 2, 1\)"),
        ({"image_shape": (-2, -2)}, r"image_shape.* = 4.* \(-2, -2\)"),
        ({"image_shape": "22"}, "image_shape.* '22'"),
        ({"image_shape": 4}, r"image_shape.* \(height, width\).* 4"),
        ({"scale": 0.0}, "scale.* positive.* got 0.0"),
        ({"scale": "255"}, "scale.* positive.* got '255'"),
        ({"scale": None}, "scale.* positive.* got None"),
        ({"scale": 10**400}, "scale.* positive.* got 1000"),
        ({"scale": 1e-320, "x_train": np.ones((30, 4))}, "x_train.* finite as float32, got inf"),
        ({"classes": "abc"}, "classes.* tuple of names, got 'abc'"),
        ({"classes": 3}, "classes.* tuple of names, got 3"),
        ({"classes": np.array([["a", "b", "c"]])}, "classes.* tuple of names"),
        ({"classes": np.arange(3)}, "classes.* printable names, got .*0"),
        ({"classes": ("a", None, "c")}, "classes.* printable names, got None"),
        ({"classes": ("a", "", "c")}, "classes.* printable names, got ''"),
        ({"classes": ("a", "b", "\x1b[31m")}, "classes.* printable names, got '.x1b"),
        ({"classes": ("a", "b", "a")}, "classes.* 'a' twice"),
        ({"classes": ()}, r"at least two classes, got \(\)"),
        ({"classes": ("a",), "y_train": np.zeros(30, int), "y_test": np.zeros(12, int)}, "at least two classes"),
    ],
)
def test_a_loaders_arrays_must_fit(load, changes, message):
    with pytest.raises(DataError, match=f"Dataset 'mine': .*{message}"):
        load(raw_dataset(**changes))


@pytest.mark.parametrize(
    "classes", [["a", "b", "c"], np.array(["a", "b", "c"]), np.array(["a", "b", "c"], dtype=object)]
)
def test_what_means_the_same_is_taken(load, classes):
    data = load(
        raw_dataset(
            classes=classes,
            image_shape=np.array([2, 2]),
            scale=np.uint8(255),
            y_train=np.arange(30, dtype=np.uint64) % 2,  # none of the third class
            y_test=np.arange(12, dtype=np.uint64) % 3,
        )
    )
    assert data.classes == ("a", "b", "c")
    assert {type(label) for label in data.classes} == {str}
    assert data.image_shape == (2, 2)
    assert {type(side) for side in data.image_shape} == {int}
    np.testing.assert_array_equal(data.x_train, load(raw_dataset(y_train=np.arange(30) % 2)).x_train)


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (
            lambda _: fail(ValueError("no such column")),
            "The loader of dataset 'mine' failed: ValueError: no such column",
        ),
        (lambda _: fail(SystemExit(0)), "The loader of dataset 'mine' failed: SystemExit: 0"),
        (lambda: None, "The loader of dataset 'mine' failed: TypeError: .* takes 0 positional arguments"),
        (lambda _: None, "The loader of dataset 'mine' must return a RawDataset, got NoneType"),
        (lambda _: (1, 2), "The loader of dataset 'mine' must return a RawDataset, got tuple"),
        (lambda _: fail(DataError("the file x.csv is missing")), "^the file x.csv is missing$"),
    ],
)
def test_loaders_that_fail(monkeypatch, loader, message):
    registry = Registry("dataset")
    registry.register("mine")(loader)
    monkeypatch.setattr("chainrule.data.dataset.DATASETS", registry)
    with pytest.raises(DataError, match=message):
        load_dataset("mine")


# --- the datasets that are built in


def test_digits():
    data = load_dataset("digits")
    assert (data.x_train.shape, data.x_val.shape, data.x_test.shape) == ((1294, 64), (144, 64), (359, 64))
    assert data.image_shape == (8, 8)
    assert data.classes == tuple("0123456789")
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert set(np.bincount(data.y_test)) <= {35, 36, 37}
    other = load_dataset("digits", seed=9)
    np.testing.assert_array_equal(data.x_test, other.x_test)
    assert not np.array_equal(data.val_indices, other.val_indices)


def test_digits_has_all_samples_once():
    from sklearn.datasets import load_digits

    data = load_dataset("digits", dtype="float64")
    ours = np.concatenate([data.x_train, data.x_val, data.x_test]) * 16
    labels = np.concatenate([data.y_train, data.y_val, data.y_test])
    x, y = load_digits(return_X_y=True)
    assert sorted(map(tuple, np.column_stack([ours, labels]))) == sorted(map(tuple, np.column_stack([x, y])))


def test_digits_without_scikit_learn_name_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"digits.*sklearn.*pip install 'chainrule\[train\]'"):
        load_dataset("digits")


def test_idx_files_become_a_dataset(tmp_path, monkeypatch):
    contents = make_contents(0)
    monkeypatch.setitem(SPECS, "mnist", make_spec("mnist", contents))
    write_files(tmp_path / "data", contents)
    data = load_dataset("mnist", data_dir=str(tmp_path / "data"), val_fraction=0)
    images = read_idx(contents["train-images-idx3-ubyte"], name="")
    np.testing.assert_array_equal(data.x_train, images.reshape(40, 6).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.y_test, np.arange(20) % 10)
    assert data.image_shape == (3, 2)


def test_importing_costs_nothing_beyond_numpy():
    code = "import sys, chainrule.data; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "chainrule.data.builtin" in modules
    assert not {"sklearn", "scipy", "urllib.request", "platformdirs", "tarfile"} & set(modules)
    assert set(chainrule.data.__all__) == {"DATASETS", "Dataset", "RawDataset", "load_dataset", "load_raw_dataset"}


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "first_class"), [("fashion_mnist", "Ankle boot"), ("mnist", "5")])
def test_the_real_data(name, first_class):
    data = load_dataset(name, seed=0)
    assert (data.x_train.shape, data.x_val.shape, data.x_test.shape) == ((54_000, 784), (6_000, 784), (10_000, 784))
    assert data.image_shape == (28, 28)
    for x in (data.x_train, data.x_val, data.x_test):
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (0, 1)
    counts = np.bincount(data.y_train) + np.bincount(data.y_val)
    assert np.abs(np.bincount(data.y_val) - counts / 10).max() < 1
    assert np.bincount(data.y_test).min() > 800

    restored = np.empty((60_000, 784), np.uint8)
    labels = np.empty(60_000, np.uint8)
    for x, y, indices in ((data.x_train, data.y_train, data.train_indices), (data.x_val, data.y_val, data.val_indices)):
        restored[indices] = np.rint(x * 255)
        labels[indices] = y
    assert data.classes[labels[0]] == first_class
    spec = SPECS[name]
    images, labels_file = spec.files[:2]
    header = find_files(spec)[images.name][:16]
    assert hashlib.sha256(header + restored.tobytes()).hexdigest() == images.sha256
    assert hashlib.sha256(header[:2] + b"\x08\x01" + header[4:8] + labels.tobytes()).hexdigest() == (labels_file.sha256)


@pytest.mark.real_data
def test_the_real_data_fits_in_a_small_memory():
    # VmHWM, since the peak that getrusage reports starts at that of the process which started this one.
    code = (
        "from chainrule.data import load_dataset; load_dataset('mnist');"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    load_dataset("mnist")  # a download is not what is measured
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 200_000 < int(result.stdout) < 350_000
