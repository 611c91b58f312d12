"""Question 8: cross-entropy against squared error, each with the learning rate and the weight decay that suit it."""

from estimate import Estimate, estimate_mean
from losses import LOSSES, Scores, estimate_gain, measure_decay, train_comparisons, tune_losses
from study import Study

from chainrule.charts.chart import BarChart, Series
from chainrule.report.run_charts import build_learning_curves

# The learning rates that are tried, by optimizer. Both losses have the same.
RATES = {"nag": [0.003, 0.01, 0.03, 0.1, 0.3]} | {name: [0.0001, 0.0003, 0.001, 0.003] for name in ("rmsprop", "adam")}
SETTINGS = ("learning_rate", "weight_decay")
DECAYS, TUNING_SEEDS, TEST_SEEDS = [0.0, 0.00001, 0.0001, 0.001], [0, 1], list(range(2, 12))


def make_series(name: str, estimates: list[Estimate]) -> Series:
    """Means in percent with their intervals."""
    mean, low, high = ([100 * getattr(one, part) for one in estimates] for part in ("mean", "low", "high"))
    return Series(name, [], mean, low=low, high=high)


def main() -> None:
    """Tune both losses alike on validation, then compare them with seeds that were not used for tuning."""
    study = Study(__file__, __doc__)
    rates, decays, tuning, seeds = RATES, DECAYS, TUNING_SEEDS, TEST_SEEDS
    if study.quick:
        rates, decays, tuning, seeds = {"nag": RATES["nag"][1:3]}, DECAYS[::3], TUNING_SEEDS[:1], TEST_SEEDS[:2]
    data, choices = study.load_data(), {"no weight decay": decays[:1], "tuned weight decay": decays}
    scores: dict[str, Scores] = {name: tune_losses(study, name, rates[name], decays, tuning) for name in rates}
    found = [one for name in rates for one in train_comparisons(study, name, scores[name], choices, seeds)]
    names = [f"{one.optimizer}, {one.choice}" for one in found]
    gains = [estimate_gain([one], data) for one in found]
    tests = {
        loss: [estimate_mean([r.metrics["test_accuracy"] for r in one.runs[loss]]) for one in found] for loss in LOSSES
    }
    validations = {loss: [scores[one.optimizer][loss, *one.settings[loss]] for one in found] for loss in LOSSES}
    best = {loss: values.index(max(values)) for loss, values in validations.items()}
    compared = [
        {"optimizer": one.optimizer, "choice": one.choice, "gain": gains[i]}
        | {"settings": {loss: dict(zip(SETTINGS, one.settings[loss], strict=True)) for loss in LOSSES}}
        | {loss: tests[loss][i] for loss in LOSSES}
        for i, one in enumerate(found)
    ]
    numbers = {"seeds": {"tuning": tuning, "test": seeds}, "rates": rates, "decays": decays, "compared": compared}
    numbers["pooled"] = {name: estimate_gain([one for one in found if one.choice == name], data) for name in choices}
    numbers["tuning"] = {
        name: {"{}, {:g}, {:g}".format(*key): v for key, v in own.items()} for name, own in scores.items()
    }
    numbers["change_by_decay"] = {name: measure_decay(own) for name, own in scores.items()}
    numbers["best"] = {loss: compared[i] for loss, i in best.items()}
    curves = {loss: [r.history for r in runs] for loss, runs in found[best[LOSSES[0]]].runs.items()}
    charts = {"accuracy": build_learning_curves(curves), "training": build_learning_curves(curves, "train_accuracy")}
    both, gain = [make_series(loss, tests[loss]) for loss in LOSSES], [make_series("", gains)]
    charts["compared"] = BarChart("test accuracy (%), mean and 95 % interval", names, both, "points")
    charts["gain"] = BarChart("cross-entropy minus squared error (points)", names, gain, "points", 0.0)
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
