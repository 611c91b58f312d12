"""The child process of footprint.py: a default run to measure, and predictions to time, for each system.

    python benchmarks/footprint_runs.py torch 1

trains for an epoch with PyTorch and prints the peak memory in MB.
"""

from __future__ import annotations

import os
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from problem import HYPERPARAMETERS, WEIGHT_DECAY, Problem, initial_parameters

__all__ = ["Predictor"]

_BATCH = 16
_SIZES = Problem("784-128x4-10", _BATCH).sizes


class Predictor:
    """Predicts classes with one system, 784-128x4-10.

    Args:
        system: "compiled", "torch" or "sklearn".
        threads: number of threads; None for the system's own choice.
    """

    def __init__(self, system: str, threads: int | None) -> None:
        self._predict = {"compiled": _chainrule, "torch": _torch, "sklearn": _sklearn}[system](threads)
        random = np.random.default_rng(0)
        self._images = random.random((10_000, _SIZES[0]), np.float32)

    def measure(self) -> dict[str, float]:
        """Measure images per second on 10,000 at once, and microseconds for a single image: medians."""
        return {
            "images_per_second": len(self._images) / _median(lambda: self._predict(self._images), 10),
            "single_microseconds": 1e6 * _median(lambda: self._predict(self._images[:1]), 1000),
        }


def _median(call: Callable[[], object], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _chainrule(threads: int | None) -> Callable[[Any], Any]:
    from chainrule import NeuralNetwork

    return NeuralNetwork(_SIZES).predict


def _torch(threads: int | None) -> Callable[[Any], Any]:
    import torch
    from systems.pytorch import make_model, set_up

    set_up(threads)
    model = make_model(_SIZES).eval()

    def predict(images: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images)).argmax(1).numpy()

    return predict


def _sklearn(threads: int | None) -> Callable[[Any], Any]:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(_SIZES[1:-1], batch_size=100)
    classes = np.arange(10)
    model.partial_fit(np.zeros((100, _SIZES[0]), np.float32), np.tile(classes, 10), classes=classes)
    model.coefs_ = [weights for weights, _ in initial_parameters(_SIZES)]
    predict: Callable[[Any], Any] = model.predict
    return predict


def _run_chainrule(epochs: str) -> None:
    """`train.py` with its defaults, all its output, without W&B."""
    script = Path(__file__).resolve().parents[1] / "train.py"
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [str(script), "--output_dir", folder, "--wandb_mode", "disabled", "--quiet", "--epochs", epochs]
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise


def _run_torch(epochs: str) -> None:
    """The same training as a plain PyTorch loop, and the test accuracy."""
    import torch
    from systems.pytorch import make_model, make_optimizer
    from torch.nn import functional

    from chainrule import load_dataset

    data = load_dataset("fashion_mnist", seed=0)
    torch.set_flush_denormal(True)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    model = make_model(_SIZES)
    optimizer = make_optimizer(model, "rmsprop", WEIGHT_DECAY)
    for _ in range(int(epochs)):
        for chosen in torch.randperm(len(y)).split(_BATCH):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            functional.cross_entropy(model(x[chosen]), y[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.inference_mode():
        model(torch.from_numpy(data.x_test)).argmax(1)


def _run_sklearn(epochs: str) -> None:
    """The same network and batch size, with Adam."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    from chainrule import load_dataset

    warnings.simplefilter("ignore", ConvergenceWarning)
    data = load_dataset("fashion_mnist", seed=0)
    rate = HYPERPARAMETERS["adam"]["learning_rate"]
    model = MLPClassifier(_SIZES[1:-1], batch_size=_BATCH, learning_rate_init=rate, max_iter=int(epochs))
    model.fit(data.x_train, data.y_train)
    model.predict(data.x_test)


def _read_peak_megabytes() -> float:
    """Read VmHWM, the peak memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("no VmHWM in /proc/self/status")


def main() -> None:
    """Print one measurement on standard output, which nothing else uses."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    system, epochs = sys.argv[1:]
    {"compiled": _run_chainrule, "torch": _run_torch, "sklearn": _run_sklearn}[system](epochs)
    answers.write(f"{_read_peak_megabytes():.1f}\n")


if __name__ == "__main__":
    main()
