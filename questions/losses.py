"""The comparison of two losses: each is tuned on validation, then both are trained with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from estimate import Estimate, estimate_mean
from study import Study

from chainrule import Dataset, load_model
from chainrule.report.run_records import RunRecord
from chainrule.runs.folder import MODEL

__all__ = ["LOSSES", "Comparison", "Scores", "estimate_gain", "measure_decay", "train_comparisons", "tune_losses"]

LOSSES = ("cross_entropy", "mean_squared_error")
_FIXED = {
    "dataset": "fashion_mnist",
    "epochs": 10,
    "num_layers": 3,
    "hidden_size": 128,
    "activation": "ReLU",
    "batch_size": 64,
}

Setting = tuple[float, float]  # learning rate and weight decay
Scores = dict[tuple[str, float, float], float]  # mean validation accuracy by loss, learning rate and weight decay


@dataclass(frozen=True)
class Comparison:
    """Runs of one optimizer with both losses.

    Attributes:
        optimizer: the optimizer.
        choice: name of the set of weight decays that the losses chose from.
        settings: the chosen setting by loss.
        runs: the runs by loss, in the order of their seeds.
    """

    optimizer: str
    choice: str
    settings: Mapping[str, Setting]
    runs: Mapping[str, Sequence[RunRecord]]


def tune_losses(
    study: Study, optimizer: str, rates: Sequence[float], decays: Sequence[float], seeds: Sequence[int]
) -> Scores:
    """Train all combinations of loss, learning rate and weight decay."""
    grid = _FIXED | {"optimizer": optimizer, "loss": list(LOSSES), "learning_rate": list(rates)}
    grid |= {"weight_decay": list(decays), "seed": list(seeds)}
    groups: dict[tuple[str, float, float], list[float]] = {}
    for record in study.run_sweep(f"tune_{optimizer}", grid, experiment="tuning"):
        config = record.config
        key = (config["loss"], config["learning_rate"], config["weight_decay"])
        groups.setdefault(key, []).append(record.get_metric("val_accuracy") or 0.0)
    return {key: float(np.mean(values)) for key, values in groups.items()}


def measure_decay(scores: Scores) -> dict[str, float]:
    """By how much the largest weight decay changes the score of each loss at its best learning rate without decay."""
    least, most = min(key[2] for key in scores), max(key[2] for key in scores)
    rates = {loss: _choose_setting(scores, loss, [least])[0] for loss in LOSSES}
    return {loss: scores[loss, rate, most] - scores[loss, rate, least] for loss, rate in rates.items()}


def train_comparisons(
    study: Study, optimizer: str, scores: Scores, choices: Mapping[str, Sequence[float]], seeds: Sequence[int]
) -> list[Comparison]:
    """Train both losses with the best setting of each, for each choice of weight decays."""
    trained: dict[str, list[RunRecord]] = {}
    found = []
    for choice, decays in choices.items():
        settings = {loss: _choose_setting(scores, loss, decays) for loss in LOSSES}
        runs = {}
        for loss, (rate, decay) in settings.items():
            name = f"test_{optimizer}_{loss}_{rate:g}_{decay:g}"
            if name not in trained:
                own = _FIXED | {"optimizer": optimizer, "loss": loss, "learning_rate": rate, "weight_decay": decay}
                records = study.run_sweep(name, own | {"seed": list(seeds)}, experiment="comparison")
                trained[name] = sorted(records, key=lambda record: record.config["seed"])
            runs[loss] = trained[name]
        found.append(Comparison(optimizer, choice, settings, runs))
    return found


def estimate_gain(comparisons: Sequence[Comparison], data: Dataset) -> Estimate:
    """The mean difference of test accuracies, cross-entropy minus squared error, paired by seed.

    Several comparisons share their seeds and images, so they are averaged first. The interval covers the choice of the
    seeds and that of the test images.
    """
    correct = [{loss: _find_correct(runs, data) for loss, runs in one.runs.items()} for one in comparisons]
    difference = np.mean([one[LOSSES[0]].astype(float) - one[LOSSES[1]] for one in correct], axis=0)
    by_seed, by_image = difference.mean(axis=1), difference.mean(axis=0)
    return estimate_mean(by_seed.tolist(), float(by_image.var(ddof=1)) / len(by_image))


def _find_correct(records: Sequence[RunRecord], data: Dataset) -> np.ndarray:
    """Whether each test image is classified correctly; one row per run."""
    return np.array([load_model(r.folder / MODEL).predict(data.x_test) == data.y_test for r in records])


def _choose_setting(scores: Scores, loss: str, decays: Sequence[float]) -> Setting:
    """The learning rate and weight decay of a loss with the highest score."""
    allowed = {key[1:]: score for key, score in scores.items() if key[0] == loss and key[2] in decays}
    return max(allowed, key=lambda setting: allowed[setting])
