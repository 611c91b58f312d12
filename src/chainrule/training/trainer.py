"""The training loop: epochs, shuffling, validation, and a stop when the loss is no longer a finite number.

The step itself, forward pass, loss, backward pass, update, is an engine's work: engine/reference.py shows it in ten
lines.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import CheckpointError, ConfigError, DivergenceError
from chainrule.core.seeding import generator
from chainrule.core.validation import check_weights
from chainrule.data import Dataset
from chainrule.engine import make_engine
from chainrule.nn.augmentation import Augmentation, Augmenter
from chainrule.nn.losses import LOSSES
from chainrule.nn.metrics import Evaluation
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array, ParameterDict
from chainrule.optim.optimizer import Optimizer, make_optimizer
from chainrule.training.callbacks import Callback, EpochFunction, as_callback
from chainrule.training.checkpoint import Checkpoint
from chainrule.training.history import EpochRecord, History

__all__ = ["Trainer"]

# Samples per call of the engine at first, and seconds per call later. Between two calls the other threads fall asleep,
# so calls should be long; and `should_stop` is only asked between them, so they should not be too long.
_FIRST_CALL_SAMPLES = 2048
_CALL_SECONDS = 0.1


@dataclass
class _UnfinishedEpoch:
    """The epoch that training is in.

    Attributes:
        shuffle_state: of the shuffling generator before it shuffled for this epoch.
        position: samples trained on.
        losses: the batches' losses, an array for each call of the engine.
        score_sum: sum of the scores of the samples trained on.
    """

    shuffle_state: Mapping[str, Any]
    position: int = 0
    losses: list[NDArray[np.float64]] = field(default_factory=list)
    score_sum: float = 0.0


class Trainer:
    """Trains one network on one dataset with one optimizer.

    Args:
        network: trained in place.
        data: `x_train` (n, d), `y_train` (n,) and, unless empty, `x_val` and `y_val` are used. The test set is not.
        optimizer: it keeps its state: training again with the same object continues from it. Or a name.
        batch_size: samples per step; an epoch's last batch may be shorter.
        engine: a name from `ENGINES`.
        seed: of the shuffling.
        threads: processor cores for a step; 0 chooses what is fastest.
        epochs: how many the learning rate schedule spans; 0 will do if it is constant.
        callbacks: called after each epoch.
        augmentation: of the training images; None, or one without effect, leaves samples as they are.

    Attributes:
        history: a record of each finished epoch.
        step: optimizer steps taken.
        stop: whether training ends after this epoch; callbacks may set it.
        best_parameters: a copy of `network.parameters.memory` after the epoch of `history.best()`; without validation,
            after the last finished one. If the optimizer averages the weights, with the average in their place.
        last_parameters: the same after the last finished epoch; the initial ones before that.

    Raises:
        ConfigError: batch_size is below 1, threads or epochs no such numbers, or the data do not fit the network.
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
        epochs: int = 0,
        callbacks: Sequence[Callback | EpochFunction] = (),
        augmentation: Augmentation | None = None,
    ) -> None:
        if not isinstance(data, Dataset):
            raise ConfigError(f"data must be a Dataset, such as load_dataset returns, got {type(data).__name__}.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ConfigError(f"batch_size must be a whole number of 1 or more, got {batch_size!r}.")
        if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or not 0 <= threads <= 1024:
            raise ConfigError(f"threads must be a whole number from 0 to 1024, got {threads!r}.")
        if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
            raise ConfigError(f"epochs must be a whole number of 1 or more, got {epochs!r}.")
        if not isinstance(callbacks, Sequence):
            raise ConfigError(f"callbacks must be a list of callbacks, got {callbacks!r:.100}.")
        self.network, self.optimizer, self.batch_size = network, make_optimizer(optimizer), int(batch_size)
        if bool(data.classes) != network.objective.has_classes:
            what = "numbers, and the data have classes" if data.classes else "classes, and the data have none"
            raise ConfigError(f"The loss {network.loss} is for {what}. {_describe_losses()}")
        self.x, self.y = network.check_samples(data.x_train), network.check_targets(data.y_train)
        self.x_val, self.y_val = network.check_samples(data.x_val), network.check_targets(data.y_val)
        self.weights = check_weights(data.sample_weight, len(self.x), network.dtype)
        network.objective.prepare(self.y)
        if network.batch_norm and 1 in (self.batch_size, len(self.x) % self.batch_size, len(self.x)):
            raise ConfigError(
                f"Batch normalization cannot train on a batch of one sample: with {len(self.x)} samples and batch_size "
                f"{self.batch_size} there is one. Choose another batch_size."
            )
        steps_per_epoch = -(-len(self.x) // self.batch_size)
        self.optimizer.schedule_span = (self.optimizer.state.step_count, epochs * steps_per_epoch)
        if not isinstance(augmentation, Augmentation | None):
            raise ConfigError(f"augmentation must be an Augmentation or None, got {augmentation!r:.100}.")
        augmenter = None
        if augmentation is not None and augmentation.is_active:
            augmenter = Augmenter(augmentation, data.image_shape, self.x.shape[1])
            if augmentation.mixup and self.y.ndim == 1:
                self.y = np.eye(network.sizes[-1], dtype=network.dtype)[self.y]  # mixed targets are no class numbers
        dropout_seed = int(generator(seed, "dropout").integers(2**63))
        batch = min(self.batch_size, len(self.x))
        self.engine = make_engine(engine, network, self.optimizer, batch, threads, dropout_seed, augmenter)
        self.optimizer.rate_factor = 1.0  # callbacks of this training may reduce it
        self.history = History()
        self.step = 0
        self.stop = False
        self.best_parameters = network.parameters.memory.copy()
        self.last_parameters = network.parameters.memory.copy()
        self._callbacks = [as_callback(callback) for callback in callbacks]
        self._random = generator(seed, "shuffling")
        self._call_samples = _FIRST_CALL_SAMPLES
        self._unfinished: _UnfinishedEpoch | None = None

    def run(
        self,
        epochs: int,
        *,
        progress: Callable[[int], object] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[EpochRecord]:
        """Train, and yield each epoch's record as it ends.

        Args:
            epochs: passes over the training set.
            progress: called with the number of samples done in the current epoch, a few times a second.
            should_stop: called as often; if it returns True, training stops between two batches. The parameters keep
                what was learned, and the unfinished epoch gets no record until another `run` has finished it.

        Raises:
            ConfigError: epochs is below 1.
            DivergenceError: a batch's loss is infinite or NaN. Its step is not taken, and the parameters are set back
                to those of the last finished epoch.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 1:
            raise ConfigError(f"epochs must be a whole number of 1 or more, got {epochs!r}.")
        self.stop = False
        try:
            for callback in self._callbacks:
                callback.on_train_start(self)
            for _ in range(epochs):
                if self.stop:
                    return
                record = self._run_epoch(progress, should_stop)
                if record is None:
                    return
                for callback in self._callbacks:
                    callback.on_epoch_end(self, record)
                yield record
        finally:
            for callback in self._callbacks:
                callback.on_train_end(self)

    def _run_epoch(
        self, progress: Callable[[int], object] | None, should_stop: Callable[[], bool]
    ) -> EpochRecord | None:
        """Train until the end of an epoch, started here or before. Returns None if `should_stop` ended it early."""
        epoch = self._unfinished or _UnfinishedEpoch(self._random.bit_generator.state)
        self._unfinished = epoch
        self._random.bit_generator.state = epoch.shuffle_state
        order = self._random.permutation(len(self.x))
        while epoch.position < len(order):
            if should_stop():
                return None
            start = epoch.position
            chosen = order[start : start + max(1, self._call_samples // self.batch_size) * self.batch_size]
            call_start = time.perf_counter()
            results = self.engine.train(self.x, self.y, chosen, self.weights)
            seconds = max(time.perf_counter() - call_start, 1e-6)
            self._call_samples = min(2 * self._call_samples, 1 + int(len(chosen) * _CALL_SECONDS / seconds))
            self.step += len(results.losses)
            if not math.isfinite(results.losses[-1]):
                self._handle_divergence(start // self.batch_size + len(results.losses), float(results.losses[-1]))
            epoch.losses.append(results.losses)
            epoch.score_sum += results.score_sum
            epoch.position += len(chosen)
            if progress is not None:
                progress(epoch.position)
        return self._finish_epoch(epoch)

    def _finish_epoch(self, epoch: _UnfinishedEpoch) -> EpochRecord:
        """Validate, and record the epoch."""
        n = len(self.x)
        # Summed at the end: the length of the engine's calls must not show in the last digit.
        sizes = np.minimum(self.batch_size, n - np.arange(0, n, self.batch_size))
        with np.errstate(over="ignore"):
            losses = (np.concatenate(epoch.losses) * sizes).tolist()
        try:
            # Nor must the number of BLAS's threads, so the sum is exact.
            loss = math.fsum(losses) / n
        except OverflowError:  # each is finite, the sum is not
            loss = math.inf
        if not math.isfinite(loss):
            self._handle_divergence(len(losses), loss)
        with self._averaged_weights():
            return self._validate(loss, epoch.score_sum / n)

    def _validate(self, train_loss: float, train_score: float) -> EpochRecord:
        """Evaluate the network as it is, and append the record of the epoch."""
        validation = self.engine.evaluate(self.x_val, self.y_val) if len(self.x_val) else None
        record = EpochRecord(
            epoch=len(self.history) + 1,
            step=self.step,
            train_loss=train_loss,
            train_score=_clamp(train_score),
            val_loss=validation.loss if validation else None,
            val_score=_clamp(validation.score) if validation else None,
            score_name=self.network.objective.score_name,
        )
        if not np.isfinite(self.network.parameters.memory).all() or not math.isfinite(record.val_loss or 0.0):
            self._handle_divergence(-(-len(self.x) // self.batch_size), math.nan)
        self.history.append(record)
        self._unfinished = None
        self.last_parameters[...] = self.network.parameters.memory
        if record.val_score is None or record is self.history.best():
            self.best_parameters[...] = self.network.parameters.memory
        return record

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Give the network the average of its weights for a while, if the optimizer keeps one."""
        if not self.optimizer.ema_decay:
            yield
            return
        parameters = self.network.parameters
        kept = parameters.flat.copy()
        for name, array in parameters.items():
            array[...] = self.optimizer.averaged(name)
        try:
            yield
        finally:
            parameters.flat[...] = kept

    def evaluate(self, x: Array, y: NDArray[Any]) -> Evaluation:
        """Loss, score and predictions on other samples."""
        return self.engine.evaluate(x, y)

    def _handle_divergence(self, batch: int, loss: float) -> NoReturn:
        """Set the parameters back to those before the epoch, and raise DivergenceError."""
        self.network.parameters.memory[...] = self.last_parameters
        self._unfinished = None
        rate = self.optimizer.learning_rate
        raise DivergenceError(
            f"Training diverged: the loss is {loss} in epoch {len(self.history) + 1}, batch {batch}, with learning "
            f"rate {rate:g}. Try a smaller one, such as {rate / 10:g}. The parameters were set back to "
            f"{'those of the last finished epoch' if len(self.history) else 'the initial ones'}."
        )

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint(self, fingerprint: Mapping[str, str]) -> Checkpoint:
        """All that `restore` needs to resume bit-exactly. Call it between epochs, or in `progress`.

        Args:
            fingerprint: what the checkpoint depends on, by name.
        """
        epoch = self._unfinished or _UnfinishedEpoch(self._random.bit_generator.state)
        self.optimizer.allocate(self.network.parameters)
        return Checkpoint(
            arrays={
                "parameters": self.network.parameters.memory,
                "best": self.best_parameters,
                "last": self.last_parameters,
                "losses": np.concatenate([np.zeros(0), *epoch.losses]),
                **{f"slot.{slot}": self._get_slot(slot) for slot in self.optimizer.kept_slots},
            },
            step=self.step,
            optimizer_step=self.optimizer.state.step_count,
            scalars=self.optimizer.state.scalars,
            position=epoch.position,
            score_sum=epoch.score_sum,
            shuffle_state=epoch.shuffle_state,
            history=self.history,
            fingerprint=fingerprint,
        )

    def checkpoint_shapes(self) -> dict[str, tuple[int, ...] | None]:
        """The arrays of this run's checkpoints, with their shapes; None for those of any length."""
        shape = self.network.parameters.memory.shape
        slots = dict.fromkeys(
            (f"slot.{slot}" for slot in self.optimizer.kept_slots), self.network.parameters.flat.shape
        )
        return {"losses": None, **dict.fromkeys(("parameters", "best", "last"), shape), **slots}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same configuration and data.

        Raises:
            CheckpointError: it does not fit; nothing was changed.
        """
        batches = -(-checkpoint.position // self.batch_size)
        score = checkpoint.score_sum / checkpoint.position if checkpoint.position else 0.0
        lowest, highest = self.network.objective.score_range
        fits = (
            set(checkpoint.scalars) == set(self.optimizer.scalars)
            and (checkpoint.position or checkpoint.score_sum == 0)
            and (lowest <= score <= highest if self.weights is None else math.isfinite(score))
            and checkpoint.position <= len(self.x)
            and checkpoint.position in (batches * self.batch_size, len(self.x))
            and len(checkpoint.arrays["losses"]) == batches
            and [record.epoch for record in checkpoint.history] == list(range(1, len(checkpoint.history) + 1))
        )
        random = generator(0, "shuffling")
        try:
            random.bit_generator.state = dict(checkpoint.shuffle_state)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"The checkpoint's random state is not one of NumPy's: {error}") from error
        if not fits:
            raise CheckpointError("The checkpoint belongs to a run with another optimizer, batch size or dataset.")
        self._random = random
        self.optimizer.allocate(self.network.parameters)
        self.network.parameters.memory[...] = checkpoint.arrays["parameters"]
        self.best_parameters[...] = checkpoint.arrays["best"]
        self.last_parameters[...] = checkpoint.arrays["last"]
        for slot in self.optimizer.kept_slots:
            self._get_slot(slot)[...] = checkpoint.arrays[f"slot.{slot}"]
        state = self.optimizer.state
        state.step_count, state.scalars = checkpoint.optimizer_step, dict(checkpoint.scalars)
        self.step, self.history = checkpoint.step, checkpoint.history
        self._unfinished = None
        if checkpoint.position:
            self._unfinished = _UnfinishedEpoch(
                checkpoint.shuffle_state, checkpoint.position, [checkpoint.arrays["losses"]], checkpoint.score_sum
            )

    def _get_slot(self, name: str) -> Array:
        """One of the optimizer's slots, flat."""
        slot = self.optimizer.state.slots[name]
        assert isinstance(slot, ParameterDict)  # noqa: S101  (`allocate` made it so)
        return slot.flat


def _clamp(score: float) -> float:
    """A score that a record can hold: R2 of a nearly constant target can be below all numbers."""
    return float(np.nan_to_num(score, nan=-sys.float_info.max))


def _describe_losses() -> str:
    groups = {
        kind: ", ".join(name for name in LOSSES if (LOSSES[name].link == "softmax") == (kind == "classes"))
        for kind in ("classes", "numbers")
    }
    return " ".join(f"For {kind}: {names}." for kind, names in groups.items())
