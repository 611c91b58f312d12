"""Question 6: which settings make the difference: parallel coordinates, correlations, what works and what does not."""

from study import Study

from chainrule.report.records import Record, find_records, varied
from chainrule.report.statistics import by_value, correlations, importances, scored
from chainrule.report.views import bars, learning_curves, parallel

METRIC, LOW, PLAIN = "val_accuracy", 0.65, ("sgd", "momentum", "nag")
# What makes a run fail, each looked for among the runs that those before do not explain.
REASONS = {
    "weight decay 0.5": lambda s: s["weight_decay"] == 0.5,
    "sigmoid with sgd, momentum or nag": lambda s: s["activation"] == "sigmoid" and s["optimizer"] in PLAIN,
    "sigmoid with random initialization": lambda s: s["activation"] == "sigmoid" and s["weight_init"] == "random",
    "sgd, momentum or nag with random initialization": lambda s: (
        s["optimizer"] in PLAIN and s["weight_init"] == "random"
    ),
    "sgd": lambda s: s["optimizer"] == "sgd",
    "none of these": lambda s: True,
}


def reasons(records: list[Record]) -> list[dict]:
    """How many runs each reason is true of, and how many of them stay low."""
    left, found = list(records), []
    for name, applies in REASONS.items():
        group = [record for record in left if applies(record.settings)]
        left = [record for record in left if record not in group]
        low = sum((record.number(METRIC) or 0.0) < LOW for record in group)
        found.append({"reason": name, "runs": len(group), "low": low})
    return found


def main() -> None:
    """Take the effects from the survey, which looked at all settings evenly; show the search beside it."""
    study = Study(__file__, __doc__)
    study.needs(4)
    survey, search = (find_records([name], study.folder) for name in ("survey", "fashion_mnist"))
    wider = study.sweep("beyond", quick={"hidden_size": {"values": [32, 64]}})
    mild = [record for record in survey if record.settings["weight_decay"] < 0.5]
    numbers = {
        "effects": {name: by_value(mild, METRIC, name) for name in varied(mild)},
        "decay": by_value(survey, METRIC, "weight_decay"),
        "runs": {"all": len(survey), "mild": len(mild), "above_88": sum(v >= 0.88 for _, v in scored(survey, METRIC))},
        "correlations": correlations(mild, METRIC),
        "importances": {"all": importances(survey, METRIC), "mild": importances(mild, METRIC)},
        "reasons": reasons(survey),
        "wider": [{"settings": r.settings, "seconds": r.seconds, **r.metrics} for r in wider],
    }
    ranks = bars(numbers["correlations"], "rank correlation with validation accuracy")
    charts = {"survey": parallel(survey), "search": parallel(search), "correlation": ranks}
    for name, weights in numbers["importances"].items():
        charts[f"importance_{name}"] = bars(weights, "share of the variance of validation accuracy")
    named = {"{hidden_size} units, weight decay {weight_decay:g}".format(**r.settings): [r.history] for r in wider}
    charts |= {"wider": learning_curves(named), "wider_training": learning_curves(named, "train_accuracy")}
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
