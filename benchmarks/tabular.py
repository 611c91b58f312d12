"""Regression and multilabel classification on real tables: train, choose, test and store.

    python benchmarks/tabular.py            # what is not stored yet, in a few minutes
    python benchmarks/tabular.py --again    # everything again

The tables (docs/results.md says what is predicted) are files in `tabular/` of the folder CHAINRULE_DATA_DIR, or in the
folder CHAINRULE_TABULAR_DIR; a table that is missing is skipped with a message. A tenth of each table is for the
test and another tenth for validation, the same rows for every seed. The candidates below are trained with seed 0, the
one with the best validation score is trained with seeds 0, 1 and 2, and the test rows are evaluated with these alone.
Results are stored in benchmarks/results/tabular.json.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from machine import read_stored, save
from tabular_tasks import TASKS, Task

from chainrule import Adam, NeuralNetwork

__all__ = ["main"]

SEEDS = (0, 1, 2)
# What is the same in every run, and what validation chooses from.
FIXED: dict[str, Any] = {
    "batch_size": 128,
    "optimizer": "adam",
    "decay_type": "decoupled",
    "schedule": "cosine",
    "warmup": 0.05,
    "activation": "ReLU",
    "weight_init": "He",
}
CANDIDATES: tuple[dict[str, Any], ...] = tuple(
    {"hidden": [width, width], "learning_rate": rate, "weight_decay": decay, "dropout": dropout, "epochs": epochs}
    for width in (128, 256)
    for rate in (0.001, 0.003)
    for decay, dropout in ((0.01, 0.0), (0.1, 0.1))
    for epochs in (10, 40)
)


def train(task: Task, candidate: dict[str, Any], seed: int) -> tuple[NeuralNetwork, dict[str, Any]]:
    """Train once, and describe the run by its validation score and seconds."""
    sizes = [task.x_train.shape[1], *candidate["hidden"], task.y_train.shape[1]]
    network = NeuralNetwork(
        sizes,
        FIXED["activation"],
        FIXED["weight_init"],
        loss=task.loss,
        dropout=candidate["dropout"],
        seed=seed,
    )
    optimizer = Adam(
        learning_rate=candidate["learning_rate"],
        weight_decay=candidate["weight_decay"],
        decay_type=FIXED["decay_type"],
        schedule=FIXED["schedule"],
        warmup=FIXED["warmup"],
    )
    start = time.perf_counter()
    settings = {"epochs": candidate["epochs"], "batch_size": FIXED["batch_size"], "seed": seed}
    network.fit(task.x_train, task.y_train, optimizer=optimizer, **settings)
    seconds = time.perf_counter() - start
    score = network.evaluate(task.x_val, task.y_val).score
    return network, {"val_score": score, "seconds": round(seconds, 1)}


def run_task(task: Task) -> dict[str, Any]:
    """Choose the candidate with the best validation score, train it with each seed, and test it."""
    trials = []
    for candidate in CANDIDATES:
        _, trial = train(task, candidate, seed=0)
        trials.append({**candidate, **trial})
        print(f"  {candidate}: {task.score_name} {trial['val_score']:.4f} in {trial['seconds']} s", flush=True)
    chosen = CANDIDATES[max(range(len(trials)), key=lambda number: trials[number]["val_score"])]
    runs = []
    for seed in SEEDS:
        network, run = train(task, chosen, seed)
        runs.append({"seed": seed, **run, **task.measure(network.predict(task.x_test))})
    for name in task.measures:
        values = [run[name] for run in runs]
        print(f"  test {name}: {statistics.mean(values):.4f} +- {statistics.stdev(values):.4f}", flush=True)
    return {
        "title": task.title,
        "loss": task.loss,
        "samples": {"train": len(task.x_train), "val": len(task.x_val), "test": len(task.x_test)},
        "inputs": task.x_train.shape[1],
        "outputs": task.y_train.shape[1],
        "baseline": task.baseline,
        "chosen": chosen,
        "trials": trials,
        "runs": runs,
    }


def find_folder() -> Path | None:
    """Find the folder of the tables."""
    if own := os.environ.get("CHAINRULE_TABULAR_DIR"):
        return Path(own)
    data = os.environ.get("CHAINRULE_DATA_DIR")
    return Path(data) / "tabular" if data else None


def main() -> None:
    """Run what is missing, and store it."""
    settings = {**FIXED, "seeds": SEEDS, "candidates": CANDIDATES}
    results: dict[str, Any] = read_stored("tabular", settings).get("results", {})
    folder = find_folder()
    if folder is None:
        print("Skipped: CHAINRULE_TABULAR_DIR must be the folder of california.csv.gz, diamonds.csv.gz and others.")
        return
    for name, load in TASKS.items():
        if name in results and "--again" not in sys.argv:
            print(f"{name}: stored.")
            continue
        try:
            task = load(folder)
        except FileNotFoundError as error:
            print(f"{name}: skipped, because {error.filename} does not exist.")
            continue
        print(f"{name}: {len(task.x_train)} training samples, {task.x_train.shape[1]} inputs", flush=True)
        results[name] = run_task(task)
        save("tabular", settings, {"results": results})


if __name__ == "__main__":
    main()
