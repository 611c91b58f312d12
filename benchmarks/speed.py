"""Microseconds per training step: chainrule against its peers, on equal network, data, batch size and optimizer.

    python benchmarks/speed.py                                    # everything, about half an hour
    python benchmarks/speed.py --quick --problems 784-128x4-10/16 # one problem, two rounds
    python benchmarks/speed.py --systems compiled,jax,floor --no-save

Each system runs in long-lived processes of its own, one for each number of threads. In every round each of them is
measured once, so that a temporary slowdown of the machine affects all alike. Only one computes at any time. The result
is the median of the rounds, and for each system the best of its numbers of threads; chainrule is reported with the
number that it chooses itself. Preparation (building, compiling, warming up) is measured separately.

Systems that are not installed are reported as absent. Results are stored in benchmarks/results/speed.json; those of
problems that were not measured in this run are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from machine import RESULTS, save
from pool import Child, ChildError, resolve_threads
from problem import BATCHES, HYPERPARAMETERS, NETWORKS, WEIGHT_DECAY, Problem, store
from systems import SYSTEMS, Entry

__all__ = ["Comparison", "best", "main"]

LOSS_PROBLEM, LOSS_STEPS = Problem("784-128x4-10", 16), 512
_REST = 0.1  # seconds between two measurements: idle threads of some libraries spin for dozens of milliseconds


class Comparison:
    """The child processes and their measurements.

    Args:
        systems: by name.
        folder: of the data, and for logs.
        rounds: measurements of each system.
        seconds: length of a measurement.

    Attributes:
        results: an entry for each problem, optimizer, system and thread setting.
        absent: systems that could not be started, with the reason.
    """

    def __init__(self, systems: Mapping[str, Entry], folder: Path, rounds: int, seconds: float) -> None:
        self._systems = systems
        self._children: dict[tuple[str, str], Child] = {}
        self._rounds, self._seconds = rounds, seconds
        self.results: list[dict[str, Any]] = []
        self.losses: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        for name, entry in systems.items():
            for setting in dict.fromkeys(entry.threads):
                threads = resolve_threads(setting)
                if setting == "all" and threads == 1:
                    continue  # a machine with one core
                arguments = {"target": entry.target, "folder": str(folder), "threads": threads}
                child = Child("stopwatch:Stopwatch", arguments, threads, folder / f"{name}-{setting}.log")
                try:
                    self.versions[name] = child.call("version")
                    self._children[name, setting] = child
                except ChildError as error:
                    child.stop()
                    self.absent[name] = str(error)
                    print(f"{entry.label}: absent ({error})", flush=True)
                    break

    def run(self, problem: Problem) -> None:
        """Measure one problem with every child that has its optimizer."""
        if not any(problem.optimizer in self._systems[name].optimizers for name, _ in self._children):
            return
        running: dict[tuple[str, str], dict[str, Any]] = {}
        what = asdict(problem)
        for name, setting in list(self._children):
            if problem.optimizer not in self._systems[name].optimizers:
                continue
            entry: dict[str, Any] = {**what, "system": name, "threads": setting}
            answer = self._call((name, setting), entry, "prepare", seconds=self._seconds, **what)
            if answer is not None:
                running[name, setting] = {**entry, **answer, "microseconds": []}
        for _ in range(self._rounds):
            for key, entry in list(running.items()):
                time.sleep(_REST)
                seconds = self._call(key, entry, "measure")
                if seconds is None:
                    del running[key]
                else:
                    entry["microseconds"].append(round(1e6 * seconds, 2))
        for key, entry in list(running.items()):
            entry["loss_after"] = self._call(key, entry, "finish")
            self.results.append({**entry, "median": statistics.median(entry["microseconds"])})
        _print_results(problem, self.results, self._systems)

    def compare_losses(self) -> None:
        """Check that all systems do the same: the loss after equal steps from equal parameters."""
        print(f"\nMean loss on {LOSS_PROBLEM.name} before and after about {LOSS_STEPS} steps from the same weights")
        for name, setting in list(self._children):
            if setting not in self._systems[name].headline[:1] or name == "floor":
                continue
            for optimizer in self._systems[name].optimizers:
                what = {"network": LOSS_PROBLEM.network, "batch": LOSS_PROBLEM.batch, "optimizer": optimizer}
                answer = self._call((name, setting), {}, "losses", steps=LOSS_STEPS, **what)
                if answer is not None:
                    self.losses.append({"system": name, "optimizer": optimizer, **answer})
                    label = f"{self._systems[name].label}, {optimizer}"
                    print(
                        f"  {label:40} {answer['before']:.4f} -> {answer['after']:.4f} ({answer['steps']:.0f} steps)",
                        flush=True,
                    )

    def _call(self, key: tuple[str, str], entry: dict[str, Any], method: str, **arguments: Any) -> Any:
        """Call a child; one that fails is reported and stopped."""
        try:
            return self._children[key].call(method, **arguments)
        except ChildError as error:
            print(f"{self._systems[key[0]].label}, threads {key[1]}, {method}: {error}", flush=True)
            self.results.append({**entry, "failed": str(error)})
            self._children.pop(key).stop()
            return None

    def stop(self) -> None:
        """End all children."""
        for child in self._children.values():
            child.stop()


def best(
    results: list[dict[str, Any]], system: str, problem: Problem, systems: Mapping[str, Entry] = SYSTEMS
) -> dict[str, Any] | None:
    """Return the entry of a system for the table: its thread setting with the lowest median."""
    wanted = {"system": system, **asdict(problem)}
    found = [
        entry
        for entry in results
        if "median" in entry
        and all(entry.get(key, "") == value for key, value in wanted.items())
        and entry["threads"] in systems[system].headline
    ]
    return min(found, key=lambda entry: entry["median"], default=None)


def _print_results(problem: Problem, results: list[dict[str, Any]], systems: Mapping[str, Entry]) -> None:
    """Print the table of one problem."""
    parts = f", {problem.parts}" if problem.parts else ""
    print(f"\n{problem.network}, batch {problem.batch}, {problem.optimizer}{parts}: microseconds a step")
    print(f"  {'':30} {'threads':>8} {'median':>9} {'min':>9} {'max':>9} {'ratio':>6} {'loss':>7} {'prepare':>8}")
    own = best(results, "compiled", problem, systems)
    for name, system in systems.items():
        entry = best(results, name, problem, systems)
        if entry is not None:
            times = entry["microseconds"]
            ratio = f"{entry['median'] / own['median']:.2f}" if own else "-"
            print(
                f"  {system.label:30} {entry['threads']:>8} {entry['median']:9.1f} {min(times):9.1f} {max(times):9.1f} "
                f"{ratio:>6} {entry['loss_after']:7.3f} {entry['prepare_seconds']:7.1f}s",
                flush=True,
            )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="measurements of each system (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a measurement (0.5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.3 seconds")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--problems", default="", help="networks or problems, such as 784-128-10,784-128x4-10/16")
    parser.add_argument("--optimizers", default=",".join(HYPERPARAMETERS), help=f"some of {','.join(HYPERPARAMETERS)}")
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 2 if arguments.quick else 5
    if arguments.quick:
        arguments.seconds = 0.3
    unknown = {*arguments.systems.split(","), *arguments.optimizers.split(",")} - {*SYSTEMS, *HYPERPARAMETERS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    problems = [Problem(network, batch) for network in NETWORKS for batch in BATCHES]
    wanted = arguments.problems.split(",") if arguments.problems else list(NETWORKS)
    arguments.problems = [problem for problem in problems if problem.network in wanted or problem.name in wanted]
    if not arguments.problems:
        parser.error(f"--problems must be some of {', '.join(problem.name for problem in problems)}")
    return arguments


def _read_other_results(measured: set[str]) -> list[dict[str, Any]]:
    """Read the stored results of the problems that were not measured in this run."""
    file = RESULTS / "speed.json"
    stored = json.loads(file.read_text(encoding="utf-8"))["results"] if file.exists() else []
    return [entry for entry in stored if Problem(entry["network"], entry["batch"]).name not in measured]


def main() -> None:
    """Measure, print and store."""
    arguments = _parse_arguments()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder), "fashion_mnist")
        systems = {name: SYSTEMS[name] for name in arguments.systems.split(",")}
        comparison = Comparison(systems, Path(folder), arguments.rounds, arguments.seconds)
        try:
            for problem in arguments.problems:
                for optimizer in arguments.optimizers.split(","):
                    comparison.run(Problem(problem.network, problem.batch, optimizer))
            comparison.compare_losses()
        finally:
            comparison.stop()
    settings = {
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "hyperparameters": HYPERPARAMETERS,
        "weight_decay": WEIGHT_DECAY,
        "data": "Fashion-MNIST, float32",
        "run_seconds": round(time.perf_counter() - start),
    }
    measured = {problem.name for problem in arguments.problems}
    content = {
        "versions": comparison.versions,
        "absent": comparison.absent,
        "losses": comparison.losses,
        "results": [*_read_other_results(measured), *comparison.results],
    }
    if not arguments.no_save:
        print(f"\nStored in {save('speed', settings, content).name} in benchmarks/results")


if __name__ == "__main__":
    main()
