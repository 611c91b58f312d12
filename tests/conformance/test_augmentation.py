"""Augmentation: equal in both engines, for any number of threads, and true to its definition."""

import numpy as np
import pytest

from chainrule import OPTIMIZERS, Augmentation, Dataset, NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.augmentation import Augmenter, smooth
from chainrule.nn.network import Network
from chainrule.training.trainer import Trainer

KINDS = [
    {"shift": 2},
    {"shift": 1, "flip": True},
    {"rotation": 20.0},
    {"zoom": 0.2},
    {"elastic": 1.5},
    {"cutout": 3},
    {"mixup": 0.7},
    {"shift": 1, "flip": True, "rotation": 10.0, "zoom": 0.1, "elastic": 1.0, "cutout": 2, "mixup": 0.5},
]


def augment(images, key=1, **kind):
    """Images (n, height, width) changed."""
    n, *shape = np.shape(images)
    return (
        Augmenter(Augmentation(**kind), tuple(shape), int(np.prod(shape)))
        .apply(np.reshape(images, (n, -1)), key)
        .reshape(n, *shape)
    )


def train(engine, digits, *, threads=1, dtype="float64", shape=(8, 8), batch=12, hidden=(30,), **kind):
    network = Network([64, *hidden, 10], seed=3, dtype=dtype, dropout=0.2)
    made = engine(
        network, OPTIMIZERS["adam"](learning_rate=0.003), batch, threads, 99, Augmenter(Augmentation(**kind), shape, 64)
    )
    targets = np.eye(10, dtype=dtype)[digits.y_train] if "mixup" in kind else digits.y_train
    losses = made.train(digits.x_train.astype(dtype), targets, np.arange(4 * batch + batch // 2)).losses
    return network.parameters.flat, losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (16, 4)])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 1e-4)])
def test_both_engines_compute_the_same(digits, kind, shape, dtype, rtol) -> None:
    one, other = (
        train(engine, digits, dtype=dtype, shape=shape, **kind) for engine in (ReferenceEngine, CompiledEngine)
    )
    np.testing.assert_allclose(other[0], one[0], rtol=0, atol=rtol * np.abs(one[0]).max())
    np.testing.assert_allclose(other[1], one[1], rtol=rtol)
    assert not np.allclose(train(ReferenceEngine, digits, dtype=dtype, shape=shape)[1], one[1], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [12, 100])
def test_the_number_of_threads_changes_no_bit(digits, kind, dtype, batch) -> None:
    runs = [
        train(CompiledEngine, digits, threads=threads, dtype=dtype, batch=batch, hidden=(230, 40), **kind)
        for threads in (1, 2, 3)
    ]
    for parameters, losses in runs[1:]:
        assert parameters.tobytes() == runs[0][0].tobytes()
        assert losses.tobytes() == runs[0][1].tobytes()


def test_a_shift_moves_every_pixel_by_the_same_whole_number_and_fills_with_zeros() -> None:
    images = np.broadcast_to(np.arange(1.0, 31).reshape(5, 6), (4000, 5, 6))
    found = augment(images, shift=2)
    padded = np.pad(images[0], 2)
    shifted = {(y, x): padded[y : y + 5, x : x + 6].tobytes() for y in range(5) for x in range(5)}
    counts = [sum(image.tobytes() == expected for image in found) for expected in shifted.values()]
    assert sum(counts) == 4000
    # Each of the 25 shifts has a probability of 1/25: 160 expected, with a standard deviation of 12.4.
    assert min(counts) > 160 - 5 * 12.4
    assert max(counts) < 160 + 5 * 12.4


def test_half_of_the_images_are_mirrored() -> None:
    images = np.broadcast_to(np.arange(1.0, 13).reshape(3, 4), (2000, 3, 4))
    mirrored = (augment(images, flip=True) == images[:, :, ::-1]).all(axis=(1, 2))
    unchanged = (augment(images, flip=True) == images).all(axis=(1, 2))
    assert (mirrored ^ unchanged).all()
    assert 1000 - 5 * 22.4 < mirrored.sum() < 1000 + 5 * 22.4


