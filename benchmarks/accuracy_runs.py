"""The child process of accuracy_time.py: a training run of one system, timed up to each target accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from problem import HYPERPARAMETERS

__all__ = ["Runner"]

EVALUATIONS_PER_EPOCH = 4


class Watch:
    """A stopwatch that is paused while the test set is evaluated.

    Attributes:
        seconds: when each target was reached, or None.
        epochs: after how many passes over the data, or None.
        accuracies: of each evaluation.
    """

    def __init__(self, labels: Any, targets: list[float], max_epochs: int, max_seconds: float) -> None:
        self._labels, self._targets = np.asarray(labels), targets
        self._max_evaluations, self._max_seconds = max_epochs * EVALUATIONS_PER_EPOCH, max_seconds
        self.seconds: dict[str, float | None] = {str(target): None for target in targets}
        self.epochs: dict[str, float | None] = {str(target): None for target in targets}
        self.accuracies: list[float] = []
        self.done = False
        self._spent = 0.0
        self._began = time.perf_counter()

    def start(self) -> None:
        """Start the clock: preparation, such as loading machine code, does not count."""
        self._began = time.perf_counter()

    def evaluate(self, predict: Callable[[], Any]) -> bool:
        """Compare predictions with the test labels, EVALUATIONS_PER_EPOCH times per epoch. Returns whether to stop."""
        self._spent += time.perf_counter() - self._began
        accuracy = float(np.mean(np.asarray(predict()) == self._labels))
        self.accuracies.append(accuracy)
        for target in self._targets:
            if accuracy >= target and self.seconds[str(target)] is None:
                self.seconds[str(target)] = self._spent
                self.epochs[str(target)] = len(self.accuracies) / EVALUATIONS_PER_EPOCH
        late = self._spent >= self._max_seconds or len(self.accuracies) >= self._max_evaluations
        self.done = late or None not in self.seconds.values()
        self._began = time.perf_counter()
        return self.done


class Runner:
    """Trains networks with one system.

    Args:
        system: "compiled", "torch" or "sklearn".
        threads: number of threads; None for the system's own choice.
    """

    def __init__(self, system: str, threads: int | None) -> None:
        self._run = {"compiled": _chainrule, "torch": _torch, "sklearn": _sklearn}[system]
        if system == "torch":
            from systems.pytorch import set_up

            set_up(threads)
        self._data: dict[str, Any] = {}

    def train(
        self,
        dataset: str,
        widths: list[int],
        batch: int,
        learning_rate: float,
        seed: int,
        targets: list[float],
        max_epochs: int,
        max_seconds: float,
    ) -> dict[str, Any]:
        """Train until every target or a limit is reached.

        Returns:
            For each target the seconds of training and the epochs until the test accuracy was at least that, or None;
            and the accuracy of each evaluation, which is not part of the time.
        """
        if dataset not in self._data:
            from chainrule import load_dataset

            # No validation set: every system trains on all 60,000 images.
            self._data[dataset] = load_dataset(dataset, seed=0, val_fraction=0)
        data = self._data[dataset]
        watch = Watch(data.y_test, targets, max_epochs, max_seconds)
        self._run(data, tuple(widths), batch, learning_rate, seed, watch)
        return {"seconds": watch.seconds, "epochs": watch.epochs, "accuracies": watch.accuracies}


def _chainrule(data: Any, widths: tuple[int, ...], batch: int, learning_rate: float, seed: int, watch: Watch) -> None:
    from dataclasses import replace

    from chainrule import OPTIMIZERS, NeuralNetwork
    from chainrule.engine.reference import ReferenceEngine
    from chainrule.training.trainer import Trainer

    def trainer(part: Any) -> Trainer:
        network = NeuralNetwork([data.x_train.shape[1], *widths, len(data.classes)], weight_init="He", seed=seed)
        optimizer = OPTIMIZERS["adam"](learning_rate=learning_rate, weight_decay=0.0)
        return Trainer(network, part, optimizer, batch_size=batch, engine="compiled", seed=seed)

    small = replace(data, x_train=data.x_train[: 4 * batch], y_train=data.y_train[: 4 * batch])
    for _ in trainer(small).run(1):  # machine code is loaded here
        pass
    real, n = trainer(data), len(data.y_train)
    if isinstance(real.engine, ReferenceEngine):
        raise RuntimeError("the compiled engine could not be used")
    random = np.random.default_rng(seed)
    watch.start()
    while True:
        order = random.permutation(n)
        ends = [round(n * (i + 1) / EVALUATIONS_PER_EPOCH / batch) * batch for i in range(EVALUATIONS_PER_EPOCH - 1)]
        for part in np.split(order, ends):
            real.engine.train(real.x, real.y, part)
            if watch.evaluate(lambda: real.network.predict(data.x_test)):
                return


def _torch(data: Any, widths: tuple[int, ...], batch: int, learning_rate: float, seed: int, watch: Watch) -> None:
    import torch
    from systems.pytorch import make_model, make_optimizer
    from torch.nn import functional

    torch.manual_seed(seed)
    x, y = torch.from_numpy(np.asarray(data.x_train)), torch.from_numpy(np.asarray(data.y_train))
    x_test = torch.from_numpy(np.asarray(data.x_test))
    model = make_model((x.shape[1], *widths, len(data.classes)))
    optimizer = make_optimizer(model, "adam", 0.0, lr=learning_rate, fused=True)

    def predict() -> Any:
        with torch.inference_mode():
            return model(x_test).argmax(1).numpy()

    watch.start()
    while True:
        batches = torch.randperm(len(y)).split(batch)  # type: ignore[no-untyped-call]
        evaluated = {round(len(batches) * (i + 1) / EVALUATIONS_PER_EPOCH) for i in range(EVALUATIONS_PER_EPOCH)}
        for number, chosen in enumerate(batches, start=1):
            optimizer.zero_grad()
            functional.cross_entropy(model(x.index_select(0, chosen)), y.index_select(0, chosen)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if number in evaluated and watch.evaluate(predict):
                return


def _sklearn(data: Any, widths: tuple[int, ...], batch: int, learning_rate: float, seed: int, watch: Watch) -> None:
    from sklearn.neural_network import MLPClassifier

    options = HYPERPARAMETERS["adam"]
    model = MLPClassifier(
        widths,
        solver="adam",
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=learning_rate,
        beta_1=options["beta1"],
        beta_2=options["beta2"],
        random_state=seed,
    )
    x, y, x_test = np.asarray(data.x_train), np.asarray(data.y_train), np.asarray(data.x_test)
    random, classes = np.random.default_rng(seed), np.arange(len(data.classes))
    while True:
        for part in np.array_split(random.permutation(len(y)), EVALUATIONS_PER_EPOCH):
            # partial_fit makes one shuffled pass over its input. Indexing the part is excluded from the time.
            part_x, part_y = x[part], y[part]
            watch.start()
            model.partial_fit(part_x, part_y, classes=classes)
            if watch.evaluate(lambda: model.predict(x_test)):
                return
