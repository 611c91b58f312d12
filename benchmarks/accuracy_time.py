"""Seconds of training until a test accuracy is reached: chainrule, PyTorch (eager) and scikit-learn.

    python benchmarks/accuracy_time.py            # about half an hour
    python benchmarks/accuracy_time.py --quick    # MNIST's first target, two settings, one seed; nothing is stored

97.5 % and 98 % on MNIST, 87 % and 88 % on Fashion-MNIST; the median of 5 seeds. Every system picks, for each target,
the best of the settings in SETTINGS and of its numbers of threads by a pilot run with a seed of its own, which is not
among the five. All train on the 60,000 training images with Adam and without L2, from their own usual initial weights.

The accuracy is looked at four times an epoch, on the test set, because that is where the targets are defined. This
makes it a measure of speed, not a way to choose a model: that needs a validation set. Loading data, importing,
compiling and looking at the test set are left out of the time, for all systems alike.

Results go to benchmarks/results/accuracy_time.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import RESULTS, save
from pool import Child, ChildError, cores, thread_count
from systems import SYSTEMS

__all__ = ["main"]

TARGETS: dict[str, tuple[float, ...]] = {"mnist": (0.975, 0.98), "fashion_mnist": (0.87, 0.88)}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"widths": [256], "batch": 64, "learning_rate": 0.002},
    {"widths": [256], "batch": 128, "learning_rate": 0.003},
    {"widths": [256], "batch": 96, "learning_rate": 0.003},
    {"widths": [512], "batch": 128, "learning_rate": 0.002},
    {"widths": [512], "batch": 256, "learning_rate": 0.003},
    {"widths": [256], "batch": 32, "learning_rate": 0.001},
)
SEEDS, PILOT_SEED = (0, 1, 2, 3, 4), 100
CHOICES = {"compiled": ("own",), "torch": ("1", "all"), "sklearn": ("1", "all")}
_REST = 0.3  # seconds before each run, in which the threads of the one before fall asleep
MAX_EPOCHS, MAX_SECONDS = 40, 60.0


class Runs:
    """The children, one for each system and number of threads."""

    def __init__(self, systems: list[str], folder: Path) -> None:
        self.children: dict[tuple[str, str], Child] = {}
        self.absent: dict[str, str] = {}
        for name in systems:
            for setting in CHOICES[name]:
                if setting == "all" and cores() == 1:
                    continue
                threads = thread_count(setting)
                arguments = {"system": name, "threads": threads}
                self.children[name, setting] = Child(
                    "accuracy_runs:Runner", arguments, threads, folder / f"{name}-{setting}.log"
                )

    def train(self, key: tuple[str, str], **arguments: Any) -> dict[str, Any] | None:
        """One run; None if it failed, with a note in `absent`."""
        time.sleep(_REST)
        try:
            answer: dict[str, Any] = self.children[key].ask("train", timeout=900, **arguments)
        except ChildError as error:
            self.absent[key[0]] = str(error)
            print(f"{SYSTEMS[key[0]].label}: {error}", flush=True)
            return None
        return answer

    def stop(self) -> None:
        """End all children."""
        for child in self.children.values():
            child.stop()


def pilot(
    runs: Runs, system: str, dataset: str, targets: tuple[float, ...], settings: tuple[dict[str, Any], ...]
) -> dict[float, dict[str, Any]]:
    """For each target the setting and number of threads that reached it soonest, among all that were tried."""
    chosen: dict[float, dict[str, Any]] = {}
    limit = MAX_SECONDS
    for setting in settings:
        for key in [key for key in runs.children if key[0] == system]:
            answer = runs.train(
                key, dataset=dataset, seed=PILOT_SEED, targets=list(targets), max_epochs=MAX_EPOCHS,
                max_seconds=limit, **setting,
            )  # fmt: skip
            if answer is None:
                return {}
            for target in targets:
                seconds = answer["seconds"][str(target)]
                if seconds is not None and seconds < chosen.get(target, {"seconds": MAX_SECONDS})["seconds"]:
                    chosen[target] = {"seconds": seconds, "threads": key[1], "setting": setting}
            if len(chosen) == len(targets):
                # A setting that is slower than the best at every target need not be run to its end.
                limit = 1.1 * max(choice["seconds"] for choice in chosen.values())
    return chosen


def measure(
    runs: Runs, systems: list[str], dataset: str, targets: tuple[float, ...], settings: tuple[dict[str, Any], ...],
    seeds: tuple[int, ...],
) -> list[dict[str, Any]]:  # fmt: skip
    """All systems on one dataset. The systems take turns, seed by seed."""
    chosen = {system: pilot(runs, system, dataset, targets, settings) for system in systems}
    entries: dict[tuple[str, float], dict[str, Any]] = {}
    for seed in seeds:
        for system in systems:
            for target, choice in chosen[system].items():
                answer = runs.train(
                    (system, choice["threads"]), dataset=dataset, seed=seed, targets=[target], max_epochs=MAX_EPOCHS,
                    max_seconds=MAX_SECONDS, **choice["setting"],
                )  # fmt: skip
                if answer is None:
                    continue
                empty = {"dataset": dataset, "target": target, "system": system, "threads": choice["threads"]}
                entry = entries.setdefault(
                    (system, target), {**empty, "setting": choice["setting"], "seconds": [], "epochs": []}
                )
                entry["seconds"].append(answer["seconds"][str(target)])
                entry["epochs"].append(answer["epochs"][str(target)])
    return [{**entry, "median": _median(entry["seconds"])} for entry in entries.values()]


def _median(seconds: list[float | None]) -> float | None:
    """The median, where a run that never arrived counts as the slowest; None if the median one did not arrive."""
    value = statistics.median_high([float("inf") if s is None else s for s in seconds])
    return None if value == float("inf") else value


def _print(results: list[dict[str, Any]]) -> None:
    for entry in sorted(results, key=lambda entry: (entry["dataset"], entry["target"])):
        own = next(
            (e["median"] for e in results if e["system"] == "compiled"
             and (e["dataset"], e["target"]) == (entry["dataset"], entry["target"])), None,
        )  # fmt: skip
        median = entry["median"]
        ratio = f"{median / own:5.2f}x" if median and own else "     -"
        print(
            f"{entry['dataset']:14} {100 * entry['target']:.1f} %  {SYSTEMS[entry['system']].label:28} "
            f"{f'{median:7.2f} s' if median else 'never'} {ratio}  epochs {entry['epochs']}  "
            f"threads {entry['threads']}  {entry['setting']}",
            flush=True,
        )


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="97.5 % on MNIST, two settings, one seed; nothing stored")
    parser.add_argument("--systems", default=",".join(CHOICES), help=f"some of {','.join(CHOICES)}")
    parser.add_argument(
        "--datasets", default=",".join(TARGETS), help=f"some of {','.join(TARGETS)}; others stay as stored"
    )
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    systems = arguments.systems.split(",")
    if set(systems) - set(CHOICES):
        parser.error(f"--systems must be some of {','.join(CHOICES)}")
    wanted = arguments.datasets.split(",")
    if set(wanted) - set(TARGETS):
        parser.error(f"--datasets must be some of {','.join(TARGETS)}")
    targets = {"mnist": (0.975,)} if arguments.quick else {name: TARGETS[name] for name in wanted}
    settings, seeds = ((SETTINGS[1], SETTINGS[5]), SEEDS[:1]) if arguments.quick else (SETTINGS, SEEDS)
    began = time.perf_counter()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(systems, Path(folder))
        try:
            for dataset, wanted in targets.items():
                results += measure(runs, systems, dataset, wanted, settings, seeds)
        finally:
            runs.stop()
    _print(results)
    file = RESULTS / "accuracy_time.json"
    stored = json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else []
    results += [entry for entry in stored if entry["dataset"] not in targets]
    described = {
        "settings": SETTINGS,
        "seeds": seeds,
        "pilot_seed": PILOT_SEED,
        "rule": "adam without L2",
        "accuracy": "on the test set, four times an epoch, outside the time",
        "run_seconds": round(time.perf_counter() - began),
    }
    if not (arguments.quick or arguments.no_save):
        print(f"Stored in {save('accuracy_time', described, {'absent': runs.absent, 'results': results}).name}")


if __name__ == "__main__":
    main()
