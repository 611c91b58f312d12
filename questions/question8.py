"""Question 8: cross-entropy against squared error: the same configurations and seeds under both."""

import numpy as np
from estimate import Estimate, estimate_mean
from study import Study

from chainrule.charts.chart import BarChart, Series
from chainrule.report.run_charts import build_learning_curves

LOSSES = ("cross_entropy", "mean_squared_error")
CONFIG = ("optimizer", "learning_rate", "activation")
QUICK = {"optimizer": "adam", "seed": [0, 1], "learning_rate": 0.001}


def make_series(name: str, estimates: list[Estimate]) -> Series:
    """Means in percent with their intervals."""
    mean, low, high = ([100 * getattr(one, part) for one in estimates] for part in ("mean", "low", "high"))
    return Series(name, [], mean, low=low, high=high)


def main() -> None:
    """Compare pairs of runs that differ in the loss only."""
    study = Study(__file__, __doc__)
    records = study.run_sweep("losses", quick=QUICK)
    seeds = sorted({record.config["seed"] for record in records})
    by = {(*(r.config[name] for name in CONFIG), r.config["loss"], r.config["seed"]): r for r in records}
    configs = list(dict.fromkeys(key[:3] for key in by))

    def get_scores(metric: str, loss: str) -> np.ndarray:
        """One row per configuration, one column per seed."""
        return np.array([[by[(*config, loss, seed)].get_metric(metric) for seed in seeds] for config in configs])

    tests = {loss: get_scores("test_accuracy", loss) for loss in LOSSES}
    gains = tests[LOSSES[0]] - tests[LOSSES[1]]
    validated = {loss: int(get_scores("val_accuracy", loss).mean(axis=1).argmax()) for loss in LOSSES}
    rows = {loss: [estimate_mean(row) for row in tests[loss]] for loss in LOSSES} | {
        "gain": [estimate_mean(row) for row in gains]
    }
    names = [f"{optimizer}, {rate:g}, {activation}" for optimizer, rate, activation in configs]
    numbers = {
        "seeds": seeds,
        "compared": [{"config": names[i], **{key: row[i] for key, row in rows.items()}} for i in range(len(configs))],
        # The configurations share their seeds, so only the means of the seeds over them are independent.
        "gain": estimate_mean(gains.mean(axis=0)),
        "clear_wins": sum(one.low > 0 for one in rows["gain"]),
        "clear_losses": sum(one.high < 0 for one in rows["gain"]),
        "best": {loss: {"config": names[validated[loss]], "test": rows[loss][validated[loss]]} for loss in LOSSES},
    }
    curves = {loss: [by[(*configs[validated[LOSSES[0]]], loss, s)].history for s in seeds] for loss in LOSSES}
    both, gain = [make_series(loss, rows[loss]) for loss in LOSSES], [make_series("", rows["gain"])]
    charts = {"accuracy": build_learning_curves(curves), "training": build_learning_curves(curves, "train_accuracy")}
    charts["compared"] = BarChart("test accuracy (%), mean and 95 % interval", names, both, "points")
    charts["gain"] = BarChart("cross-entropy minus squared error (points)", names, gain, "points", 0.0)
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
