"""chainrule's engines, run by its own training loop with shuffling and bookkeeping."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from problem import HYPERPARAMETERS, WEIGHT_DECAY, Data, Layers, Order, Problem, initial_parameters
from training_parts import PARTS, get_network_options, get_optimizer_options

import chainrule
from chainrule import OPTIMIZERS, NeuralNetwork, load_dataset
from chainrule.engine.reference import ReferenceEngine
from chainrule.training.trainer import Trainer

__all__ = ["Compiled", "CompiledInOrder", "Numpy"]


class _Engine:
    """`Trainer.run`, stopped between two calls of the engine when enough samples are done."""

    engine: ClassVar[str]

    def __init__(self, data: Data, threads: int | None) -> None:
        self.version = chainrule.__version__
        # Its own loader, which keeps the images in their usual form; the seed makes them the same samples.
        own = load_dataset("fashion_mnist", seed=0)
        assert len(own.y_train) == len(data.y), "the stored arrays are of another split"  # noqa: S101
        # No validation set: no system evaluates one here.
        self._data = replace(own, x_val=own.x_val[:0], y_val=own.y_val[:0], val_indices=own.val_indices[:0])
        self._threads = threads or 0  # 0: its own choice

    def prepare(self, problem: Problem) -> None:
        """Build network, optimizer and trainer."""
        parts = PARTS[problem.parts]
        network = NeuralNetwork(problem.sizes, **get_network_options(parts))
        for number, (weights, _) in enumerate(initial_parameters(problem.sizes), start=1):
            network.parameters[f"layer{number}.weights"] = weights
        added = get_optimizer_options(parts) if problem.parts else {"weight_decay": WEIGHT_DECAY}
        optimizer = OPTIMIZERS[problem.optimizer](**HYPERPARAMETERS[problem.optimizer], **added)
        self._trainer = Trainer(
            network, self._data, optimizer, batch_size=problem.batch, engine=self.engine, seed=0, threads=self._threads
        )
        optimizer.schedule_span = (0, parts.cosine_steps)
        self._position = 0  # samples trained on in the epoch that training is in
        # Where Numba is missing, chainrule falls back with a warning; a benchmark must not.
        if isinstance(self._trainer.engine, ReferenceEngine) != (self.engine == "numpy"):
            raise RuntimeError(f"the {self.engine} engine could not be used")

    def steps(self, n: int) -> float:
        """Train until n steps are done. The loop stops after a call of the engine, so it takes a few more."""
        wanted, done = n * self._trainer.batch_size, 0

        def progress(position: int) -> None:
            nonlocal done
            done += position - self._position
            # The next call resumes an epoch that was stopped.
            self._position = position if position < len(self._trainer.x) else 0

        while done < wanted:
            for _ in self._trainer.run(1, progress=progress, should_stop=lambda: done >= wanted):
                pass
        return done / self._trainer.batch_size

    def parameters(self) -> Layers:
        """The network's own; where it is normalized, those of the network that predicts the same."""
        network = self._trainer.network
        layers = network.fold().by_layer()
        return [(layer["weights"], layer["biases"]) for layer in layers]

    def close(self) -> None:
        """Free network, optimizer and trainer."""
        del self._trainer


class Compiled(_Engine):
    """engine="compiled", the default."""

    engine = "compiled"


class CompiledInOrder(Compiled):
    """The same on the batches that the peers get, to compare results."""

    def steps(self, n: int) -> float:
        """Train on the first n batches of `Order`."""
        trainer = self._trainer
        trainer.engine.train(trainer.x, trainer.y, Order(len(trainer.y)).batches(n, trainer.batch_size).ravel())
        return n


class Numpy(_Engine):
    """engine="numpy", the reference."""

    engine = "numpy"
