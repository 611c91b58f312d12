"""The search: which parameters the next trial gets, and which trials are pruned.

A proposal is a pure function of the sweep, its seed, the trial's number and, for Bayesian search, the earlier trials
with their results so far. So grid and random search do not depend on the number of workers, and the state of a search
is nothing but its trials.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import mul, truediv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from chainrule.sweeps.space.distributions import StorageValue
    from chainrule.sweeps.space.sweep_file import Sweep
    from chainrule.sweeps.trials import Trial

__all__ = ["Hyperband", "propose"]

_MAX_RUNGS = 100

# How often Bayesian search samples again if its proposal has been tried before; a small space may be exhausted.
_MAX_RESAMPLES = 30
# Bayesian search starts with random trials; fewer than this are not informative.
_N_STARTUP_TRIALS = 20


def propose(sweep: Sweep, seed: int, number: int, trials: Sequence[Trial]) -> dict[str, StorageValue]:
    """The parameters of trial `number`, as they are stored; only Bayesian search depends on the `trials` so far."""
    if sweep.method == "grid":
        return _propose_grid(sweep, number)
    n_ended = sum(trial.status in ("finished", "pruned") for trial in trials)
    if sweep.method == "bayes" and n_ended >= _N_STARTUP_TRIALS:
        return _propose_tpe(sweep, seed, number, sorted(trials, key=lambda trial: trial.number))
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    return {
        name: distribution.storage_value(float(generator.random())) for name, distribution in sweep.parameters.items()
    }


def _propose_grid(sweep: Sweep, number: int) -> dict[str, StorageValue]:
    """The grid point `number`. The last parameter changes fastest, as in `itertools.product`."""
    found: dict[str, StorageValue] = {}
    for name, grid in reversed(list(zip(sweep.parameters, sweep.grids, strict=True))):
        number, index = divmod(number, len(grid.values))
        found[name] = grid.labels[index]
    return {name: found[name] for name in sweep.parameters}


def _propose_tpe(sweep: Sweep, seed: int, number: int, trials: Sequence[Trial]) -> dict[str, StorageValue]:
    """A proposal of Optuna's tree-structured Parzen estimator (arXiv 2304.11127).

    The estimator tends to propose the best parameters again and again. Equal parameters give equal results, so it
    samples until they are new.
    """
    import optuna

    distributions = {name: distribution.to_optuna() for name, distribution in sweep.parameters.items()}
    with warnings.catch_warnings():
        # Optuna calls `multivariate` experimental.
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            seed=int(np.random.SeedSequence(seed, spawn_key=(number, 0)).generate_state(1)[0]),
            multivariate=True,
            n_startup_trials=0,
        )
        study = optuna.create_study(direction="minimize", sampler=sampler)
        ended = [trial for trial in trials if trial.status in ("finished", "pruned")]
        study.add_trials([_to_frozen_trial(sweep, trial, distributions) for trial in ended])
        tried = [trial.params for trial in trials if trial.number < number]
        params: Mapping[str, StorageValue] = {}
        for _ in range(_MAX_RESAMPLES):
            params = study.ask(distributions).params
            if params not in tried:
                break
    return {name: params[name] for name in sweep.parameters}


def _to_frozen_trial(sweep: Sweep, trial: Trial, distributions: Mapping[str, object]) -> FrozenTrial:
    """Convert a trial that is over for Optuna. A pruned one has no final value."""
    from optuna.trial import TrialState, create_trial

    is_pruned = trial.status == "pruned"
    return create_trial(
        state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
        value=None if is_pruned else sweep.metric.cost(trial.value if trial.value is not None else float("nan")),
        params=dict(trial.params),
        distributions=dict(distributions),  # type: ignore[arg-type]
        intermediate_values={epoch: sweep.metric.cost(value) for epoch, value in enumerate(trial.curve, 1)},
    )


@dataclass(frozen=True)
class Hyperband:
    """Early stopping of trials: the variant of Hyperband (arXiv 1603.06560) that W&B's server applies.

    At certain epochs, the rungs, a trial continues only if it is among the best 1/eta of those that have got there.

    Attributes:
        rungs: the epochs after which trials are compared, in order.
        eta: one of every `eta` trials continues.
        strict: compare a trial by its value at the rung; otherwise by its best value so far.
    """

    rungs: tuple[int, ...]
    eta: float
    strict: bool

    @classmethod
    def from_settings(cls, settings: Mapping[str, float]) -> Hyperband:
        """Create it from a sweep file's `early_terminate`: `min_iter`, or `max_iter` and `s`; `eta`; `strict`."""
        eta = float(settings.get("eta", 3))
        if "min_iter" in settings:
            found = list(accumulate(repeat(eta, _MAX_RUNGS - 1), mul, initial=float(settings["min_iter"])))
        else:
            steps = min(int(settings["s"]), _MAX_RUNGS)
            found = list(accumulate(repeat(eta, steps), truediv, initial=float(settings["max_iter"])))[1:]
        rungs = {int(rung) for rung in found if 1 <= rung < math.inf}
        return cls(tuple(sorted(rungs)), eta, bool(settings.get("strict", True)))

    def should_prune(self, costs: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Whether a trial with these costs after each epoch ends here, given those of the sweep's other trials."""
        rung = len(costs)
        if rung not in self.rungs:
            return False
        at_rung = sorted(values[rung - 1] for values in [costs, *others] if len(values) >= rung)
        threshold = at_rung[int(len(at_rung) / self.eta)]
        return (costs[-1] if self.strict else min(costs)) > threshold
