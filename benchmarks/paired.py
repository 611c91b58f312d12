"""Old against new: the compiled engine of two checkouts of chainrule, measured side by side, as ratios of their times.

    python benchmarks/paired.py OLD_CHECKOUT NEW_CHECKOUT                    # about 20 minutes
    python benchmarks/paired.py OLD_CHECKOUT NEW_CHECKOUT --quick            # about two minutes, rough
    python benchmarks/paired.py OLD NEW --problems 784-128x4-10/16 --json paired.json

Each checkout runs in one long-lived process for each number of threads, with the Python and the libraries of this one.
Both get the same samples, parameters, orders of samples and hyperparameters, given explicitly because defaults differ
between versions. They take turns, the old one first in every other round, and only one computes at a time. The result
is the median over the rounds of new / old, with a bootstrap 95 % interval of that median. "same bits" says whether both
have the same parameters, or predictions, at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from pool import Child
from problem import BATCHES, HYPERPARAMETERS

__all__ = ["bootstrap_interval", "main"]

SIDES = ("old", "new")
LARGE_BATCHES = (64, 256, 1024)
WORSE = 1.03  # a ratio whose whole interval lies above this is reported as slower
_REST = 0.05  # seconds between two measurements, in which spinning threads fall asleep


@dataclass(frozen=True)
class Case:
    """A case to measure: steps of `batch` samples, or, without an optimizer, a prediction of `batch` rows."""

    network: str
    batch: int
    optimizer: str
    threads: int

    @property
    def name(self) -> str:
        """For `--problems`, such as 784-128x4-10/16."""
        return f"{self.network}/{self.batch}"

    def __str__(self) -> str:
        what = f"{self.optimizer}, batch {self.batch}" if self.optimizer else f"predict {self.batch} rows"
        return f"{self.network}, {what}, threads {self.threads or 'own choice'}"


def list_cases() -> Iterator[Case]:
    """Every case, the default network first."""
    for network, batches in (("784-128x4-10", BATCHES), ("784-10", BATCHES), ("784-512x3-10", LARGE_BATCHES)):
        for batch in batches:
            for optimizer in HYPERPARAMETERS:
                for threads in (1, 2):
                    yield Case(network, batch, optimizer, threads)
    for rows in (10_000, 1):
        yield Case("784-128x4-10", rows, "", 0)


def bootstrap_interval(ratios: list[float], resamples: int = 4000) -> tuple[float, float]:
    """The 95 % percentile interval of the median.

    >>> low, high = bootstrap_interval([1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0])
    >>> bool(0.98 <= low <= 1.0 <= high <= 1.02)
    True
    """
    drawn = np.random.default_rng(0).choice(ratios, size=(resamples, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


class Pairs:
    """The child processes of both checkouts, by side and number of threads.

    Args:
        checkouts: folder of each side.
        folder: for caches and logs; each checkout has a cache of machine code of its own.
    """

    def __init__(self, checkouts: dict[str, Path], folder: Path) -> None:
        self._checkouts, self._folder = checkouts, folder
        self._children: dict[tuple[str, int], Child] = {}

    def child(self, side: str, threads: int) -> Child:
        """The process of a side and a number of threads, started on first use."""
        if (side, threads) not in self._children:
            checkout = self._checkouts[side]
            variables = {"PYTHONPATH": str(checkout / "src"), "CHAINRULE_CACHE_DIR": str(self._folder / side)}
            log = self._folder / f"{side}-{threads}.log"
            arguments = {"checkout": str(checkout)}
            self._children[side, threads] = Child("paired_runs:Runs", arguments, threads or None, log, variables)
        return self._children[side, threads]

    def measure(self, case: Case, rounds: int, seconds: float) -> dict[str, Any]:
        """Measure one case on both sides in turns."""
        children = {side: self.child(side, case.threads) for side in SIDES}
        estimates = {side: child.call("prepare", **asdict(case)) for side, child in children.items()}
        repeats = max(1, round(seconds / min(estimates.values())))
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                time.sleep(_REST)
                times[side].append(children[side].call("measure", repeats=repeats))
        ratios = [new / old for old, new in zip(times["old"], times["new"], strict=True)]
        digests = {child.call("finish") for child in children.values()}
        return {
            **asdict(case),
            "microseconds": {side: [round(1e6 * each, 3) for each in times[side]] for side in SIDES},
            "ratio": float(np.median(ratios)),
            "interval": bootstrap_interval(ratios),
            "same_bits": len(digests) == 1,
        }

    def stop(self) -> None:
        """End all processes."""
        for child in self._children.values():
            child.stop()


def format_row(case: Case, result: dict[str, Any]) -> str:
    """A row of the Markdown table."""
    old, new = (np.median(result["microseconds"][side]) for side in SIDES)
    low, high = result["interval"]
    ratio = f"{result['ratio']:.3f} | {low:.3f} to {high:.3f}"
    return f"| {case} | {old:,.1f} | {new:,.1f} | {ratio} | {'yes' if result['same_bits'] else 'NO'} |"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="checkout to compare with")
    parser.add_argument("new", type=Path, help="checkout to measure")
    parser.add_argument("--quick", action="store_true", help="5 rounds of 0.05 seconds")
    parser.add_argument("--rounds", type=int, help="measurements of each side, at least 15 for a result to quote (21)")
    parser.add_argument("--seconds", type=float, help="length of a measurement (0.3)")
    parser.add_argument("--problems", help="networks or problems, such as 784-10,784-128x4-10/16")
    parser.add_argument("--threads", default="1,2", help="numbers of threads of a training step (1,2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (5 if arguments.quick else 21)
    arguments.seconds = arguments.seconds or (0.05 if arguments.quick else 0.3)
    wanted = arguments.problems.split(",") if arguments.problems else []
    threads = {0, *map(int, arguments.threads.split(","))}
    cases = [case for case in list_cases() if case.threads in threads]
    arguments.cases = [case for case in cases if not wanted or {case.network, case.name} & set(wanted)]
    if not arguments.cases:
        parser.error(f"--problems must be some of {', '.join(dict.fromkeys(case.name for case in list_cases()))}")
    return arguments


def main() -> None:
    """Measure, print and store."""
    arguments = _parse_arguments()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = Pairs({"old": arguments.old.resolve(), "new": arguments.new.resolve()}, Path(folder))
        try:
            versions = {side: pairs.child(side, 1).call("describe") for side in SIDES}
            print(", ".join(f"{side}: {version}" for side, version in versions.items()))
            print("\n| microseconds | old | new | new / old | 95 % interval | same bits |")
            print("| --- | ---: | ---: | ---: | --- | --- |")
            for case in arguments.cases:
                result = pairs.measure(case, arguments.rounds, arguments.seconds)
                results.append(result)
                print(format_row(case, result), flush=True)
        finally:
            pairs.stop()
    ratios = [result["ratio"] for result in results]
    slower = [str(case) for case, each in zip(arguments.cases, results, strict=True) if each["interval"][0] > WORSE]
    print(f"\nGeometric mean of new / old: {np.exp(np.mean(np.log(ratios))):.3f}, largest {max(ratios):.3f}.")
    print(f"Slower by more than 3 %: {'; '.join(slower) or 'none'}.")
    if arguments.json:
        settings = {"rounds": arguments.rounds, "seconds": arguments.seconds, **versions}
        content = {"machine": describe(), "settings": settings, "results": results}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
