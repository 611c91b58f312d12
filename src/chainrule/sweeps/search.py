"""Which configuration a sweep tries next.

A proposal is a pure function of the sweep, its seed, the trial's number and, for Bayesian search, the trials before it
with the results so far. So grid and random search do not depend on how many workers there are, and of a search only
trials and results need be saved.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.sweeps.space.distributions import Stored
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["propose"]

# How often Bayesian search draws again where it has drawn what was tried before. A small space may be used up.
_DRAWS = 30
# Bayesian search begins with random trials; fewer than this tell it nothing.
_RANDOM_FIRST = 20


def propose(sweep: Sweep, seed: int, number: int, trials: Sequence[Trial]) -> dict[str, Stored]:
    """What trial `number` is to be, as a study stores it, by setting.

    Args:
        sweep: the file.
        seed: of the sweep.
        number: of the trial, from 0.
        trials: the trials so far; only Bayesian search looks at them.
    """
    if sweep.method == "grid":
        return _grid(sweep, number)
    ended = [trial for trial in trials if trial.status in ("finished", "pruned")]
    if sweep.method == "bayes" and len(ended) >= _RANDOM_FIRST:
        return _bayes(sweep, seed, number, ended, [trial.stored for trial in trials if trial.number < number])
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    return {name: distribution.stored(float(generator.random())) for name, distribution in sweep.space.items()}


def _grid(sweep: Sweep, number: int) -> dict[str, Stored]:
    """The last setting changes fastest, as in `itertools.product`."""
    found: dict[str, Stored] = {}
    for name, grid in reversed(list(zip(sweep.space, sweep.grids, strict=True))):
        number, position = divmod(number, len(grid.values))
        found[name] = grid.labels[position]
    return {name: found[name] for name in sweep.space}


def _bayes(
    sweep: Sweep, seed: int, number: int, ended: Sequence[Trial], tried: Sequence[Mapping[str, Stored]]
) -> dict[str, Stored]:
    """Optuna's tree-structured Parzen estimator (arXiv 2304.11127), asked in a study of its own.

    It is drawn to the best settings so strongly that it proposes them again and again. Equal settings give equal
    results, so it is asked for others.
    """
    import optuna

    distributions = {name: distribution.optuna() for name, distribution in sweep.space.items()}
    with warnings.catch_warnings():
        # It calls `multivariate` experimental.
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            seed=int(np.random.SeedSequence(seed, spawn_key=(number, 0)).generate_state(1)[0]),
            multivariate=True,
            n_startup_trials=0,
        )
        study = optuna.create_study(direction="minimize", sampler=sampler)
        study.add_trials(
            [_told(sweep, trial, distributions) for trial in sorted(ended, key=lambda trial: trial.number)]
        )
        params: Mapping[str, Stored] = {}
        for _ in range(_DRAWS):
            params = study.ask(distributions).params
            if params not in tried:
                break
    return {name: params[name] for name in sweep.space}


def _told(sweep: Sweep, trial: Trial, distributions: Mapping[str, object]) -> FrozenTrial:
    """An ended trial for Optuna. One that was stopped early tells less than one that was not."""
    from optuna.trial import TrialState, create_trial

    pruned = trial.status == "pruned"
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=None if pruned else sweep.metric.cost(trial.value if trial.value is not None else float("nan")),
        params=dict(trial.stored),
        distributions=dict(distributions),  # type: ignore[arg-type]
        intermediate_values={epoch: sweep.metric.cost(value) for epoch, value in enumerate(trial.curve, 1)},
    )