def make_blobs(n, y, x, size=41):
    """Images of one blob each, at (y, x) from the middle."""
    i, j = np.mgrid[:size, :size] - (size - 1) / 2
    return np.broadcast_to(np.exp(-((i - y) ** 2 + (j - x) ** 2) / 8), (n, size, size))


def find_blobs(images):
    """Where each blob is: its center of mass, from the middle."""
    offsets = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    total = images.sum(axis=(1, 2))
    return images.sum(axis=2) @ offsets / total, images.sum(axis=1) @ offsets / total


def test_a_rotation_keeps_the_distance_from_the_middle() -> None:
    y, x = find_blobs(augment(make_blobs(500, 0, 10), rotation=30.0))
    np.testing.assert_allclose(np.hypot(y, x), 10, atol=0.05)
    angles = np.rad2deg(np.arctan2(y, x))
    assert np.abs(angles).max() < 30.2
    assert angles.min() < -28
    assert angles.max() > 28
    # Uniform: a standard deviation of 30 / sqrt(3).
    assert angles.std() == pytest.approx(30 / np.sqrt(3), rel=0.1)


def test_zoom_changes_height_and_width_by_factors_of_their_own() -> None:
    y, x = find_blobs(augment(make_blobs(500, 6, 6), zoom=0.25))
    factors = 6 / y, 6 / x
    for factor in factors:
        assert 0.74 < factor.min() < 0.8
        assert 1.2 < factor.max() < 1.26
    assert abs(np.corrcoef(*factors)[0, 1]) < 0.2


def test_elastic_noise_moves_parts_by_at_most_that_many_pixels_and_smoothly() -> None:
    moved = [
        np.array(find_blobs(augment(make_blobs(300, *at), key=7, elastic=3.0))) for at in ((0, 0), (1, 0), (0, 12))
    ]
    shifts = moved[0], moved[1] - [[1], [0]], moved[2] - [[0], [12]]
    for shift in shifts:
        assert np.abs(shift).max() < 3.3
        assert 0.5 < shift.std() < 3 / np.sqrt(3)
    assert np.abs(shifts[0] - shifts[1]).mean() < 0.5 * np.abs(shifts[0] - shifts[2]).mean()


def test_noise_is_smooth_where_cells_of_the_lattice_meet() -> None:
    np.testing.assert_allclose(smooth(np.array([0.0, 0.5, 1.0])), [0, 0.5, 1])
    steps = np.array([1e-4, 1 - 1e-4])
    np.testing.assert_allclose((smooth(steps) - smooth(np.round(steps))) / (steps - np.round(steps)), 0, atol=1e-3)


def test_cutout_clears_one_square_of_that_side() -> None:
    images = np.ones((500, 9, 9))
    found = augment(images, cutout=3) == 0
    for image in found:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert 2 <= len(rows) <= 3
        assert 2 <= len(columns) <= 3
        assert image.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    # Every pixel is as likely to be its middle.
    assert found.mean(axis=0)[1:-1, 1:-1].std() < 0.03


@pytest.mark.parametrize("kind", KINDS[:5])
def test_what_is_the_same_everywhere_stays_so_inside(kind) -> None:
    found = augment(np.full((50, 28, 28), 0.7), **kind)
    np.testing.assert_allclose(found[:, 13:15, 13:15], 0.7, rtol=1e-12)


