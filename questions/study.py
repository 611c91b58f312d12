"""What the scripts of the questions share: flags, training that is done once, and storage of answers.

An answer is a JSON file with numbers, and charts as data. The report and the notebook read it and train nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from sections import ROOT

from chainrule import Dataset, load_dataset
from chainrule.charts.chart import Chart, chart_to_dict
from chainrule.charts.renderer import save_chart
from chainrule.core.files import write_json
from chainrule.report.run_records import RunRecord, find_run_records, select_best
from chainrule.runs.config import NON_IDENTITY_KEYS, WANDB_MODES
from chainrule.runs.run import Run
from chainrule.runs.tracking.wandb import make_wandb_tracker
from chainrule.sweeps import run_sweep
from chainrule.terminal.console import Console

__all__ = ["Study", "describe_experiment"]

_IRRELEVANT = set(NON_IDENTITY_KEYS) - {"epochs"}

# The configuration of the course, for keys that a sweep does not set. An optimizer uses the hyperparameters it has.
COURSE = {
    "dataset": "fashion_mnist",
    "val_fraction": 0.1,
    "epochs": 10,
    "batch_size": 16,
    "loss": "cross_entropy",
    "optimizer": "rmsprop",
    "learning_rate": 0.0001,
    "weight_decay": 0.0005,
    "decay_type": "l2",
    "schedule": "constant",
    "clip_value": 0.0,
    "momentum": 0.9,
    "beta": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "beta3": 0.999,
    "change_limit": 10.0,
    "loss_floor": 0.0,
    "epsilon": 0.000001,
    "weight_init": "Xavier",
    "num_layers": 4,
    "hidden_size": 128,
    "activation": "ReLU",
    "dtype": "float32",
    "keep": "best",
    "seed": 0,
}


class Study:
    """One question: its runs and its answer.

    Args:
        script: path of the script, whose name is that of the question.
        about: the description for --help.
        words: command-line arguments; None for those of the process.

    Attributes:
        quick: whether a version of about a minute was requested.
        folder: the folder of the runs. Runs that are finished are not trained again.
    """

    def __init__(self, script: str, about: str | None, words: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=about, allow_abbrev=False)
        parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, for a trial: a minute")
        parser.add_argument("--wandb_mode", choices=WANDB_MODES, help="as in train.py; sweeps log only if it is given")
        parser.add_argument("--wandb_project", default="DA6401_A1", help="the W&B project")
        parser.add_argument("--output_dir", help="folder for runs and answer (runs/questions, or runs/quick)")
        parser.add_argument("--workers", type=int, default=0, help="training processes; 0 for one per core")
        given = parser.parse_args(words)
        self.name, self.quick, self._workers = Path(script).stem, bool(given.quick), int(given.workers)
        self._experiments: dict[str, list[Mapping[str, Any]]] = {}
        self._mode, self._project = given.wandb_mode, given.wandb_project
        self.folder = Path(given.output_dir or ROOT / "runs" / ("quick" if self.quick else "questions"))
        is_full = not self.quick and given.output_dir is None
        self.answers = ROOT / "report" / "results" if is_full else self.folder / "results"

    def load_data(self) -> Dataset:
        """Load Fashion-MNIST, split as in the runs."""
        return load_dataset("fashion_mnist", seed=COURSE["seed"], val_fraction=COURSE["val_fraction"])

    def run_sweep(
        self,
        name: str,
        grid: Mapping[str, Any] | None = None,
        quick: Mapping[str, Any] | None = None,
        experiment: str | None = None,
    ) -> list[RunRecord]:
        """Run or resume a sweep. Its quick version has two epochs and at most twelve trials.

        Args:
            name: name of a sweep file in `sweeps/`, or of the sweep over `grid`.
            grid: a value or a list of values by key.
            quick: the same, with which the quick version replaces parameters.
            experiment: name under which the hyperparameters are reported, shared by several sweeps; by default that
                of the sweep.
        """
        if grid is None:
            space = yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
        else:
            metric = {"name": "val_accuracy", "goal": "maximize"}
            space = {"name": name, "method": "grid", "metric": metric, "parameters": _make_parameters(grid)}
        if self.quick:
            space["run_cap"] = min(space.get("run_cap", 12), 12)
            space["parameters"] |= _make_parameters({"epochs": 2, **(quick or {})})
        # Behind the others, because trials depend on the order of the parameters.
        missing = {key: value for key, value in COURSE.items() if key not in space["parameters"]}
        space["parameters"] |= _make_parameters(missing)
        wandb = {"wandb_mode": self._mode, "wandb_project": self._project} if self._mode else {}
        result = run_sweep(
            space,
            name=name,
            output_dir=self.folder,
            seed=0,
            workers=self._workers,
            overrides=wandb,
            console=Console(),
        )
        if result.state != "done":
            sys.exit(f"The sweep {name} was stopped. Run the script again to resume it.")
        records = self.find_runs(name)
        self._experiments.setdefault(experiment or name, []).extend(record.config for record in records)
        return records

    def find_runs(self, *sweeps: str) -> list[RunRecord]:
        """The trials of sweeps, by start time."""
        return find_run_records([self.folder / name for name in sweeps])

    def select_best(self, records: Sequence[RunRecord]) -> RunRecord:
        """The run with the highest validation accuracy."""
        return select_best(records) or sys.exit("No run has finished, so there is no best one.")

    def read_answer(self, question: int) -> dict[str, Any]:
        """The stored answer to another question, which must be answered first."""
        file = self.answers / f"question{question}.json"
        if not file.exists():
            sys.exit(f"{file} is missing. Run questions/question{question}.py{' --quick' * self.quick} first.")
        answer: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return answer

    def store(self, numbers: Mapping[str, Any], charts: Mapping[str, Chart]) -> None:
        """Store the answer, draw its charts, and log these to W&B."""
        self.answers.mkdir(parents=True, exist_ok=True)
        experiments = {name: describe_experiment(configs) for name, configs in self._experiments.items()}
        drawn = {name: chart_to_dict(chart) for name, chart in charts.items()}
        content = {**numbers, "experiments": experiments, "charts": drawn}
        file = self.answers / f"{self.name}.json"
        write_json(file, json.loads(json.dumps(content, default=asdict)))
        images = self.folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        paths = {name: images / f"{self.name}_{name}.png" for name in charts}
        for name, chart in charts.items():
            save_chart(chart, paths[name])
        self._log_images(paths)
        print(f"{self.name}: {file}, and {len(paths)} charts in {images}")

    def _log_images(self, paths: Mapping[str, Path]) -> None:
        """Log images as one W&B run."""
        tracker = make_wandb_tracker(self._mode or "auto", self._project, None, notify=Console().note)
        if tracker is None:
            return
        folder = self.folder / "wandb" / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tracker.start(Run(self.name, folder, {"question": self.name, "quick": self.quick}, self.load_data()))
        tracker.log_images(paths)
        tracker.finish("finished")


def describe_experiment(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the configurations of an experiment: `runs`, their number; `fixed`, the hyperparameters that all runs
    share; `varied`, the sorted values of the others. A hyperparameter that only some optimizers have counts where it
    occurs.
    """
    values: dict[str, dict[str, Any]] = {}
    for config in configs:
        for key, value in config.items():
            if key not in _IRRELEVANT:
                values.setdefault(key, {})[str(value)] = value
    fixed = {key: next(iter(found.values())) for key, found in values.items() if len(found) == 1}
    varied = {key: list(found.values()) for key, found in values.items() if len(found) > 1}
    for found in varied.values():
        found.sort(key=None if all(isinstance(value, int | float) for value in found) else str)
    return {"runs": len(configs), "fixed": fixed, "varied": varied}


def _make_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in the format of sweep files."""
    return {key: {"values": value} if isinstance(value, list) else {"value": value} for key, value in values.items()}
