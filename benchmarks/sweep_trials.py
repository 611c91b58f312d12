"""A child process of sweeps.py: runs trials of another library with Optuna, one after another.

    python sweep_trials.py SYSTEM CONFIGS.json

Prints the best value and the seconds that the trials took, without imports and loading the data.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import load_dataset

__all__ = ["main"]


def main() -> None:
    """Train every configuration, evaluating the validation set after each epoch."""
    train = {"torch": _prepare_torch, "sklearn": _prepare_sklearn}[sys.argv[1]]()
    configs: list[dict[str, Any]] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    data = load_dataset("fashion_mnist", seed=0)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = time.perf_counter()
    study = optuna.create_study(direction="maximize")
    for config in configs:
        study.enqueue_trial({"index": configs.index(config)})
    study.optimize(
        lambda trial: train(data, configs[trial.suggest_int("index", 0, len(configs) - 1)]), n_trials=len(configs)
    )
    print(json.dumps({"seconds": time.perf_counter() - start, "best": study.best_value}))


def _prepare_torch() -> Callable[[Any, dict[str, Any]], float]:
    import torch
    from torch import nn

    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    activations = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}
    optimizers: dict[str, Any] = {
        "sgd": torch.optim.SGD,
        "momentum": lambda p, **k: torch.optim.SGD(p, momentum=0.9, **k),
        "nag": lambda p, **k: torch.optim.SGD(p, momentum=0.9, nesterov=True, **k),
        "rmsprop": lambda p, **k: torch.optim.RMSprop(p, alpha=0.9, eps=1e-6, **k),
        "adam": torch.optim.Adam,
        "nadam": torch.optim.NAdam,
    }

    def train(data: Any, config: dict[str, Any]) -> float:
        torch.manual_seed(0)
        sizes = [784, *[config["hidden_size"]] * config["num_layers"]]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activations[config["activation"]]()]
        model = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))
        optimizer = optimizers[config["optimizer"]](
            model.parameters(), lr=config["learning_rate"], weight_decay=config["weight_decay"]
        )
        x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
        x_val, y_val = torch.from_numpy(data.x_val), torch.from_numpy(data.y_val)
        best = 0.0
        for _ in range(config["epochs"]):
            for chosen in torch.randperm(len(x)).split(config["batch_size"]):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimizer.step()
            with torch.no_grad():
                best = max(best, (model(x_val).argmax(1) == y_val).float().mean().item())
        return best

    return train


def _prepare_sklearn() -> Callable[[Any, dict[str, Any]], float]:
    import warnings

    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")
    activations = {"sigmoid": "logistic", "tanh": "tanh", "ReLU": "relu"}

    def train(data: Any, config: dict[str, Any]) -> float:
        optimizer = config["optimizer"]
        model = MLPClassifier(
            [config["hidden_size"]] * config["num_layers"],
            activation=activations[config["activation"]],
            solver="adam" if optimizer == "adam" else "sgd",
            momentum=0.0 if optimizer == "sgd" else 0.9,
            nesterovs_momentum=optimizer == "nag",
            alpha=config["weight_decay"],
            batch_size=config["batch_size"],
            learning_rate_init=config["learning_rate"],
            random_state=0,
        )
        best, classes = 0.0, np.arange(10)
        with threadpool_limits(1):
            for _ in range(config["epochs"]):
                model.partial_fit(data.x_train, data.y_train, classes=classes)
                best = max(best, float(model.score(data.x_val, data.y_val)))
        return best

    return train


if __name__ == "__main__":
    main()
