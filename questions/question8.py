"""Question 8: cross-entropy against squared error, each with the learning rate and the weight decay that suit it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from estimate import Estimate, estimate_mean
from study import Study

from chainrule import Dataset
from chainrule.charts.chart import BarChart, Series
from chainrule.neural_network import load_model
from chainrule.report.run_charts import build_learning_curves
from chainrule.report.run_records import RunRecord
from chainrule.runs.folder import MODEL

LOSSES = ("cross_entropy", "mean_squared_error")
FIXED = {
    "dataset": "fashion_mnist",
    "epochs": 10,
    "num_layers": 3,
    "hidden_size": 128,
    "activation": "ReLU",
    "batch_size": 64,
}
# The learning rates that are tried, by optimizer. Both losses have the same.
RATES = {
    "nag": [0.003, 0.01, 0.03, 0.1, 0.3],
    "rmsprop": [0.0001, 0.0003, 0.001, 0.003],
    "adam": [0.0001, 0.0003, 0.001, 0.003],
}
DECAYS = [0.0, 0.00001, 0.0001, 0.001]
TUNING_SEEDS, TEST_SEEDS = [0, 1], list(range(2, 12))
# The comparisons: which weight decays a loss may choose from.
CHOICES = {"no weight decay": DECAYS[:1], "tuned weight decay": DECAYS}

Setting = tuple[float, float]  # learning rate, weight decay


def average_scores(records: Sequence[RunRecord]) -> dict[tuple[str, float, float], float]:
    """Mean validation accuracy of the seeds, by loss, learning rate and weight decay."""
    groups: dict[tuple[str, float, float], list[float]] = {}
    for record in records:
        config = record.config
        key = (config["loss"], config["learning_rate"], config["weight_decay"])
        groups.setdefault(key, []).append(record.get_metric("val_accuracy") or 0.0)
    return {key: float(np.mean(values)) for key, values in groups.items()}


def choose_setting(scores: dict[tuple[str, float, float], float], loss: str, decays: Sequence[float]) -> Setting:
    """The learning rate and weight decay of a loss with the highest score."""
    allowed = {key[1:]: score for key, score in scores.items() if key[0] == loss and key[2] in decays}
    return max(allowed, key=lambda setting: allowed[setting])


def estimate_gain(groups: Sequence[dict[str, list[RunRecord]]], data: Dataset) -> Estimate:
    """The mean difference of test accuracies, cross-entropy minus squared error, paired by seed.

    The interval covers the choice of the seeds and that of the test images.

    Args:
        groups: for each pair of settings, the runs by loss, in the same order of seeds.
        data: the data, for the test images.
    """
    correct = [{loss: find_correct(runs, data) for loss, runs in group.items()} for group in groups]
    difference = np.mean([one[LOSSES[0]].astype(float) - one[LOSSES[1]] for one in correct], axis=0)
    by_seed, by_image = difference.mean(axis=1), difference.mean(axis=0)
    return estimate_mean(by_seed.tolist(), float(by_image.var(ddof=1)) / len(by_image))


def find_correct(records: Sequence[RunRecord], data: Dataset) -> np.ndarray:
    """Whether each test image is classified correctly; one row per run."""
    return np.array([load_model(r.folder / MODEL).predict(data.x_test) == data.y_test for r in records])


def make_series(name: str, estimates: Sequence[Estimate]) -> Series:
    """Means in percent with their intervals."""
    mean, low, high = ([100 * getattr(one, part) for one in estimates] for part in ("mean", "low", "high"))
    return Series(name, [], mean, low=low, high=high)


def main() -> None:
    """Tune both losses alike on validation, then compare them with seeds that were not used for tuning."""
    study = Study(__file__, __doc__)
    data = study.load_data()
    seeds = TEST_SEEDS[:2] if study.quick else TEST_SEEDS
    optimizers = ["adam"] if study.quick else list(RATES)
    rates = {name: values[1:3] if study.quick else values for name, values in RATES.items()}
    compared: list[dict[str, Any]] = []
    tuned: list[dict[str, Any]] = []
    decayed: dict[str, dict[str, float]] = {}
    pairs: dict[str, list[dict[str, list[RunRecord]]]] = {}
    trained: dict[str, list[RunRecord]] = {}
    curves = {}
    for optimizer in optimizers:
        grid = FIXED | {"optimizer": optimizer, "loss": list(LOSSES), "learning_rate": rates[optimizer]}
        grid |= {"weight_decay": DECAYS, "seed": TUNING_SEEDS}
        quick = {"seed": 0, "weight_decay": DECAYS[:2]}
        scores = average_scores(study.run_sweep(f"tune_{optimizer}", grid, quick, experiment="tuning"))
        decays = [decay for decay in DECAYS if any(key[2] == decay for key in scores)]
        tuned += [{"optimizer": optimizer, "loss": k[0], "setting": k[1:], "score": v} for k, v in scores.items()]
        for choice, allowed in CHOICES.items():
            settings = {loss: choose_setting(scores, loss, allowed) for loss in LOSSES}
            groups = {}
            for loss, (rate, decay) in settings.items():
                name = f"test_{optimizer}_{loss}_{rate:g}_{decay:g}"
                if name not in trained:
                    own = FIXED | {"optimizer": optimizer, "loss": loss, "learning_rate": rate, "weight_decay": decay}
                    found = study.run_sweep(name, own | {"seed": seeds}, experiment="comparison")
                    trained[name] = sorted(found, key=lambda record: record.config["seed"])
                groups[loss] = trained[name]
            tests = {
                loss: estimate_mean([r.get_metric("test_accuracy") or 0.0 for r in groups[loss]]) for loss in LOSSES
            }
            chosen = {loss: {"learning_rate": rate, "weight_decay": decay} for loss, (rate, decay) in settings.items()}
            validation = {loss: scores[loss, *settings[loss]] for loss in LOSSES}
            entry = {"optimizer": optimizer, "choice": choice, "settings": chosen, "validation": validation, **tests}
            compared.append(entry | {"gain": estimate_gain([groups], data)})
            pairs.setdefault(choice, []).append(groups)
            curves[optimizer, choice] = {loss: [record.history for record in group] for loss, group in groups.items()}
        unpenalized = {loss: choose_setting(scores, loss, DECAYS[:1])[0] for loss in LOSSES}
        decayed[optimizer] = {
            loss: scores[loss, rate, max(decays)] - scores[loss, rate, 0.0] for loss, rate in unpenalized.items()
        }
    best = {loss: max(compared, key=lambda entry: entry["validation"][loss]) for loss in LOSSES}
    names = [f"{entry['optimizer']}, {entry['choice']}" for entry in compared]
    numbers = {
        "seeds": {"tuning": TUNING_SEEDS[:1] if study.quick else TUNING_SEEDS, "test": seeds},
        "rates": {name: rates[name] for name in optimizers},
        "decays": DECAYS[:2] if study.quick else DECAYS,
        "compared": compared,
        "tuning": tuned,
        # The three comparisons share their seeds and images, so they are pooled before the interval is computed.
        "pooled": {choice: estimate_gain(groups, data) for choice, groups in pairs.items()},
        "change_by_decay": decayed,
        "best": {
            loss: {"optimizer": entry["optimizer"], **entry["settings"][loss], "test": entry[loss]}
            for loss, entry in best.items()
        },
    }
    shown = curves[best[LOSSES[0]]["optimizer"], best[LOSSES[0]]["choice"]]
    both = [make_series(loss, [entry[loss] for entry in compared]) for loss in LOSSES]
    gain = [make_series("", [entry["gain"] for entry in compared])]
    charts = {"accuracy": build_learning_curves(shown), "training": build_learning_curves(shown, "train_accuracy")}
    charts["compared"] = BarChart("test accuracy (%), mean and 95 % interval", names, both, "points")
    charts["gain"] = BarChart("cross-entropy minus squared error (points)", names, gain, "points", 0.0)
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
