"""Kill training runs, and check that each ends like an uninterrupted one.

    python tests/soak.py                  # 500 kills
    python tests/soak.py --kills 50

All optimizers and both engines take turns. Half of the kills come at a random time, half at a random event while a file
is written (killer.py). After some kills, a run is left alone to finish. The results of the killed run and of an
uninterrupted one must be bit-identical. Prints a summary, and exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from e2e.test_resume import EVENTS, Bench

from chainrule import ENGINES, OPTIMIZERS

_KILLS_A_RUN = 12


def main() -> int:
    """Train until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="minimum number of kills (500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of times and events (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of parallel runs")
    arguments = parser.parse_args()
    kills, wrong, runs, began = Counter[str](), [], 0, time.monotonic()
    combinations = itertools.cycle(itertools.product(OPTIMIZERS, ENGINES))
    seeds = itertools.count(arguments.seed * 1_000_000)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        while kills.total() < arguments.kills:
            some = [(*next(combinations), next(seeds)) for _ in range(arguments.jobs)]
            for (optimizer, engine, _), outcome in zip(some, pool.map(_kill_one, some), strict=True):
                runs += 1
                kills += outcome[0]
                if outcome[1]:
                    wrong.append(f"{optimizer}, {engine}: {outcome[1]}")
                    print(wrong[-1])
            print(f"{runs:4} runs, {kills.total():4} kills, {len(wrong)} wrong", flush=True)
    inside = kills.total() - kills["any time"]
    events = ", ".join(f"{name} {kills[name]}" for name in EVENTS)
    print(
        f"{runs} runs of {len(OPTIMIZERS)} optimizers and {len(ENGINES)} engines, {kills.total()} kills, {inside} of "
        f"them inside a save ({events}), {runs - len(wrong)} runs bit-identical, {len(wrong)} not; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if wrong else 0


def _kill_one(which: tuple[str, str, int]) -> tuple[Counter[str], str]:
    """Train with an optimizer, an engine and a seed, and kill it; returns the kills by kind, and what was wrong."""
    optimizer, engine, seed = which
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), "-o", optimizer, "--engine", engine, "--checkpoint_every", "0.0001")
        return _kill_repeatedly(bench, random.Random(seed))


def _kill_repeatedly(bench: Bench, dice: random.Random) -> tuple[Counter[str], str]:
    kills = Counter[str]()
    began = time.monotonic()
    if bench.train("whole") != 0:
        return kills, f"failed without a kill: {bench.err}"
    needed = time.monotonic() - began
    exists = False
    while True:
        how: dict[str, object] = {}
        kind = dice.choice(("any time", *EVENTS, *EVENTS)) if kills.total() < _KILLS_A_RUN else "none"
        if kind == "any time":
            how["after"] = needed * dice.uniform(0.4, 1.3)
        elif kind != "none":
            how["kill_at"] = f"{kind} {dice.randint(1, 20)}"
        status = bench.resume("hurt", **how) if exists else bench.train("hurt", **how)
        exists = (bench.folder / "runs" / "hurt" / "run.json").exists()
        if status == 0:
            break
        if status != -signal.SIGKILL:
            return kills, f"ended with {status}: {bench.err}"
        kills[kind] += 1
    return kills, "" if bench.results("hurt") == bench.results("whole") else "the results differ"


if __name__ == "__main__":
    sys.exit(main())
