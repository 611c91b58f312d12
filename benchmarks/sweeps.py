"""Trials per hour: with one worker and two, against a process for each trial, and against Optuna with other systems.

    python benchmarks/sweeps.py            # an hour; stores results/sweeps.json
    python benchmarks/sweeps.py --parts peers

Every system trains two trials at a time, one thread each, on the same configurations.
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
# The rules that scikit-learn has.
SCIKIT_LEARN = ("sgd", "momentum", "nag", "adam")


def main() -> None:
    """Measure, and store what was measured; parts that are not asked for keep what is stored."""
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


# So many that the seconds in which a sweep starts count little, as in one of hundreds.
_TRIALS = 48


def workers() -> dict[str, Any]:
    """Trials an hour with one worker and with two, in turns, over the same random trials of five epochs."""
    rates: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(2):
        for count, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds = _sweep(folder, _random(_TRIALS), "--workers", count)
                found.append(_TRIALS * 3600 / seconds)
    return {"trials_an_hour": rates, "ratio": statistics.median(rates["2"]) / statistics.median(rates["1"])}


def overhead() -> dict[str, Any]:
    """What a trial of five epochs costs besides training, validation and the test: scheduling, tracking, saving."""
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
            content = _file("grid", {key: {"value": value} for key, value in fixed.items()} | rates)
            with tempfile.TemporaryDirectory() as folder:
                _sweep(folder, content, "--workers", "1")
                whole.append(_between_trials(Path(folder)))
            bare.append(_bare(TrainConfig.from_mapping(fixed)))
            ratios.append(whole[-1] / bare[-1] - 1)
        found[name] = {"trial_seconds": whole, "work_seconds": bare, "overhead": statistics.median(ratios)}
    return found


def search() -> dict[str, Any]:
    """The course's space: 300 trials of Bayesian search with early termination."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _sweep(folder, COURSE.read_text(encoding="utf-8"))
        rows = _rows(Path(folder))
    scores = [float(row["val_accuracy"]) for row in rows if row["status"] == "finished"]
    best = max((row for row in rows if row["status"] == "finished"), key=lambda row: float(row["val_accuracy"]))
    statuses = {status: sum(row["status"] == status for row in rows) for status in ("finished", "pruned", "failed")}
    return {"seconds": seconds, "best": best, "statuses": statuses, "finished_scores": scores}


def peers() -> dict[str, Any]:
    """Seconds for the same 20 configurations, two at a time; scikit-learn has not all rules, so it gets 20 others."""
    every, some = _random(20), _random(20, SCIKIT_LEARN)
    systems: dict[str, Callable[[], float]] = {
        "chainrule": lambda: _own(every),
        "a process for each trial": lambda: _processes(_configs(every)),
        "Optuna and PyTorch": lambda: _children("torch", _configs(every)),
        "chainrule, rules of scikit-learn": lambda: _own(some),
        "Optuna and scikit-learn": lambda: _children("sklearn", _configs(some)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _, (name, run) in itertools.product(range(2), systems.items()):
        seconds[name].append(run())
        print(name, round(seconds[name][-1], 1), flush=True)
    return {"seconds": seconds, "trials": 20, "epochs": 5}


PARTS = {"workers": workers, "overhead": overhead, "peers": peers, "search": search}


# --- ways to run trials


def _file(method: str, parameters: dict[str, Any], **more: Any) -> str:
    metric = {"name": "val_accuracy", "goal": "maximize"}
    return yaml.safe_dump({"program": "train.py", "method": method, "metric": metric, "parameters": parameters, **more})


def _random(trials: int, optimizers: Sequence[str] = ()) -> str:
    """A sweep file with random trials of five epochs in the course's space."""
    parameters = yaml.safe_load(COURSE.read_text(encoding="utf-8"))["parameters"] | {"epochs": {"value": 5}}
    if optimizers:
        parameters["optimizer"] = {"values": list(optimizers)}
    return _file("random", parameters, run_cap=trials)


def _configs(content: str) -> list[dict[str, Any]]:
    """The configurations that a sweep file of `_random` stands for, with seed 5."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.yaml"
        file.write_text(content, encoding="utf-8")
        sweep = read_sweep(file)
    proposed = [propose(sweep, 5, number, []) for number in range(sweep.size or 0)]
    return [sweep.decode(params) for params in proposed]


def _sweep(folder: str, content: str, *words: str) -> float:
    """Seconds of a sweep, from the command to its end."""
    (Path(folder) / "s.yaml").write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "chainrule", "sweep", "s.yaml", "--name", "s", *words]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _rows(folder: Path) -> list[dict[str, str]]:
    import csv

    command = [sys.executable, "-m", "chainrule", "sweep", "status", "s", "--export", "csv"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with (folder / "runs" / "s" / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _between_trials(folder: Path) -> float:
    """Seconds from the end of a trial to the end of the next, in a sweep with one worker; the first one warms up."""
    return statistics.median(float(row["seconds"]) for row in _rows(folder)[1:])


def _bare(config: TrainConfig) -> float:
    """Seconds of training, validation and the test alone."""
    data = load_dataset(config.dataset, seed=config.seed)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        network = NeuralNetwork([784, *config.hidden_sizes, 10], config.activation, config.weight_init, seed=0)
        rule = OPTIMIZERS[config.optimizer](**config.hyperparameters)
        trainer = Trainer(network, data, rule, batch_size=config.batch_size, engine="compiled", seed=0, threads=1)
        for _ in trainer.run(config.epochs):
            pass
        trainer.evaluate(data.x_test, data.y_test)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _own(content: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _sweep(folder, content, "--workers", "2", "--seed", "5")


def _processes(configs: list[dict[str, Any]]) -> float:
    """A process a trial, as W&B's agent starts them, with W&B recording offline."""
    with tempfile.TemporaryDirectory() as folder:

        def train(config: dict[str, Any]) -> None:
            words = [f"--{name}={value}" for name, value in config.items()]
            command = [sys.executable, str(ROOT / "train.py"), *words, "--threads=1"]
            environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
            subprocess.run(command, cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)

        began = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(train, configs))
        return time.perf_counter() - began


def _children(system: str, configs: list[dict[str, Any]]) -> float:
    """Two processes that share the trials; the time of the slower one."""
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
