"""Memory, prediction speed, import time and installed size of chainrule, PyTorch and scikit-learn.

    python benchmarks/footprint.py            # about five minutes
    python benchmarks/footprint.py --quick    # fewer epochs and repeats; nothing is stored

- Peak memory (VmHWM) of the default run: for chainrule `train.py` with all its output; for the others a plain script
  that loads the same arrays, trains the same network at the same batch size and evaluates it on the test set. Their
  peak does not grow with the epochs, so they train for one.
- Prediction: classes of 10,000 images at once, and of a single image, with 784-128x4-10; the best of one and all
  threads.
- Import time: the module alone, in a fresh process, with its files in the page cache.
- Installed size: the files of the distribution and of its requirements, according to their metadata.

Results are stored in benchmarks/results/footprint.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import save
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pool import HERE, Child, ChildError, count_cores, make_environment, resolve_threads

__all__ = ["main", "measure_installed_size"]

SYSTEMS = {
    "compiled": ("chainrule", "import chainrule"),
    "torch": ("torch", "import torch"),
    "sklearn": ("scikit-learn", "from sklearn.neural_network import MLPClassifier"),
}
_CLOCK = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def measure_peak_memory(system: str, epochs: int) -> float:
    """Measure the peak memory of a run, in MB."""
    command = [sys.executable, str(HERE / "footprint_runs.py"), system, str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, env=make_environment(None), check=False)
    if done.returncode:
        raise ChildError((done.stderr.strip().splitlines() or ["failed"])[-1])
    return float(done.stdout)


def time_import(statement: str, repeats: int) -> float:
    """Time an import: the median of fresh processes, after one that fills the page cache."""
    command = [sys.executable, "-c", _CLOCK.format(statement)]
    seconds = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(repeats + 1)
    ]
    return statistics.median(seconds[1:])


def time_prediction(system: str, rounds: int) -> dict[str, float]:
    """Measure throughput and latency: the median of rounds, at the better number of threads."""
    settings = ["own"] if system == "compiled" else ["1", "all"] if count_cores() > 1 else ["1"]
    medians = []
    with tempfile.TemporaryDirectory() as folder:
        for setting in settings:
            threads = resolve_threads(setting)
            arguments = {"system": system, "threads": threads}
            child = Child("footprint_runs:Predictor", arguments, threads, Path(folder) / "log")
            try:
                answers = [child.call("measure") for _ in range(rounds)]
            finally:
                child.stop()
            medians.append({key: statistics.median(answer[key] for answer in answers) for key in answers[0]})
    return {
        "images_per_second": max(found["images_per_second"] for found in medians),
        "single_microseconds": min(found["single_microseconds"] for found in medians),
    }


def measure_installed_size(distribution: str) -> dict[str, float]:
    """Measure the size of a distribution alone and with its requirements on this platform, in MB."""
    sizes: dict[str, float] = {}
    waiting = [distribution]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in sizes:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if not sizes:
                raise
            continue  # required for another platform
        sizes[name] = _measure_own_size(found)
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    total = sum(sizes.values())
    return {"alone": sizes[canonicalize_name(distribution)] / 1e6, "with_requirements": total / 1e6}


def _measure_own_size(distribution: importlib.metadata.Distribution) -> float:
    """Measure the bytes of its files; an editable chainrule lists none, so its sources are measured."""
    if distribution.metadata["Name"] == "chainrule":
        sources = [path for path in (HERE.parent / "src" / "chainrule").rglob("*") if "__pycache__" not in path.parts]
        return sum(path.stat().st_size for path in sources if path.is_file())
    paths = [Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer epochs and repeats; nothing is stored")
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    epochs, repeats = (1, 3) if arguments.quick else (10, 9)
    results: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    for system, (distribution, statement) in SYSTEMS.items():
        try:
            size = measure_installed_size(distribution)
            entry: dict[str, Any] = {
                "system": system,
                "version": importlib.metadata.version(distribution),
                "peak_megabytes": measure_peak_memory(system, epochs if system == "compiled" else 1),
                **time_prediction(system, 3 if arguments.quick else 7),
                "import_seconds": time_import(statement, repeats),
                "installed_megabytes": size["alone"],
                "installed_megabytes_with_requirements": size["with_requirements"],
            }
        except (ChildError, importlib.metadata.PackageNotFoundError) as error:
            absent[system] = str(error)
            print(f"{distribution}: absent ({error})", flush=True)
            continue
        results.append(entry)
        print(", ".join(f"{key} {value:.4g}" if isinstance(value, float) else value for key, value in entry.items()))
    settings = {"network": "784-128x4-10", "batch": 16, "epochs": epochs, "import_repeats": repeats}
    if not (arguments.quick or arguments.no_save):
        print(f"Stored in {save('footprint', settings, {'absent': absent, 'results': results}).name}")


if __name__ == "__main__":
    main()
