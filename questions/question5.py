"""Question 5: the best validation accuracy of all models, ordered by start time."""

from dataclasses import replace

from study import Study

from chainrule.report.run_charts import build_best_so_far


def main() -> None:
    """Chart the trials of both sweeps of question 4 in the order of their start."""
    study = Study(__file__, __doc__)
    study.read_answer(4)
    records = study.find_runs("survey", "fashion_mnist")
    winner = study.select_best(records)
    scores = [record.get_metric("val_accuracy") or 0.0 for record in records]
    numbers = {
        "models": len(records),
        "best": winner.get_metric("val_accuracy"),
        "name": winner.name,
        "status": winner.status,
        "curve": winner.history.column("val_accuracy"),
        "after": records.index(winner) + 1,
        "others_within_half_a_point": sum(score >= max(scores) - 0.005 for score in scores) - 1,
    }
    chart = build_best_so_far(records, by_number=True)
    # The range that separates the best models excludes most of the others.
    study.store(numbers, {"best_so_far": chart, "leaders": replace(chart, y_range=(85.0, 89.5))})


if __name__ == "__main__":
    main()
