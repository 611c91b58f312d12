"""Question 6: which hyperparameters matter: parallel coordinates, correlations, what works and what does not."""

from estimate import estimate_mean
from study import Study
from survey import METRIC, analyze_survey, read_trials

from chainrule.report.run_charts import build_learning_curves, build_parallel_coordinates
from chainrule.report.run_records import RunRecord

SHOWN = ("train_accuracy", METRIC, "test_accuracy")


def main() -> None:
    """Analyze the survey, show the search beside it, and train wider networks."""
    study = Study(__file__, __doc__)
    answer = study.read_answer(4)
    wider: dict[str, list[RunRecord]] = {}
    for record in study.run_sweep("beyond", quick={"hidden_size": [32, 64], "seed": 0}):
        name = "{hidden_size} units, weight decay {weight_decay:g}".format(**record.config)
        wider.setdefault(name, []).append(record)
    numbers, charts = analyze_survey(read_trials(answer, "survey"))
    numbers["wider"] = {k: {m: estimate_mean([r.get_metric(m) for r in v]) for m in SHOWN} for k, v in wider.items()}
    charts["search"] = build_parallel_coordinates(read_trials(answer, "fashion_mnist"))
    charts["wider"] = build_learning_curves({name: [r.history for r in group] for name, group in wider.items()})
    study.store(numbers, charts)


if __name__ == "__main__":
    main()
