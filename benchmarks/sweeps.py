"""Trials per hour: one worker against two, a process per trial, and Optuna with other libraries.

    python benchmarks/sweeps.py            # takes an hour, writes results/sweeps.json
    python benchmarks/sweeps.py --parts peers

Every library trains two trials at a time with one thread each, on the same configurations.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from machine import RESULTS, save

from chainrule import NeuralNetwork, load_dataset
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.config import TrainConfig
from chainrule.sweeps.search import propose
from chainrule.sweeps.space.sweep_file import read_sweep
from chainrule.training.trainer import Trainer

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "sweeps" / "fashion_mnist.yaml"
# The optimizers that scikit-learn has.
SCIKIT_LEARN = ("sgd", "momentum", "nag", "adam")


def main() -> None:
    """Measure the chosen parts and update the stored results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    file = RESULTS / "sweeps.json"
    content = json.loads(file.read_text()) if file.exists() else {}
    results = {name: content[name] for name in PARTS if name in content}
    for name in arguments.parts:
        results[name] = PARTS[name]()
        print(name, json.dumps(results[name]))
        save("sweeps", {"space": COURSE.name}, results)


# Enough to make the startup of the sweep negligible, as in one of hundreds.
_TRIALS = 48


def workers() -> dict[str, Any]:
    """Trials per hour with one worker and with two, alternating, on the same random trials of five epochs."""
    rates: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(2):
        for count, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds = _run_sweep(folder, _make_random_file(_TRIALS), "--workers", count)
                found.append(_TRIALS * 3600 / seconds)
    return {"trials_an_hour": rates, "ratio": statistics.median(rates["2"]) / statistics.median(rates["1"])}


def overhead() -> dict[str, Any]:
    """Overhead of a trial of five epochs over training, validation and test: scheduling, tracking, saving."""
    found = {}
    for name, settings in {
        "784-128x4-10, batch 16": {"num_layers": 4, "hidden_size": 128, "batch_size": 16},
        "784-64x4-10, batch 32": {"num_layers": 4, "hidden_size": 64, "batch_size": 32},
        "784-32x3-10, batch 64": {"num_layers": 3, "hidden_size": 32, "batch_size": 64},
    }.items():
        ratios, bare, whole = [], [], []
        fixed = {"dataset": "fashion_mnist", "epochs": 5, "threads": 1, "optimizer": "rmsprop", **settings}
        for _ in range(3):
            rates = {"learning_rate": {"values": [0.001, 0.0009, 0.0008, 0.0007, 0.0006, 0.0005]}}
            content = _make_file("grid", {key: {"value": value} for key, value in fixed.items()} | rates)
            with tempfile.TemporaryDirectory() as folder:
                _run_sweep(folder, content, "--workers", "1")
                whole.append(_measure_trial(Path(folder)))
            bare.append(_measure_bare(TrainConfig(fixed)))
            ratios.append(whole[-1] / bare[-1] - 1)
        found[name] = {"trial_seconds": whole, "work_seconds": bare, "overhead": statistics.median(ratios)}
    return found


