"""Microseconds per training step with what regularizes a network: chainrule against PyTorch and JAX.

    .venv-bench/bin/python benchmarks/peer_parts.py                 # what is not stored yet; all takes about 20 minutes
    .venv-bench/bin/python benchmarks/peer_parts.py --again         # measure everything again
    .venv-bench/bin/python benchmarks/peer_parts.py --check         # only check that all systems compute the same
    .venv-bench/bin/python benchmarks/peer_parts.py --quick --batches 64 --systems compiled,torch,jax

784-256-256-10 on Fashion-MNIST with Adam, measured as in speed.py: with no more; with dropout, cosine schedule,
clipping by norm, moving average of the weights, AdamW and label smoothing ("regularized"); with batch normalization;
with all of it. Before that, every system trains for some steps from equal weights on equal batches, without dropout,
and the parameters are compared. Each problem is stored in benchmarks/results/peer_parts.json when it is measured.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import read_stored, save
from pool import Child, ChildError
from problem import HYPERPARAMETERS, Problem, initial_parameters, store
from speed import Comparison
from systems import CHECKED_SYSTEMS, PART_SYSTEMS
from training_parts import COMPARED, NETWORK, PARTS, WITHOUT_DROPOUT

__all__ = ["BATCHES", "main"]

BATCHES = (16, 64, 256)
_CHECKED_BATCH, _CHECKED_STEPS = 2048, 4
_TOLERANCE = 1e-3  # of the root mean square distance that training moved the parameters


def check_agreement(names: list[str], folder: Path) -> list[dict[str, Any]]:
    """Train every system from equal weights on equal batches, and compare its parameters with chainrule's."""
    found: dict[tuple[str, str], list[np.ndarray[Any, Any]]] = {}
    for name in names:
        entry = CHECKED_SYSTEMS[name]
        child = Child("stopwatch:Stopwatch", {"target": entry.target, "folder": str(folder), "threads": 1}, 1,
                      folder / f"{name}-check.log")  # fmt: skip
        try:
            for parts in COMPARED:
                problem = asdict(Problem(NETWORK, _CHECKED_BATCH, "adam", WITHOUT_DROPOUT[parts]))
                file = folder / "parameters.npz"
                child.call("save_parameters", steps=_CHECKED_STEPS, file=str(file), **problem)
                with np.load(file) as arrays:
                    found[name, parts] = [arrays[key] for key in arrays.files]
        except ChildError as error:
            print(f"{entry.label}: {error}", flush=True)
        finally:
            child.stop()
    start = [array for layer in initial_parameters(Problem(NETWORK, _CHECKED_BATCH).sizes) for array in layer]
    checks = []
    for (name, parts), arrays in found.items():
        own = found["compiled", parts]
        apart, moved = (np.concatenate([np.abs(a - b).ravel() for a, b in zip(own, other, strict=True)])
                        for other in (arrays, start))  # fmt: skip
        # One rounding error that moves a z across 0 changes the few weights of a neuron by more.
        difference = float(np.quantile(apart, 0.99) / np.sqrt(np.mean(np.square(moved))))
        checks.append({"system": name, "parts": parts, "difference": difference})
        verdict = "agrees" if difference < _TOLERANCE else "DIFFERS"
        print(f"{CHECKED_SYSTEMS[name].label:30} {parts or 'plain':24} {verdict}: {difference:.1e}", flush=True)
    return checks


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="measurements of each system (7)")
    parser.add_argument("--seconds", type=float, help="length of a measurement (0.5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.2 seconds, not stored")
    parser.add_argument("--systems", default=",".join(PART_SYSTEMS), help=f"some of {','.join(PART_SYSTEMS)}")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="batch sizes (16,64,256)")
    parser.add_argument("--check", action="store_true", help="check that all systems compute the same, and stop")
    parser.add_argument("--again", action="store_true", help="also measure what is stored")
    parser.add_argument("--no-save", action="store_true", help="print only, and ignore what is stored")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 7)
    arguments.no_save |= arguments.quick
    arguments.seconds = arguments.seconds or (0.2 if arguments.quick else 0.5)
    arguments.systems = arguments.systems.split(",")
    if unknown := set(arguments.systems) - set(PART_SYSTEMS):
        parser.error(f"unknown systems: {', '.join(sorted(unknown))}")
    if "compiled" not in arguments.systems:
        parser.error("--systems must have compiled, which the others are compared with")
    arguments.batches = [int(batch) for batch in arguments.batches.split(",")]
    return arguments


def main() -> None:
    """Check, measure, print and store."""
    arguments = _parse_arguments()
    settings = {
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "hyperparameters": HYPERPARAMETERS["adam"],
        "parts": {name: asdict(PARTS[name]) for name in COMPARED},
        "checked_steps": _CHECKED_STEPS,
        "data": "Fashion-MNIST, float32",
    }
    stored = {} if arguments.no_save else read_stored("peer_parts", settings)
    results: list[dict[str, Any]] = stored.get("results", [])
    done = {(entry["parts"], entry["batch"]) for entry in results}
    problems = [Problem(NETWORK, batch, "adam", parts) for parts in COMPARED for batch in arguments.batches]
    missing = [problem for problem in problems if arguments.again or (problem.parts, problem.batch) not in done]
    content: dict[str, Any] = {key: stored.get(key, {}) for key in ("versions", "absent", "checks")}
    print(f"{len(missing)} of {len(problems)} problems to measure.", flush=True)
    if not missing and not arguments.check:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store(folder, "fashion_mnist")
        content["checks"] = (None if arguments.check else stored.get("checks")) or check_agreement(
            arguments.systems, folder
        )
        if arguments.check:
            return
        systems = {system: PART_SYSTEMS[system] for system in arguments.systems}
        comparison = Comparison(systems, folder, arguments.rounds, arguments.seconds)
        try:
            for problem in missing:
                comparison.run(problem)
                results = [e for e in results if (e["parts"], e["batch"]) != (problem.parts, problem.batch)]
                results += [e for e in comparison.results if (e["parts"], e["batch"]) == (problem.parts, problem.batch)]
                content |= {"versions": comparison.versions, "absent": comparison.absent, "results": results}
                if not arguments.no_save:
                    save("peer_parts", settings, content)
        finally:
            comparison.stop()


if __name__ == "__main__":
    main()
