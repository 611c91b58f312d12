"""Question 6: which settings make the difference: parallel coordinates, correlations, what works and what does not."""

from collections import defaultdict

from study import Study

from chainrule.report.run_records import RunRecord, find_run_records, find_varied_hyperparameters
from chainrule.report.run_charts import bars, build_learning_curves, parallel
from chainrule.report.statistics import group_by_value, compute_correlations, estimate_mean, compute_importances

METRIC, LOW, PLAIN = "val_accuracy", 0.65, ("sgd", "momentum", "nag")
SHOWN = ("train_accuracy", "val_accuracy", "test_accuracy")
# What makes a run fail, each looked for among the runs that those before do not explain.
REASONS = {
    "weight decay 0.5": lambda s: s["weight_decay"] == 0.5,
    "sigmoid with sgd, momentum, nag": lambda s: s["activation"] == "sigmoid" and s["optimizer"] in PLAIN,
    "sigmoid with random initialization": lambda s: s["activation"] == "sigmoid" and s["weight_init"] == "random",
    "sgd, momentum, nag with random initialization": lambda s: s["weight_init"] == "random" and s["optimizer"] in PLAIN,
    "sgd": lambda s: s["optimizer"] == "sgd",
    "none of these": lambda s: True,
}


def reasons(left: list[RunRecord]) -> list[dict]:
    """How many runs each reason is true of, and how many of them stay low."""
    found = []
    for name, applies in REASONS.items():
        group = [record for record in left if applies(record.config)]
        left = [record for record in left if record not in group]
        found.append({"reason": name, "runs": len(group), "low": sum((r.get_metric(METRIC) or 0.0) < LOW for r in group)})
    return found


def main() -> None:
    """Take the effects from the survey, which looked at all settings evenly; show the search beside it."""
    study = Study(__file__, __doc__)
    study.needs(4)
    survey, search = (find_run_records([name], study.folder) for name in ("survey", "fashion_mnist"))
    wider = defaultdict(list)
    for record in study.sweep("beyond", quick={"hidden_size": {"values": [32, 64]}, "seed": {"value": 0}}):
        wider["{hidden_size} units, weight decay {weight_decay:g}".format(**record.config)].append(record)
    mild = [record for record in survey if record.config["weight_decay"] < 0.5]
    numbers = {
        "effects": {name: group_by_value(mild, METRIC, name) for name in find_varied_hyperparameters(mild)},
        "decay": group_by_value(survey, METRIC, "weight_decay"),
        "runs": {"all": len(survey), "mild": len(mild)},
        "correlations": compute_correlations(mild, METRIC),
        "importances": {"all": compute_importances(survey, METRIC), "mild": compute_importances(mild, METRIC)},
        "reasons": reasons(survey),
        "wider": {k: {m: estimate_mean([r.get_metric(m) for r in group]) for m in SHOWN} for k, group in wider.items()},
    }
    ranks = bars(numbers["correlations"], "rank correlation with validation accuracy")
    shares = bars(numbers["importances"]["mild"], "share of the variance that the setting explains by itself")
    charts = {"survey": parallel(survey), "search": parallel(search), "correlation": ranks, "importance": shares}
    charts["wider"] = build_learning_curves({name: [record.history for record in group] for name, group in wider.items()})
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
