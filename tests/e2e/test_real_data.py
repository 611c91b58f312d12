"""The two configurations of the README on the real data, as a user trains them.

The bounds leave room for other processors, whose rounding leads to other weights; benchmarks/accuracy.py measures the
means of three seeds.
"""

import json

import pytest
from e2e.conftest import Train

pytestmark = pytest.mark.real_data


def test_fashion_mnist_with_the_defaults(train: Train) -> None:
    result = train()
    assert result.status == 0, result.err
    metrics = result.read("metrics.json")
    assert metrics["test_accuracy"] > 0.86
    assert metrics["epochs"] == 10
    history = [json.loads(line) for line in (result.run / "history.jsonl").read_text().splitlines()]
    assert history[-1]["train_accuracy"] > 0.88
    assert metrics["per_class"]["Trouser"]["f1"] > metrics["per_class"]["Shirt"]["f1"], "shirts are the hard class"


def test_mnist_with_adam(train: Train) -> None:
    result = train(*["-d", "mnist", "-o", "adam", "-lr", "0.001", "-nhl", "3", "-sz", "128", "-b", "32"])
    assert result.status == 0, result.err
    assert result.read("metrics.json")["test_accuracy"] > 0.968


def test_softmax_regression_reaches_its_limit(train: Train) -> None:
    """A linear classifier gets about 92 % of MNIST: a figure known from the literature, and no more."""
    result = train(*["-d", "mnist", "-nhl", "0", "-o", "adam", "-lr", "0.001", "-w_d", "0", "-b", "64", "-e", "5"])
    assert 0.915 < result.read("metrics.json")["test_accuracy"] < 0.935