def search() -> dict[str, Any]:
    """The assignment's search space: 300 trials of Bayesian search with early termination."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _run_sweep(folder, COURSE.read_text(encoding="utf-8"))
        rows = _read_rows(Path(folder))
    scores = [float(row["val_accuracy"]) for row in rows if row["status"] == "finished"]
    best = max((row for row in rows if row["status"] == "finished"), key=lambda row: float(row["val_accuracy"]))
    statuses = {status: sum(row["status"] == status for row in rows) for status in ("finished", "pruned", "failed")}
    return {"seconds": seconds, "best": best, "statuses": statuses, "finished_scores": scores}


def peers() -> dict[str, Any]:
    """Seconds for the same 20 configurations, two at a time; scikit-learn lacks some optimizers and gets 20 others."""
    every, some = _make_random_file(20), _make_random_file(20, SCIKIT_LEARN)
    systems: dict[str, Callable[[], float]] = {
        "chainrule": lambda: _run_own(every),
        "a process for each trial": lambda: _run_processes(_get_configs(every)),
        "Optuna and PyTorch": lambda: _run_children("torch", _get_configs(every)),
        "chainrule, rules of scikit-learn": lambda: _run_own(some),
        "Optuna and scikit-learn": lambda: _run_children("sklearn", _get_configs(some)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _, (name, run) in itertools.product(range(2), systems.items()):
        seconds[name].append(run())
        print(name, round(seconds[name][-1], 1), flush=True)
    return {"seconds": seconds, "trials": 20, "epochs": 5}


PARTS = {"workers": workers, "overhead": overhead, "peers": peers, "search": search}


# --- ways to run trials


def _make_file(method: str, parameters: dict[str, Any], **more: Any) -> str:
    metric = {"name": "val_accuracy", "goal": "maximize"}
    return yaml.safe_dump({"program": "train.py", "method": method, "metric": metric, "parameters": parameters, **more})


def _make_random_file(trials: int, optimizers: Sequence[str] = ()) -> str:
    """A sweep file with random trials of five epochs in the assignment's search space."""
    parameters = yaml.safe_load(COURSE.read_text(encoding="utf-8"))["parameters"] | {"epochs": {"value": 5}}
    if optimizers:
        parameters["optimizer"] = {"values": list(optimizers)}
    return _make_file("random", parameters, run_cap=trials)


def _get_configs(content: str) -> list[dict[str, Any]]:
    """The configurations of a sweep file of `_make_random_file`, with seed 5."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.yaml"
        file.write_text(content, encoding="utf-8")
        sweep = read_sweep(file)
    proposed = [propose(sweep, 5, number, []) for number in range(sweep.size or 0)]
    return [sweep.decode(params) for params in proposed]


def _run_sweep(folder: str, content: str, *words: str) -> float:
    """Run a sweep; its duration in seconds."""
    (Path(folder) / "s.yaml").write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "chainrule", "sweep", "s.yaml", "--name", "s", *words]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _read_rows(folder: Path) -> list[dict[str, str]]:
    import csv

    command = [sys.executable, "-m", "chainrule", "sweep", "status", "s", "--export", "csv"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with (folder / "runs" / "s" / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _measure_trial(folder: Path) -> float:
    """Median seconds per trial of a sweep with one worker, without the first trial, which warms up."""
    return statistics.median(float(row["seconds"]) for row in _read_rows(folder)[1:])


def _measure_bare(config: TrainConfig) -> float:
    """Seconds for training, validation and test alone."""
    data = load_dataset(config.dataset, seed=config.seed)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        network = NeuralNetwork([784, *config.hidden_sizes, 10], config.activation, config.weight_init, seed=0)
        optimizer = OPTIMIZERS[config.optimizer](**config.hyperparameters)
        trainer = Trainer(network, data, optimizer, batch_size=config.batch_size, engine="compiled", seed=0, threads=1)
        for _ in trainer.run(config.epochs):
            pass
        trainer.evaluate(data.x_test, data.y_test)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _run_own(content: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _run_sweep(folder, content, "--workers", "2", "--seed", "5")


def _run_processes(configs: list[dict[str, Any]]) -> float:
    """Seconds with one process per trial, as W&B's agent starts them, with W&B recording offline."""
    with tempfile.TemporaryDirectory() as folder:

        def train(config: dict[str, Any]) -> None:
            words = [f"--{name}={value}" for name, value in config.items()]
            command = [sys.executable, str(ROOT / "train.py"), *words, "--threads=1"]
            environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
            subprocess.run(command, cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)

        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(train, configs))
        return time.perf_counter() - start


def _run_children(system: str, configs: list[dict[str, Any]]) -> float:
    """Seconds of the slower of two processes that share the trials."""
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for half in (0, 1):
            file = Path(folder) / f"{half}.json"
            file.write_text(json.dumps(configs[half::2]), encoding="utf-8")
            command = [sys.executable, str(ROOT / "benchmarks" / "sweep_trials.py"), system, str(file)]
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return max(float(json.loads(child.communicate()[0])["seconds"]) for child in children)


if __name__ == "__main__":
    main()
