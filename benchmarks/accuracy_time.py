"""Seconds of training until a target test accuracy: chainrule, PyTorch (eager) and scikit-learn.

    python benchmarks/accuracy_time.py            # about half an hour
    python benchmarks/accuracy_time.py --quick    # MNIST's first target, two settings, one seed; nothing is stored

Targets: 97.5 % and 98 % on MNIST, 87 % and 88 % on Fashion-MNIST; the median of 5 seeds. For each system and
target the best of SETTINGS and of the numbers of threads is chosen by a pilot run with another seed. All train on the
60,000 training images with Adam and without L2 penalty, from their own default initial weights.

The accuracy is evaluated four times per epoch on the test set, for which the targets are defined. This measures speed;
model selection would need a validation set. Loading data, importing, compiling and evaluating are excluded from the
time, for all systems alike.

Results are stored in benchmarks/results/accuracy_time.json.
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
from pool import Child, ChildError, count_cores, resolve_threads
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
THREAD_SETTINGS = {"compiled": ("own",), "torch": ("1", "all"), "sklearn": ("1", "all")}
_REST = 0.3  # seconds before each run, in which spinning threads of the previous one fall asleep
MAX_EPOCHS, MAX_SECONDS = 40, 60.0


class Runs:
    """The child processes, one for each system and number of threads."""

    def __init__(self, systems: list[str], folder: Path) -> None:
        self.children: dict[tuple[str, str], Child] = {}
        self.absent: dict[str, str] = {}
        for name in systems:
            for setting in THREAD_SETTINGS[name]:
                if setting == "all" and count_cores() == 1:
                    continue
                threads = resolve_threads(setting)
                arguments = {"system": name, "threads": threads}
                self.children[name, setting] = Child(
                    "accuracy_runs:Runner", arguments, threads, folder / f"{name}-{setting}.log"
                )

    def train(self, key: tuple[str, str], **arguments: Any) -> dict[str, Any] | None:
        """Train once; None if that failed, with the reason in `absent`."""
        time.sleep(_REST)
        try:
            answer: dict[str, Any] = self.children[key].call("train", timeout=900, **arguments)
        except ChildError as error:
            self.absent[key[0]] = str(error)
            print(f"{SYSTEMS[key[0]].label}: {error}", flush=True)
            return None
        return answer

    def stop(self) -> None:
        """End all children."""
        for child in self.children.values():
            child.stop()


def run_pilot(
    runs: Runs, system: str, dataset: str, targets: tuple[float, ...], settings: tuple[dict[str, Any], ...]
) -> dict[float, dict[str, Any]]:
    """Find for each target the setting and number of threads that reach it first."""
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
                # A setting slower than the best at every target need not be run to its end.
                limit = 1.1 * max(choice["seconds"] for choice in chosen.values())
    return chosen


def measure(
    runs: Runs, systems: list[str], dataset: str, targets: tuple[float, ...], settings: tuple[dict[str, Any], ...],
    seeds: tuple[int, ...],
) -> list[dict[str, Any]]:  # fmt: skip
    """Measure all systems on one dataset. They take turns, seed by seed."""
    chosen = {system: run_pilot(runs, system, dataset, targets, settings) for system in systems}
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
    """Compute the median, with runs that missed the target as the slowest; None if the median run missed it."""
    value = statistics.median_high([float("inf") if s is None else s for s in seconds])
    return None if value == float("inf") else value


def _print_results(results: list[dict[str, Any]]) -> None:
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
    parser.add_argument("--systems", default=",".join(THREAD_SETTINGS), help=f"some of {','.join(THREAD_SETTINGS)}")
    parser.add_argument(
        "--datasets", default=",".join(TARGETS), help=f"some of {','.join(TARGETS)}; others stay as stored"
    )
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    systems = arguments.systems.split(",")
    if set(systems) - set(THREAD_SETTINGS):
        parser.error(f"--systems must be some of {','.join(THREAD_SETTINGS)}")
    wanted = arguments.datasets.split(",")
    if set(wanted) - set(TARGETS):
        parser.error(f"--datasets must be some of {','.join(TARGETS)}")
    targets = {"mnist": (0.975,)} if arguments.quick else {name: TARGETS[name] for name in wanted}
    settings, seeds = ((SETTINGS[1], SETTINGS[5]), SEEDS[:1]) if arguments.quick else (SETTINGS, SEEDS)
    start = time.perf_counter()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(systems, Path(folder))
        try:
            for dataset, wanted in targets.items():
                results += measure(runs, systems, dataset, wanted, settings, seeds)
        finally:
            runs.stop()
    _print_results(results)
    file = RESULTS / "accuracy_time.json"
    stored = json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else []
    results += [entry for entry in stored if entry["dataset"] not in targets]
    described = {
        "settings": SETTINGS,
        "seeds": seeds,
        "pilot_seed": PILOT_SEED,
        "optimizer": "adam without L2",
        "accuracy": "on the test set, four times an epoch, outside the time",
        "run_seconds": round(time.perf_counter() - start),
    }
    if not (arguments.quick or arguments.no_save):
        print(f"Stored in {save('accuracy_time', described, {'absent': runs.absent, 'results': results}).name}")


if __name__ == "__main__":
    main()
