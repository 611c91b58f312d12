"""Test-time averaging: which views there are, and that answers are the mean over them."""

import numpy as np
import pytest

from chainrule import Ensemble, NeuralNetwork, Views, train
from chainrule.core.errors import ConfigError

IMAGE = np.arange(1.0, 13).reshape(3, 4)


def make(**settings):
    """The views of one image."""
    return [view.reshape(3, 4) for view in Views(**settings).make(IMAGE.reshape(1, 12), (3, 4))]


def test_the_first_view_is_the_image() -> None:
    assert Views().count == 1
    np.testing.assert_array_equal(make(), [IMAGE])


def test_shifted_views_are_the_image_moved_in_four_directions() -> None:
    padded = np.pad(IMAGE, 1)
    expected = [padded[1 + y : 4 + y, 1 + x : 5 + x] for y, x in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
    found = make(view_shift=1)
    assert len(found) == 5
    assert {view.tobytes() for view in found} == {view.tobytes() for view in expected}


def test_mirrored_views_double_them() -> None:
    found = make(view_shift=2, view_flip=True)
    assert len(found) == Views(view_shift=2, view_flip=True).count == 10
    mirrored = np.pad(IMAGE[:, ::-1], 2)
    for y, x in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
        assert any((view == mirrored[2 + y : 5 + y, 2 + x : 6 + x]).all() for view in found)


def test_probabilities_are_averaged_over_views(digits) -> None:
    network = NeuralNetwork([64, 20, 10], seed=1)
    network.fit(digits, epochs=2)
    views = Views(view_shift=1, view_flip=True)
    x, options = digits.x_test, {"views": views, "image_shape": (8, 8)}
    expected = np.mean([network.predict_proba(view) for view in views.make(x, (8, 8))], axis=0)
    np.testing.assert_allclose(network.predict_proba(x, **options), expected, atol=1e-6)
    np.testing.assert_array_equal(network.predict(x, **options), expected.argmax(axis=1))
    evaluation = network.evaluate(x, digits.y_test, **options)
    assert evaluation.accuracy == (expected.argmax(axis=1) == digits.y_test).mean()
    assert evaluation.loss == pytest.approx(-np.log(expected[np.arange(len(x)), digits.y_test]).mean(), rel=1e-5)
    other = NeuralNetwork([64, 20, 10], seed=2)
    both = (expected + other.predict_proba(x, **options)) / 2
    np.testing.assert_allclose(Ensemble([network, other]).predict_proba(x, **options), both, atol=1e-6)


def test_numbers_are_averaged_over_views(digits) -> None:
    network = NeuralNetwork([64, 20, 1], loss="squared_error", seed=1)
    expected = np.mean([network.predict(view) for view in Views(view_shift=1).make(digits.x_test, (8, 8))], axis=0)
    found = network.predict(digits.x_test, views=Views(view_shift=1), image_shape=(8, 8))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_views_of_what_is_no_image_are_refused() -> None:
    network = NeuralNetwork([12, 2])
    with pytest.raises(ConfigError, match=r"view_shift, view_flip.*only images.*image_shape"):
        network.predict(IMAGE.reshape(1, 12), views=Views(view_shift=1, view_flip=True))
    with pytest.raises(ConfigError, match=r"view_shift must be less than 3 for images of 3 x 4, got 3"):
        network.predict(IMAGE.reshape(1, 12), views=Views(view_shift=3), image_shape=(3, 4))
    with pytest.raises(ConfigError, match=r"image_shape.*12.*\(5, 5\)"):
        network.predict(IMAGE.reshape(1, 12), views=Views(view_shift=1), image_shape=(5, 5))


@pytest.mark.parametrize("members", [1, 2])
def test_a_run_is_tested_on_views_and_its_epochs_are_not(tmp_path, members) -> None:
    options = {"dataset": "digits", "epochs": 2, "hidden_size": 16, "num_layers": 1, "members": members}
    runs = [
        train({**options, **views, "output_dir": str(tmp_path / str(number)), "figures": False})
        for number, views in enumerate([{}, {"view_shift": 1}])
    ]
    assert [record.val_score for record in runs[0].history] == [record.val_score for record in runs[1].history]
    plain, averaged = (run.metrics for run in runs)
    for name in ("val_loss", "test_loss"):
        assert plain[name] != averaged[name]


def test_a_run_with_views_too_far_apart_ends_before_training(tmp_path) -> None:
    with pytest.raises(ConfigError, match="view_shift must be less than 8"):
        train({"dataset": "digits", "view_shift": 8, "output_dir": str(tmp_path)})
