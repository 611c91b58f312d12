"""Question 7: the test accuracy of the best model, chosen by validation accuracy, and its mistakes."""

from estimate import estimate_accuracy, estimate_mean
from study import Study

from chainrule.report.run_charts import build_confusion_matrix, build_learning_curves
from chainrule.report.run_records import RunRecord
from chainrule.report.statistics import select_scored

SPACE = ("epochs", "num_layers", "hidden_size", "weight_decay", "learning_rate", "optimizer", "batch_size")
SETTINGS = ("dataset", *SPACE, "weight_init", "activation")


def main() -> None:
    """Train the ten best configurations with new seeds, select one by validation accuracy, and test it."""
    study = Study(__file__, __doc__)
    study.read_answer(4)
    images = len(study.load_data().y_test)
    seeds, most = ([1], 2) if study.quick else ([1, 2, 3], 10)
    scored = select_scored(study.find_runs("survey", "fashion_mnist"), "val_accuracy")
    pairs = sorted(scored, key=lambda pair: -pair[1])
    chosen: dict[str, dict] = {}
    for record, _ in pairs:
        settings = {name: record.config[name] for name in SETTINGS}
        if len(chosen) < most:
            chosen.setdefault(str(settings), settings)
    candidates: list[tuple[float, dict, list[RunRecord]]] = []
    for rank, settings in enumerate(chosen.values()):
        group = study.run_sweep(f"candidate{rank}", settings | {"seed": seeds}, experiment="candidates")
        candidates.append((estimate_mean([r.get_metric("val_accuracy") or 0.0 for r in group]).mean, settings, group))
    _, settings, group = max(candidates, key=lambda candidate: candidate[0])
    tests = [record.get_metric("test_accuracy") or 0.0 for record in group]
    numbers = {
        "settings": settings,
        "seeds": seeds,
        "val_accuracy": estimate_mean([record.get_metric("val_accuracy") or 0.0 for record in group]),
        "test_accuracy": estimate_accuracy(tests, images),
        "test_images": images,
        "best_of_sweep": {
            "name": pairs[0][0].name,
            **{k: pairs[0][0].get_metric(k) for k in ("val_accuracy", "test_accuracy")},
        },
        "candidates": [
            {
                **config,
                "val_accuracy": value,
                "test_accuracy": estimate_mean([r.get_metric("test_accuracy") or 0.0 for r in runs]).mean,
            }
            for value, config, runs in candidates
        ],
        "per_class": group[0].metrics["per_class"],
    }
    curves = build_learning_curves({"": [record.history for record in group]})
    study.store(numbers, {"confusion": build_confusion_matrix(group[0]), "curves": curves})


if __name__ == "__main__":
    main()
