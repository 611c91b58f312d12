"""Measure the accuracies in docs/results.md: each configuration below with seeds 0, 1 and 2.

    python benchmarks/accuracy.py            # measure what is missing, in about five minutes
    python benchmarks/accuracy.py --again    # measure everything again

Results are stored in benchmarks/results/accuracy.json; `python scripts/update_docs.py` updates the table.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "benchmarks" / "results" / "accuracy.json"
SEEDS = (0, 1, 2)
CONFIGURATIONS = {
    "Fashion-MNIST, `chainrule train` (Adam, 2 x 256 ReLU, batch 64, 10 epochs)": {
        "program": "-m chainrule train",
        "flags": "",
        "published": 0.8796,
    },
    "Fashion-MNIST, `train.py` (RMSprop, 4 x 128 ReLU, batch 16, 10 epochs)": {"flags": "", "published": 0.8796},
    "MNIST, Adam, 3 x 128 ReLU, batch 32, learning rate 0.001, 10 epochs": {
        "flags": "-d mnist -o adam -lr 0.001 -nhl 3 -sz 128 -b 32",
        "published": 0.9752,
    },
}


def measure(flags: str, seed: int, program: str = "train.py") -> dict[str, float]:
    """Train once, as a user would, and read the run folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            *program.split(),
            *flags.split(),
            "--seed",
            str(seed),
            "--wandb_mode",
            "disabled",
        ]
        subprocess.run([*command, "--output_dir", folder, "--run_name", "run"], cwd=ROOT, check=True)
        run = Path(folder) / "run"
        metrics = json.loads((run / "metrics.json").read_text())
        history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        seconds = json.loads((run / "run.json").read_text())["epoch_seconds"]
    return {
        "seed": seed,
        "val_accuracy": metrics["val_accuracy"],
        "test_accuracy": metrics["test_accuracy"],
        "kept_epoch": metrics["kept_epoch"],
        "last_val_accuracy": history[-1]["val_accuracy"],
        "median_epoch_seconds": float(np.median(seconds)),
    }


def main() -> None:
    """Measure what is missing, and store it."""
    stored = json.loads(FILE.read_text()) if FILE.exists() and "--again" not in sys.argv else {"results": {}}
    for name, configuration in CONFIGURATIONS.items():
        entry = stored["results"].setdefault(name, {**configuration, "runs": []})
        for seed in SEEDS:
            if seed not in {run["seed"] for run in entry["runs"]}:
                program = configuration.get("program", "train.py")
                entry["runs"].append(measure(configuration["flags"], seed, program))
                stored["made_with"] = {"python": platform.python_version(), "numpy": np.__version__}
                FILE.parent.mkdir(exist_ok=True)
                FILE.write_text(json.dumps(stored, indent=2) + "\n")
        accuracies = [run["test_accuracy"] for run in entry["runs"]]
        mean, spread = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=1)
        print(f"{name}: {mean:.2f} % +- {spread:.2f} over {len(accuracies)} seeds")


if __name__ == "__main__":
    main()
