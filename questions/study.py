"""What the scripts of the questions share: their flags, training that is done once, and where an answer is stored.

An answer is a JSON file: its numbers, and its charts as data. Report and notebook read that file, and train nothing.
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

from chainrule import Dataset, load_dataset
from chainrule.cli import main as chainrule
from chainrule.core.files import write_json, write_text
from chainrule.charts.chart import Chart, chart_to_dict
from chainrule.charts.mpl_charts import save
from chainrule.report.run_records import RunRecord, best, find_run_records
from chainrule.runs.config import WANDB_MODES
from chainrule.runs.tracking.base import Run
from chainrule.runs.tracking.wandb import make_wandb_tracker
from chainrule.terminal.console import Console

__all__ = ["ROOT", "Study"]

ROOT = Path(__file__).resolve().parents[1]


class Study:
    """One question: its runs, its answer.

    Args:
        script: the script's path; its name is the question's.
        about: what the script does, for --help.
        words: flags and values; None for those of this process.

    Attributes:
        quick: whether a minute's version was asked for.
        folder: where the runs go. Those that are there are not trained again.
    """

    def __init__(self, script: str, about: str | None, words: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(description=about, allow_abbrev=False)
        parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, for a look: a minute")
        parser.add_argument("--wandb_mode", choices=WANDB_MODES, help="as in train.py; sweeps log only if it is given")
        parser.add_argument("--wandb_project", default="DA6401_A1", help="the W&B project")
        parser.add_argument("--output_dir", help="folder for runs and answer (runs/questions, or runs/quick)")
        given = parser.parse_args(words)
        self.name, self.quick = Path(script).stem, bool(given.quick)
        self._mode, self._project = given.wandb_mode, given.wandb_project
        self.folder = Path(given.output_dir or ROOT / "runs" / ("quick" if self.quick else "questions"))
        full = not self.quick and given.output_dir is None
        self.answers = ROOT / "report" / "results" if full else self.folder / "results"

    def data(self, name: str = "fashion_mnist") -> Dataset:
        """A dataset."""
        return load_dataset(name)

    def sweep(self, file: str, parameters: Mapping[str, Any] | None = None, quick: Any = None) -> list[RunRecord]:
        """Run a sweep, or go on with it; the quick version has two epochs and at most twelve trials.

        Args:
            file: the name of a sweep file in `sweeps/`, or of a new grid over `parameters`.
            parameters: of a new grid.
            quick: parameters of the file that the quick version replaces.
        """
        known = ROOT / "sweeps" / f"{file}.yaml"
        content = yaml.safe_load(known.read_text(encoding="utf-8")) if known.exists() else _grid(str(file))
        content["parameters"] = dict(parameters or content["parameters"])
        if self.quick:
            content["run_cap"] = min(content.get("run_cap", 12), 12)
            content["parameters"] |= {"epochs": {"value": 2}} | (quick or {})
        copy = self.folder / f"{file}.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_text(copy, yaml.safe_dump(content, sort_keys=False))
        flags = ["--wandb_mode", self._mode, "--wandb_project", self._project] if self._mode else []
        status = chainrule(["sweep", str(copy), "--output_dir", str(self.folder), *flags])
        if status:
            sys.exit(status)
        return find_run_records([str(file)], self.folder)

    def best(self, records: Sequence[RunRecord]) -> RunRecord:
        """The run with the highest validation accuracy."""
        winner = best(records)
        return winner or sys.exit("No run has finished, so there is no best one.")

    def needs(self, question: int) -> dict[str, Any]:
        """The answer to another question, which must have been found before."""
        file = self.answers / f"question{question}.json"
        if not file.exists():
            sys.exit(f"{file} is missing. Run questions/question{question}.py{' --quick' * self.quick} first.")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found

    def store(self, numbers: Mapping[str, Any], charts: Mapping[str, Chart]) -> None:
        """Keep the answer, draw its charts, and send these to W&B."""
        self.answers.mkdir(parents=True, exist_ok=True)
        content = {**numbers, "charts": {name: chart_to_dict(chart) for name, chart in charts.items()}}
        file = self.answers / f"{self.name}.json"
        write_json(file, json.loads(json.dumps(content, default=asdict)))
        pictures = self.folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        paths = {name: pictures / f"{self.name}_{name}.png" for name in charts}
        for name, chart in charts.items():
            save(chart, paths[name])
        self._send(paths)
        print(f"{self.name}: {file}, and {len(paths)} charts in {pictures}")

    def _send(self, paths: Mapping[str, Path]) -> None:
        """Log pictures as one W&B run."""
        mirror = make_wandb_tracker(self._mode or "auto", self._project, None, notify=Console().note)
        if mirror is None:
            return
        folder = self.folder / "wandb" / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mirror.start(Run(self.name, folder, {"question": self.name, "quick": self.quick}, self.data()))
        mirror.log_images(paths)
        mirror.finish("finished")


def _grid(name: str) -> dict[str, Any]:
    metric = {"name": "val_accuracy", "goal": "maximize"}
    return {"program": "train.py", "name": name, "method": "grid", "metric": metric}
