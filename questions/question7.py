"""Question 7: the test accuracy of the best model, chosen by validation accuracy, and where and how it errs."""

from study import Study

from chainrule.report.run_records import RunRecord, find_run_records
from chainrule.report.run_charts import confusion, build_learning_curves
from chainrule.report.statistics import estimate_mean, select_scored

SPACE = ("epochs", "num_layers", "hidden_size", "weight_decay", "learning_rate", "optimizer", "batch_size")
SETTINGS = ("dataset", *SPACE, "weight_init", "activation")


def main() -> None:
    """Train the best ten of the sweeps again with new seeds, take the one that validates best, and test that."""
    study = Study(__file__, __doc__)
    study.needs(4)
    seeds, most = ([1], 2) if study.quick else ([1, 2, 3], 10)
    pairs = sorted(select_scored(find_run_records(["survey", "fashion_mnist"], study.folder), "val_accuracy"), key=lambda p: -p[1])
    chosen: dict[str, dict] = {}
    for record, _ in pairs:
        settings = {name: record.config[name] for name in SETTINGS}
        if len(chosen) < most:
            chosen.setdefault(str(settings), settings)
    candidates: list[tuple[float, dict, list[RunRecord]]] = []
    for rank, settings in enumerate(chosen.values()):
        parameters = {name: {"value": value} for name, value in settings.items()} | {"seed": {"values": seeds}}
        group = study.sweep(f"candidate{rank}", parameters)
        candidates.append((estimate_mean([r.get_metric("val_accuracy") or 0.0 for r in group]).mean, settings, group))
    _, settings, group = max(candidates, key=lambda candidate: candidate[0])
    numbers = {
        "settings": settings,
        "seeds": seeds,
        "val_accuracy": estimate_mean([record.get_metric("val_accuracy") or 0.0 for record in group]),
        "test_accuracy": estimate_mean([record.get_metric("test_accuracy") or 0.0 for record in group]),
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
    study.store(
        numbers, {"confusion": confusion(group[0]), "curves": build_learning_curves({"": [r.history for r in group]})}
    )


if __name__ == "__main__":
    main()
