"""The training loop: epochs, shuffling, validation, and a stop when the loss is no longer a number.

The step itself, forward pass, loss, backward pass, update, is an engine's work: engine/numpy.py shows it in ten lines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import CheckpointError, ConfigError, DivergenceError
from chainrule.core.seeding import generator
from chainrule.engine import make_engine
from chainrule.nn.parameters import Array, Labels, ParameterDict
from chainrule.optim.optimizer import Optimizer, make_optimizer
from chainrule.training.checkpoint import Checkpoint
from chainrule.training.history import EpochRecord, History

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network

__all__ = ["Trainer"]

# Samples before the first look at the clock and at `should_stop`, and seconds between the following ones. At each look
# other threads fall asleep, so they should be rare; whoever presses Ctrl-C should not wait.
_FIRST_STRETCH = 2048
_SECONDS_A_STRETCH = 0.1


@dataclass
class _Unfinished:
    """The epoch that training is in.

    Attributes:
        random: the state of the shuffling generator before it shuffled for this epoch.
        position: samples trained on.
        losses: the batches' losses, stretch by stretch.
        correct: samples classified correctly.
    """

    random: Mapping[str, Any]
    position: int = 0
    losses: list[NDArray[np.float64]] = field(default_factory=list)
    correct: float = 0.0


class Trainer:
    """Trains one network on one dataset with one rule.

    Args:
        network: trained in place.
        data: `x_train` (n, d), `y_train` (n,) and, unless empty, `x_val` and `y_val` are used. The test set is not.
        rule: the optimizer.
        batch_size: samples a step; an epoch's last batch may be shorter.
        engine: a name from `ENGINES`.
        seed: of the shuffling.
        threads: processor cores for a step; 0 chooses what is fastest.

    Attributes:
        history: a record of each finished epoch.
        step: optimizer steps taken.
        best_parameters: a copy of `network.parameters.flat` after the epoch of `history.best()`; without validation,
            after the last finished one.
        last_parameters: the same after the last finished epoch; the initial ones before that.

    Raises:
        ConfigError: batch_size is below 1, or the data do not fit the network.
    """

    def __init__(
        self,
        network: Network,
        data: Dataset,
        optimizer: Optimizer | str,
        *,
        batch_size: int,
        engine: str,
        seed: int,
        threads: int = 0,
    ) -> None:
        if not all(hasattr(data, name) for name in ("x_train", "y_train", "x_val", "y_val")):
            raise ConfigError(f"data must be a Dataset, such as load_dataset returns, got {type(data).__name__}.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ConfigError(f"batch_size must be a whole number of 1 or more, got {batch_size!r}.")
        self.network, self.optimizer, self.batch_size = network, make_optimizer(optimizer), int(batch_size)
        self.x, self.y = _checked(network, data.x_train, data.y_train, "training")
        self.x_val, self.y_val = _checked(network, data.x_val, data.y_val, "validation")
        if len(self.x) == 0:
            raise ConfigError("The training set is empty.")
        self.engine = make_engine(engine, network, self.optimizer, min(self.batch_size, len(self.x)), threads)
        self.history = History()
        self.step = 0
        self.best_parameters = network.parameters.flat.copy()
        self.last_parameters = network.parameters.flat.copy()
        self._random = generator(seed, "shuffling")
        self._stretch = _FIRST_STRETCH
        self._unfinished: _Unfinished | None = None

    def run(
        self,
        epochs: int,
        *,
        progress: Callable[[int], object] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[EpochRecord]:
        """Train, and give each epoch's record as it ends.

        Args:
            epochs: how many passes over the training set.
            progress: told the number of samples done in the current epoch, a few times a second.
            should_stop: asked as often; when it says True, training stops between two batches. The parameters keep
                what was learned, and the unfinished epoch gets no record until another `run` has finished it.

        Raises:
            ConfigError: epochs is below 1.
            DivergenceError: a batch's loss is infinite or NaN. Its step is not taken, and the parameters are set back
                to those of the last finished epoch.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 1:
            raise ConfigError(f"epochs must be a whole number of 1 or more, got {epochs!r}.")
        for _ in range(epochs):
            unfinished = self._unfinished or _Unfinished(self._random.bit_generator.state)
            self._unfinished = unfinished
            self._random.bit_generator.state = unfinished.random
            order = self._random.permutation(len(self.x))
            while unfinished.position < len(order):
                if should_stop():
                    return
                start = unfinished.position
                chosen = order[start : start + max(1, self._stretch // self.batch_size) * self.batch_size]
                began = time.perf_counter()
                result = self.engine.train(self.x, self.y, chosen)
                seconds = max(time.perf_counter() - began, 1e-6)
                self._stretch = min(2 * self._stretch, 1 + int(len(chosen) * _SECONDS_A_STRETCH / seconds))
                self.step += len(result.losses)
                if not math.isfinite(result.losses[-1]):
                    self._diverged(start // self.batch_size + len(result.losses), float(result.losses[-1]))
                unfinished.losses.append(result.losses)
                unfinished.correct += result.score_sum
                unfinished.position += len(chosen)
                if progress is not None:
                    progress(unfinished.position)
            # Summed up at once: how long the stretches were must not show in the last digit.
            sizes = np.minimum(self.batch_size, len(order) - np.arange(0, len(order), self.batch_size))
            with np.errstate(over="ignore"):
                losses = (np.concatenate(unfinished.losses) * sizes).tolist()
            try:
                # Nor must the number of BLAS's threads, so the sum is exact.
                loss = math.fsum(losses) / len(order)
            except OverflowError:  # each is finite, the sum is not
                loss = math.inf
            if not math.isfinite(loss):
                self._diverged(len(losses), loss)
            record = self._look_back(loss, unfinished.correct / len(order))
            if not np.isfinite(self.network.parameters.flat).all() or not math.isfinite(record.val_loss or 0.0):
                self._diverged(-(-len(order) // self.batch_size), math.nan)
            self.history.append(record)
            self._unfinished = None
            self.last_parameters[...] = self.network.parameters.flat
            if record.val_score is None or record is self.history.best():
                self.best_parameters[...] = self.network.parameters.flat
            yield record

    def checkpoint(self, meant_for: Mapping[str, str]) -> Checkpoint:
        """All that `restore` needs to go on from here to the bit. Ask between epochs, or when `progress` is told.

        Args:
            meant_for: what it belongs to, by name.
        """
        unfinished = self._unfinished or _Unfinished(self._random.bit_generator.state)
        self.optimizer.allocate(self.network.parameters)
        return Checkpoint(
            arrays={
                "parameters": self.network.parameters.flat,
                "best": self.best_parameters,
                "last": self.last_parameters,
                "losses": np.concatenate([np.zeros(0), *unfinished.losses]),
                **{f"slot.{slot}": self._slot(slot) for slot in self.optimizer.slots},
            },
            step=self.step,
            time=self.optimizer.state.step_count,
            memory=self.optimizer.state.scalars,
            position=unfinished.position,
            correct=unfinished.correct,
            random=unfinished.random,
            history=self.history,
            meant_for=meant_for,
        )

    def checkpoint_shapes(self) -> dict[str, tuple[int, ...] | None]:
        """The arrays of this run's checkpoints, with their shapes."""
        flat = self.network.parameters.flat.shape
        names = ["parameters", "best", "last", *(f"slot.{slot}" for slot in self.optimizer.slots)]
        return {"losses": None, **dict.fromkeys(names, flat)}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of a run with the same configuration and data.

        Raises:
            CheckpointError: it does not fit; nothing was changed.
        """
        batches = -(-checkpoint.position // self.batch_size)
        fits = (
            set(checkpoint.memory) == set(self.optimizer.scalars)
            and 0 <= checkpoint.correct <= checkpoint.position <= len(self.x)
            and checkpoint.position in (batches * self.batch_size, len(self.x))
            and len(checkpoint.arrays["losses"]) == batches
            and [record.epoch for record in checkpoint.history] == list(range(1, len(checkpoint.history) + 1))
        )
        random = generator(0, "shuffling")
        try:
            random.bit_generator.state = dict(checkpoint.random)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"The checkpoint's random state is none of NumPy's: {error}") from error
        if not fits:
            raise CheckpointError("The checkpoint belongs to a run with another optimizer, batch size or dataset.")
        self._random = random
        self.optimizer.allocate(self.network.parameters)
        self.network.parameters.flat[...] = checkpoint.arrays["parameters"]
        self.best_parameters[...] = checkpoint.arrays["best"]
        self.last_parameters[...] = checkpoint.arrays["last"]
        for slot in self.optimizer.slots:
            self._slot(slot)[...] = checkpoint.arrays[f"slot.{slot}"]
        self.optimizer.state.step_count, self.optimizer.state.scalars = checkpoint.time, dict(checkpoint.memory)
        self.step, self.history = checkpoint.step, checkpoint.history
        self._unfinished = None
        if checkpoint.position:
            self._unfinished = _Unfinished(
                checkpoint.random, checkpoint.position, [checkpoint.arrays["losses"]], checkpoint.correct
            )

    def _slot(self, name: str) -> Array:
        """One of the optimizer's arrays, flat."""
        slot = self.optimizer.state.slots[name]
        assert isinstance(slot, ParameterDict)  # noqa: S101  (`allocate` made it so)
        return slot.flat

    def evaluate(self, x: Array, y: Labels) -> Evaluation:
        """Loss, accuracy and predictions on other samples."""
        return self.engine.evaluate(x, y)

    def _look_back(self, train_loss: float, train_score: float) -> EpochRecord:
        """The record of the epoch just trained, with a look at the validation set."""
        validation = self.engine.evaluate(self.x_val, self.y_val) if len(self.x_val) else None
        return EpochRecord(
            epoch=len(self.history) + 1,
            step=self.step,
            train_loss=train_loss,
            train_score=train_score,
            val_loss=validation.loss if validation else None,
            val_score=validation.score if validation else None,
        )

    def _diverged(self, batch: int, loss: float) -> NoReturn:
        """Set the parameters back to those before the epoch and say what happened."""
        self.network.parameters.flat[...] = self.last_parameters
        self._unfinished = None
        rate = self.optimizer.learning_rate
        raise DivergenceError(
            f"Training diverged: the loss is {loss} in epoch {len(self.history) + 1}, batch {batch}, with learning "
            f"rate {rate:g}. Try a smaller one, such as {rate / 10:g}. The parameters were set back to "
            f"{'those of the last finished epoch' if len(self.history) else 'the initial ones'}."
        )


def _checked(network: Network, x: Array, y: Labels, what: str) -> tuple[Array, Labels]:
    """Samples and labels in the form that engines take."""
    samples, labels = np.ascontiguousarray(network.check_samples(x)), np.ascontiguousarray(network.check_targets(y))
    if len(samples) != len(labels):
        raise ConfigError(f"The {what} set has {len(samples)} samples but {len(labels)} labels.")
    # The sum is NaN or infinite if any element is; it needs no array of booleans as large as the data.
    if not math.isfinite(float(np.sum(samples, dtype=np.float64))):
        raise ConfigError(f"The {what} samples hold values that are NaN or infinite; remove or replace them.")
    return samples, labels
