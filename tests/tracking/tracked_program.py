"""One tracked run of three epochs, as a program: `python tracked_program.py OPTIONS` with the options as JSON.

It prints a JSON line when the run has started (then waits for a line on standard input if asked to), one before the run
is closed, and one at the end, with the messages for the user.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.nn.metrics import Evaluation
from chainrule.runs.run import Run
from chainrule.runs.tracking import wandb as tracking
from chainrule.training.history import EpochRecord

CLASSES = ("cat", "T-shirt/top", "dog")
RECORDS = (
    EpochRecord(1, 10, 0.75, 0.5, 0.875, 0.25),
    EpochRecord(2, 20, 0.5, 0.625, 0.75, 0.5),
    EpochRecord(3, 30, 0.25, 0.75, 0.625, 0.625),
)
METRICS: dict[str, Any] = {
    "test_accuracy": 0.75,
    "test_loss": 0.5,
    "val_accuracy": 0.5625,
    "per_class": {
        "cat": {"precision": 0.5, "recall": 1.0, "f1": 0.625, "support": 1},
        "T-shirt/top": {"precision": 1.0, "recall": 0.5, "f1": 0.6875, "support": 2},
        "dog": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1},
    },
    "confusion_matrix": [[1, 0, 0], [1, 1, 0], [0, 0, 1]],
}
CONFIG = {"optimizer": "rmsprop", "learning_rate": 0.5, "hidden_size": [128, 64]}


def toy_run(folder: Path, image_shape: tuple[int, int] | None = (2, 2)) -> Run:
    """A run in `folder` on a dataset of four samples of four pixels, three classes."""
    x = np.array([[0, 0.5, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0.25, 0, 0, 0]], dtype=np.float32)
    y = np.array([1, 0, 1, 2])
    dataset = Dataset.from_arrays(x, y, classes=CLASSES, image_shape=image_shape, name="toy")
    folder.mkdir(parents=True, exist_ok=True)
    return Run("bs 16/ReLU", folder, CONFIG, dataset)


def toy_test() -> Evaluation:
    """Four answers, one of them wrong."""
    labels, predictions = np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2])
    return Evaluation(0.5, 0.75, labels, predictions, np.eye(3)[predictions])


def toy_files(folder: Path) -> tuple[dict[str, Path], Path]:
    """Two figures and a model file in `folder`."""
    from PIL import Image

    figures = {name: folder / f"{name}.png" for name in ("confusion_matrix", "samples")}
    for path in figures.values():
        Image.new("RGB", (3, 2)).save(path)
    model = folder / "model.safetensors"
    model.write_bytes(b"parameters")
    return figures, model


def say(content: dict[str, Any]) -> None:
    """Print one line of JSON at once."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main(options: dict[str, Any]) -> None:
    messages: list[str] = []
    tracking._INIT_SECONDS = options.get("init_seconds", 15.0)
    tracking._FINISH_SECONDS = options.get("finish_seconds", 10.0)
    tracker = tracking.make_wandb_tracker(options["mode"], "demo", None, notify=messages.append)
    if tracker is None:
        say({"disabled": True, "imported": "wandb" in sys.modules})
        return
    folder = Path(options["folder"])
    tracker.start(toy_run(folder))
    tracker.log(RECORDS[0])
    say({"messages": messages})
    if options.get("wait"):
        sys.stdin.readline()
    for record in RECORDS[1:]:
        tracker.log(record)
    if options.get("report", True):
        figures, model = toy_files(folder)
        tracker.report(METRICS, toy_test(), figures, model)
    say({"finishing": True})
    tracker.finish(options.get("status", "finished"), options.get("reason", ""))
    say({"messages": messages})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
