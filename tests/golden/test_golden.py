"""Gradients and trajectories against numbers from PyTorch and from the papers (made by make_golden.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from gradcheck import relative_error

from chainrule import OPTIMIZERS, NeuralNetwork

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def network_of(case: dict) -> NeuralNetwork:
    network = NeuralNetwork(case["sizes"], activation=case["activation"], loss=case["loss"], dtype="float64")
    network.parameters.update(case["parameters"])
    return network


@pytest.mark.parametrize("case", GOLDEN["gradients"], ids=lambda c: f"{c['activation']}-{c['loss']}-{c['sizes']}")
def test_gradients_are_those_of_automatic_differentiation(case) -> None:
    value, gradients = network_of(case).loss_and_gradients(case["x"], case["y"])
    assert value == pytest.approx(case["value"], rel=1e-12)
    for name, expected in case["gradients"].items():
        assert relative_error(gradients[name], np.array(expected)) < 1e-9, name


def bowl(w: np.ndarray) -> tuple[float, np.ndarray]:
    """The function of make_golden.py."""
    steepness, d = np.arange(1, 5), w - np.arange(-1, 3)
    return float((steepness * d**2 / 2 + d**4 / 10).sum()), steepness * d + 0.4 * d**3


@pytest.mark.parametrize("name", list(GOLDEN["trajectories"]))
def test_trajectories_with_weight_decay(name) -> None:
    expected = GOLDEN["trajectories"][name]
    optimizer = OPTIMIZERS[name](weight_decay=GOLDEN["weight_decay"], **expected["options"])
    w = {"w": np.array(GOLDEN["start"])}
    for place in expected["places"]:
        loss, gradient = bowl(w["w"])
        optimizer.step(w, {"w": gradient}, loss=loss)
        np.testing.assert_allclose(w["w"], place, rtol=1e-9, atol=1e-12)
    assert optimizer.state.step_count == 40


def test_golden_numbers_cover_every_built_in_optimizer() -> None:
    assert set(GOLDEN["trajectories"]) >= {
        "sgd",
        "momentum",
        "nag",
        "rmsprop",
        "adagrad",
        "adam",
        "nadam",
        "radam",
        "lion",
        "eve",
    }