def test_mixup_mixes_samples_and_targets_alike() -> None:
    augmenter = Augmenter(Augmentation(mixup=0.6), None, 500)
    mixed = augmenter.mix(np.eye(500), key=3)
    own = np.diag(mixed)
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    # Each sample has a partner, another one, and a share of its own that is uniform from 0.4 to 1.
    assert ((mixed > 0).sum(axis=1) == 2).all()
    assert 0.4 <= own.min() < 0.43
    assert 0.97 < own.max() < 1
    assert own.mean() == pytest.approx(0.7, abs=0.03)
    partners = (mixed - np.diag(own)).argmax(axis=1)
    assert len(np.unique(partners)) > 280  # of 500, a random choice leaves out a share of 1 / e
    np.testing.assert_allclose(augmenter.mix(np.arange(500.0)[:, None], key=3)[:, 0], mixed @ np.arange(500.0))


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_mixup_needs_no_images_and_works_for_numbers(digits, engine) -> None:
    network = NeuralNetwork([64, 30, 1], loss="squared_error", seed=1)
    x, y = digits.x_train, digits.x_train[:, 20] + digits.x_train[:, 30]
    network.fit(x, y, epochs=20, augmentation=Augmentation(mixup=0.5), engine=engine, optimizer="adam")
    assert network.evaluate(x, y).score > 0.9


def test_images_change_with_step_sample_and_seed_only(digits) -> None:
    images = np.broadcast_to(digits.x_train[0].reshape(8, 8), (20, 8, 8))
    found = augment(images, shift=2, rotation=20.0)
    assert len(np.unique(found.reshape(20, -1), axis=0)) > 15
    assert (augment(images, shift=2, rotation=20.0) == found).all()
    assert (augment(images, key=2, shift=2, rotation=20.0) != found).any()


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_training_resumes_with_the_same_images(digits, engine) -> None:
    def make():
        network = NeuralNetwork([64, 20, 10], seed=3)
        return Trainer(
            network, digits, "adam", batch_size=16, engine=engine, seed=1, augmentation=Augmentation(**KINDS[-1])
        )

    whole, first, second = make(), make(), make()
    list(whole.run(3))
    list(first.run(1))
    second.restore(first.checkpoint({}))
    list(second.run(2))
    assert second.network.parameters.memory.tobytes() == whole.network.parameters.memory.tobytes()


def test_augmentation_of_arrays_needs_their_shape(digits) -> None:
    network = NeuralNetwork([64, 20, 10])
    with pytest.raises(ConfigError, match=r"shift, flip.*only images.*image_shape"):
        network.fit(digits.x_train, digits.y_train, augmentation=Augmentation(shift=1, flip=True))
    with pytest.raises(ConfigError, match=r"image_shape.*64.*\(5, 5\)"):
        network.fit(digits.x_train, digits.y_train, augmentation=Augmentation(shift=1), image_shape=(5, 5))
    network.fit(
        digits.x_train[:99], digits.y_train[:99], epochs=1, augmentation=Augmentation(shift=1), image_shape=(8, 8)
    )


@pytest.mark.parametrize("name", ["shift", "elastic", "cutout"])
def test_a_setting_too_large_for_the_images_is_refused(digits, name) -> None:
    data = Dataset.from_arrays(digits.x_train, digits.y_train, image_shape=(4, 16))
    with pytest.raises(ConfigError, match=f"{name} must be less than 4 for images of 4 x 16, got 4"):
        NeuralNetwork([64, 10]).fit(data, augmentation=Augmentation(**{name: 4}))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"shift": -1}, "shift.*-1"),
        ({"shift": 1.5}, "shift.*1.5"),
        ({"rotation": 181}, "rotation.*180.*181"),
        ({"zoom": 1.0}, "zoom.*below 1.*1"),
        ({"elastic": float("nan")}, "elastic.*nan"),
        ({"cutout": "big"}, "cutout.*big"),
        ({"flip": "perhaps"}, "flip.*perhaps"),
    ],
)
def test_bad_settings_are_refused(kind, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation(**kind)


def test_what_is_no_augmentation_is_refused(digits) -> None:
    with pytest.raises(ConfigError, match=r"augmentation must be an Augmentation.*shift"):
        NeuralNetwork([64, 10]).fit(digits, augmentation={"shift": 1})
