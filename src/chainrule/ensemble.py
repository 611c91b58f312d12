"""Ensembles: several networks whose answers are averaged."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.data import Dataset
from chainrule.engine import make_engine
from chainrule.model import Model
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.augmentation import Augmentation
from chainrule.nn.parameters import Array
from chainrule.nn.views import Views
from chainrule.optim.optimizer import Optimizer, make_optimizer
from chainrule.training.callbacks import Callback, EpochFunction
from chainrule.training.concurrency import CoreShares, Send, run_concurrently
from chainrule.training.history import History

__all__ = ["Ensemble"]


class Ensemble(Model):
    """Networks that predict together: the mean of their probabilities, or of their numbers for regression.

    Args:
        members: networks with the same numbers of inputs and outputs, and losses for the same kind of targets. They
            usually differ in the seed of their initial weights; their hidden layers may differ, too.

    Attributes:
        members: the networks.
        objective: output link, form of the targets, loss and score: those of the first network.

    Raises:
        ConfigError: there is none, or they do not predict the same from the same inputs.

    >>> ensemble = Ensemble([NeuralNetwork([4, 3, 2], seed=seed) for seed in range(5)])
    >>> ensemble.predict_proba([[0.0, 0.0, 0.0, 0.0]])
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, members: Sequence[NeuralNetwork]) -> None:
        if not isinstance(members, Sequence) or not all(isinstance(member, NeuralNetwork) for member in members):
            raise ConfigError(f"An ensemble is made of a list of NeuralNetworks, got {members!r:.200}.")
        if not members:
            raise ConfigError("An ensemble needs at least one network, got none.")
        first, *others = members
        for number, member in enumerate(others, start=1):
            for what, one, other in (
                ("inputs", first.sizes[0], member.sizes[0]),
                ("outputs", first.sizes[-1], member.sizes[-1]),
                ("output link", first.objective.loss.link, member.objective.loss.link),
                ("dtype", first.dtype, member.dtype),
            ):
                if one != other:
                    raise ConfigError(
                        f"The networks of an ensemble must have the same {what}: network 0 has {one}, network {number} "
                        f"has {other}."
                    )
        if len({id(member) for member in members}) < len(members):
            raise ConfigError("The networks of an ensemble must be different objects; one is there twice.")
        self.members = tuple(members)
        self.objective = first.objective

    @property
    def sizes(self) -> tuple[int, ...]:
        """The layer widths of the first network; the first and the last are those of all."""
        return self.members[0].sizes

    def average_logits(self, samples: Array, views: Views | None, image_shape: tuple[int, int] | None) -> Array:
        """The z, (n, k), whose answer is the mean of the members' answers. Raises ConfigError."""
        logits = [member.average_logits(samples, views, image_shape) for member in self.members]
        return self.objective.average(np.stack(logits))

    def check_predicted(self, x: ArrayLike) -> Array:
        """Samples in the form that a prediction takes. Raises ConfigError."""
        return self.members[0].check_predicted(x)

    def check_evaluated(self, x: ArrayLike, y: ArrayLike | None) -> tuple[Array, NDArray[Any]]:
        """Samples and targets in the form that an evaluation takes. Raises ConfigError."""
        return self.members[0].check_evaluated(x, y)

    def fit(
        self,
        x: Dataset | ArrayLike,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        optimizer: Optimizer | str = "adam",
        epochs: int = 10,
        batch_size: int = 16,
        engine: str = "compiled",
        threads: int = 0,
        seeds: Sequence[int] | None = None,
        callbacks: Sequence[Callback | EpochFunction] = (),
        augmentation: Augmentation | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> list[History]:
        """Train every member, as many at the same time as there are processor cores.

        A member gets the parameters, bit for bit, that its own `fit` with its seed would give it, with any number of
        threads. With an engine that needs Python's lock, as `numpy` does, the members are trained one after the other.

        Args:
            x: see `NeuralNetwork.fit`.
            y: see there.
            validation_data: see there.
            sample_weight: see there.
            class_weight: see there.
            optimizer: an object or a name. Every member is trained with a copy of its own; the object does not change.
            epochs: see `NeuralNetwork.fit`.
            batch_size: see there.
            engine: see there.
            threads: processor cores to use for all members together; 0 for all.
            seeds: a seed for each member, of the order in which it visits the samples; by default 0, 1, 2, ...
            callbacks: see `NeuralNetwork.fit`. They are called for every member, from several threads.
            augmentation: see there.
            image_shape: see there.

        Returns:
            The history of each member.

        Raises:
            ConfigError: an argument or the data do not fit.
            DivergenceError: the loss of a member became infinite or NaN.
        """
        given = list(range(len(self.members))) if seeds is None else list(seeds)
        if len(given) != len(self.members):
            raise ConfigError(
                f"seeds must hold a seed for each of the {len(self.members)} networks, got {len(given)} seeds."
            )
        if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or not 0 <= threads <= 1024:
            raise ConfigError(f"threads must be a whole number from 0 to 1024, got {threads!r}.")
        data = self.members[0].make_dataset(x, y, validation_data, sample_weight, class_weight, image_shape)
        rule, shares = make_optimizer(optimizer), CoreShares(len(given), int(threads))
        # Which engine it will be depends on whether every part can be compiled.
        shares.choose_workers(make_engine(engine, self.members[0], copy.deepcopy(rule), 1))
        if not isinstance(callbacks, Sequence):
            raise ConfigError(f"callbacks must be a list of callbacks, got {callbacks!r:.100}.")

        def fit(member: NeuralNetwork, seed: int, rule: Optimizer, _send: Send) -> History:
            return member.fit(
                data,
                optimizer=rule,
                epochs=epochs,
                batch_size=batch_size,
                engine=engine,
                threads=threads,
                seed=seed,
                callbacks=[*callbacks, shares],
                augmentation=augmentation,
            )

        fits = [
            partial(fit, member, seed, copy.deepcopy(rule)) for member, seed in zip(self.members, given, strict=True)
        ]
        return run_concurrently(fits, shares)

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.members)} networks, the first is {self.members[0]!r}"
