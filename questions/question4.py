"""Question 4: two sweeps over the search space of the course: a random survey, and Bayesian search for the best."""

from collections import Counter

import numpy as np
from study import Study

from chainrule.report.overview import tabulate_runs
from chainrule.report.run_charts import build_best_so_far
from chainrule.report.run_records import find_varied_hyperparameters


def main() -> None:
    """Run both sweeps; store configuration and results of every trial."""
    study = Study(__file__, __doc__)
    found, charts, runs = {}, {}, []
    for name in ("survey", "fashion_mnist"):
        records = study.run_sweep(name)
        winner = study.select_best(records)
        epochs = [len(record.history) for record in records]
        found[name] = {
            "trials": len(records),
            "statuses": Counter(record.status for record in records),
            "best": {"name": winner.name, "val_accuracy": winner.get_metric("val_accuracy")},
            "median": float(np.median([record.get_metric("val_accuracy") for record in records])),
            "epochs": sum(epochs),
            "planned_epochs": sum(record.config["epochs"] for record in records),
            "worker_minutes": sum(record.seconds or 0 for record in records) / 60,
        }
        charts[name] = build_best_so_far(records)
        runs += [{"sweep": name, **row} for row in tabulate_runs(records)]
    varied = find_varied_hyperparameters(records)
    space = {name: [str(value) for value in values] for name, values in varied.items()}
    size = int(np.prod([len(values) for values in space.values()]))
    study.store({"sweeps": found, "space": space, "size": size, "example": winner.name, "runs": runs}, charts)


if __name__ == "__main__":
    main()
