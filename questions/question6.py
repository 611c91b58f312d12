"""Question 6: which hyperparameters matter: parallel coordinates, correlations, what works and what does not."""

from estimate import estimate_mean
from study import Study

from chainrule.report.run_charts import build_bar_chart, build_learning_curves, build_parallel_coordinates
from chainrule.report.run_records import RunRecord, find_varied_hyperparameters
from chainrule.report.statistics import compute_correlations, compute_importances, group_by_value

METRIC, LOW, PLAIN = "val_accuracy", 0.65, ("sgd", "momentum", "nag")
SHOWN = ("train_accuracy", METRIC, "test_accuracy")
# Reasons for failure, each among the runs that the previous ones do not explain.
REASONS = {
    "weight decay 0.5": lambda c: c["weight_decay"] == 0.5,
    "sigmoid with sgd, momentum, nag": lambda c: c["activation"] == "sigmoid" and c["optimizer"] in PLAIN,
    "sigmoid with random initialization": lambda c: c["activation"] == "sigmoid" and c["weight_init"] == "random",
    "sgd, momentum, nag with random initialization": lambda c: c["weight_init"] == "random" and c["optimizer"] in PLAIN,
    "sgd": lambda c: c["optimizer"] == "sgd",
    "none of these": lambda c: True,
}


def count_reasons(left: list[RunRecord]) -> list[dict]:
    """How many runs each reason applies to, and how many of these stay low."""
    found = []
    for name, applies in REASONS.items():
        group, left = ([run for run in left if applies(run.config) == wanted] for wanted in (True, False))
        low = sum((record.get_metric(METRIC) or 0.0) < LOW for record in group)
        found.append({"reason": name, "runs": len(group), "low": low})
    return found


def main() -> None:
    """Compute the effects from the survey, which covers the space evenly; show the search beside it."""
    study = Study(__file__, __doc__)
    study.read_answer(4)
    survey, search = (study.find_runs(name) for name in ("survey", "fashion_mnist"))
    wider: dict[str, list[RunRecord]] = {}
    for record in study.run_sweep("beyond", quick={"hidden_size": [32, 64], "seed": 0}):
        name = "{hidden_size} units, weight decay {weight_decay:g}".format(**record.config)
        wider.setdefault(name, []).append(record)
    mild = [record for record in survey if record.config["weight_decay"] < 0.5]
    numbers = {
        "effects": {name: group_by_value(mild, METRIC, name) for name in find_varied_hyperparameters(mild)},
        "decay": group_by_value(survey, METRIC, "weight_decay"),
        "runs": {"all": len(survey), "mild": len(mild)},
        "correlations": compute_correlations(mild, METRIC),
        "importances": {"all": compute_importances(survey, METRIC), "mild": compute_importances(mild, METRIC)},
        "reasons": count_reasons(survey),
        "wider": {k: {m: estimate_mean([r.get_metric(m) for r in group]) for m in SHOWN} for k, group in wider.items()},
    }
    charts = {"survey": build_parallel_coordinates(survey), "search": build_parallel_coordinates(search)}
    charts["correlation"] = build_bar_chart(numbers["correlations"], "rank correlation with validation accuracy")
    charts["importance"] = build_bar_chart(numbers["importances"]["mild"], "share of the variance explained alone")
    charts["wider"] = build_learning_curves({name: [r.history for r in group] for name, group in wider.items()})
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
