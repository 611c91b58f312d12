"""Shares of a metric's variance that hyperparameters explain, from cross-validated models of the runs.

Two ridge regressions predict the metric from the configuration: an additive model, in which each hyperparameter has an
effect of its own, and a pairwise model, which adds the products of those pairs that pass an F test. A share is the
cross-validated $R^2 = 1 - SSE / SST$ of predictions for runs that neither fit nor tests have seen, so noise explains
nothing. What the pairwise model explains beyond the additive one is interaction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from chainrule.report.run_records import RunRecord, find_varied_hyperparameters
from chainrule.report.statistics import MAX_CATEGORIES, select_scored

__all__ = ["Share", "VarianceShares", "compute_variance_shares"]

_Array: TypeAlias = NDArray[np.float64]

_MIN_RUNS = 20
_RUNS_PER_COEFFICIENT = 5  # of the additive model; the pairwise one needs one run per coefficient
_MAX_COEFFICIENTS = 600  # the running time grows with the cube of their number
_KNOTS = 5  # of the linear spline of a continuous hyperparameter
_FOLDS, _REPEATS, _BOOTSTRAPS = 10, 3, 1000
_PENALTIES = np.logspace(-8, 2, 21)  # relative to the number of runs
_LEVEL = 0.05  # of the F tests of pairs, divided by their number


@dataclass(frozen=True)
class Share:
    """A share of the variance with its 95 % interval, by a bootstrap over the runs. Slightly below 0 means none.

    Attributes:
        value: the share.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class VarianceShares:
    """What the hyperparameters explain of a metric's variance over runs.

    Attributes:
        runs: number of runs.
        additive: share that the additive model explains; None if there are too few runs.
        pairwise: share that the pairwise model explains; None if there are too few runs.
        interaction: the difference of the two; None if there are too few runs.
        hyperparameters: by how much the share of the additive model drops without a hyperparameter, largest first.
        continuous: the hyperparameters that are modeled as linear splines; the others are categorical.
        reason: why results are None, in a sentence; empty if none is.
    """

    runs: int
    additive: Share | None
    pairwise: Share | None
    interaction: Share | None
    hyperparameters: dict[str, Share]
    continuous: list[str]
    reason: str


def compute_variance_shares(records: Sequence[RunRecord], metric: str) -> VarianceShares:
    """Compute the shares of a metric's variance.

    A numeric hyperparameter with more than 12 values is continuous: a linear spline, on a logarithmic scale if its
    values span a factor of more than 50. All others are categorical.

    Args:
        records: the runs. Those without the metric are left out.
        metric: the metric.
    """
    pairs = select_scored(records, metric)
    y = np.array([value for _, value in pairs])
    found = [record for record, _ in pairs]
    space = find_varied_hyperparameters(found)
    numeric = {name for name, values in space.items() if all(isinstance(value, int | float) for value in values)}
    continuous = [name for name in space if name in numeric and len(space[name]) > MAX_CATEGORIES]
    sizes = {name: (_KNOTS if name in continuous else len(values)) - 1 for name, values in space.items()}
    if withheld := _find_reason(y, sizes):
        return VarianceShares(len(y), None, None, None, {}, continuous, withheld)
    groups = {name: _encode_hyperparameter(found, name, name in continuous) for name in space}
    reason = _find_reason_without_pairs(y, sizes)
    models = [[np.hstack(list(groups.values()))]]
    for name in groups:
        models.append([np.hstack([np.empty((len(y), 0)), *(part for key, part in groups.items() if key != name)])])
    if not reason:
        products = [
            (a[:, :, None] * b[:, None, :]).reshape(len(y), -1) for a, b in itertools.combinations(groups.values(), 2)
        ]
        models.append([*models[0], *products])
    # The matrices are small: more threads would wait for each other, several times as long on a busy machine.
    with threadpool_limits(1):
        explained, resampled = _bootstrap(y, np.array([_compute_errors(model, y) for model in models]))

    def make_share(value: float, values: _Array) -> Share:
        low, high = np.quantile(values, [0.025, 0.975])
        return Share(float(value), float(low), float(high))

    drops = {
        name: make_share(explained[0] - explained[i], resampled[0] - resampled[i]) for i, name in enumerate(groups, 1)
    }
    return VarianceShares(
        len(y),
        make_share(explained[0], resampled[0]),
        None if reason else make_share(explained[-1], resampled[-1]),
        None if reason else make_share(explained[-1] - explained[0], resampled[-1] - resampled[0]),
        dict(sorted(drops.items(), key=lambda item: -item[1].value)),
        continuous,
        reason,
    )


def _find_reason(y: _Array, sizes: Mapping[str, int]) -> str:
    """Why there are no shares, in a sentence; "" if there are. `sizes` are coefficients by hyperparameter."""
    coefficients = sum(sizes.values())
    needed = max(_MIN_RUNS, _RUNS_PER_COEFFICIENT * coefficients)
    if not sizes:
        return "No hyperparameter varies."
    if len(y) < needed:
        return (
            f"Shares of the variance are withheld: {len(y)} runs are too few for an additive model with {coefficients} "
            f"coefficients, which takes {needed}."
        )
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return "Shares of the variance are withheld: the metric is the same in all runs."
    return ""


def _find_reason_without_pairs(y: _Array, sizes: Mapping[str, int]) -> str:
    """Why there is no pairwise model, in a sentence; "" if there is."""
    if len(sizes) < 2:
        return "Interaction is withheld: only one hyperparameter varies."
    coefficients = sum(sizes.values()) + sum(a * b for a, b in itertools.combinations(sizes.values(), 2))
    allowed = min(len(y), _MAX_COEFFICIENTS)
    if coefficients <= allowed:
        return ""
    return (
        f"Interaction is withheld: a pairwise model has {coefficients} coefficients, more than the {allowed} that are "
        f"allowed with {len(y)} runs."
    )


def _encode_hyperparameter(records: Sequence[RunRecord], name: str, is_continuous: bool) -> _Array:
    """Encode a hyperparameter as k - 1 centered columns, for k categories or knots of a linear spline."""
    values = [record.config[name] for record in records]
    if is_continuous:
        x = np.array(values, dtype="float64")
        if x.min() > 0 and x.max() / x.min() > 50:
            x = np.log(x)
        knots = np.quantile(x, np.linspace(0, 1, _KNOTS))
        # Knots that coincide, where many runs share a value, are moved apart evenly.
        knots = knots if np.diff(knots).min() > 0 else np.linspace(x.min(), x.max(), _KNOTS)
        members = np.column_stack([np.interp(x, knots, unit) for unit in np.eye(_KNOTS)])
    else:
        names, codes = np.unique([str(value) for value in values], return_inverse=True)
        members = np.eye(len(names))[codes]
    k = members.shape[1]
    # Orthonormal contrasts: a basis of what sums to 0, in which a ridge penalty treats all categories alike.
    contrasts = np.linalg.svd(np.eye(k) - 1 / k)[0][:, : k - 1]
    columns = np.sqrt(k) * members @ contrasts
    centered: _Array = columns - columns.mean(axis=0)
    return centered


def _compute_errors(blocks: Sequence[_Array], y: _Array) -> _Array:
    """Squared errors of predictions for runs left out of the fit, by cross-validation; one per run.

    Args:
        blocks: matrices of columns, one row per run: that of the additive model, then one per pair of hyperparameters,
            of which every fit selects some.
        y: the metric of the runs.
    """
    rng, errors = np.random.default_rng(0), np.zeros(len(y))
    for _ in range(_REPEATS):
        order = rng.permutation(len(y))
        for left_out in np.array_split(order, _FOLDS):
            fitted = np.setdiff1d(order, left_out)
            x = np.hstack([blocks[i] for i in (0, *_select_pairs([block[fitted] for block in blocks], y[fitted]))])
            errors[left_out] += (_predict_by_ridge(x[fitted], y[fitted], x[left_out]) - y[left_out]) ** 2 / _REPEATS
    return errors


def _select_pairs(blocks: Sequence[_Array], y: _Array) -> list[int]:
    """Select the blocks to add to the first one, by forward selection: those that pass an F test, the best first."""
    from scipy.stats import f

    columns = [block - block.mean(axis=0) for block in blocks]
    basis, residuals, free = _find_basis(columns[0]), y - y.mean(), len(y) - 1
    left = list(range(1, len(blocks)))
    selected: list[int] = []
    while True:
        # Everything that is left becomes orthogonal to what was selected.
        residuals = residuals - basis @ (basis.T @ residuals)
        for i in left:
            columns[i] = columns[i] - basis @ (basis.T @ columns[i])
        free -= basis.shape[1]
        tests = {}
        for i in left:
            own = _find_basis(columns[i])
            k, gain = own.shape[1], float(((own.T @ residuals) ** 2).sum())
            rest = float(residuals @ residuals) - gain
            if 0 < k < free and gain > 1e-12 * float(y @ y):
                tests[i] = float(f.sf(gain / k / max(rest / (free - k), 1e-300), k, free - k)), -gain
        best = min(tests, key=lambda i: tests[i], default=0)
        if not best or tests[best][0] > _LEVEL / (len(blocks) - 1):
            return selected
        basis = _find_basis(columns[best])
        selected.append(best)
        left.remove(best)


def _find_basis(x: _Array) -> _Array:
    """An orthonormal basis of the space of columns, without the directions that are numerically 0."""
    d, v = np.linalg.eigh(x.T @ x)
    real = d > 1e-10 * len(x)
    basis: _Array = x @ (v[:, real] / np.sqrt(d[real]))
    return basis


def _predict_by_ridge(x: _Array, y: _Array, x_new: _Array) -> _Array:
    """Fit a ridge regression with the penalty whose leave-one-out error is least, and predict for new rows."""
    n = len(y)
    mean, center = y.mean(), x.mean(axis=0)
    d, v = np.linalg.eigh((x - center).T @ (x - center))
    v, d = v[:, d > 1e-10 * n], d[d > 1e-10 * n]
    rotated = (x - center) @ v
    projected = rotated.T @ (y - mean)
    shrink = 1 / (d + n * _PENALTIES[:, None])  # (penalties, columns)
    residuals = (y - mean) - (shrink * projected) @ rotated.T
    leverage = 1 / n + shrink @ (rotated**2).T
    errors = ((residuals / np.maximum(1 - leverage, 1e-9)) ** 2).mean(axis=1)
    predictions: _Array = mean + (x_new - center) @ (v @ (shrink[errors.argmin()] * projected))
    return predictions


def _bootstrap(y: _Array, errors: _Array) -> tuple[_Array, _Array]:
    """Explained shares of m models from their squared errors (m, n), and the same of bootstrap samples of the runs."""
    n = len(y)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    centered = y - y.mean()
    total = counts @ centered**2 - (counts @ centered) ** 2 / n
    varied = total > 1e-9 * (centered**2).sum()
    resampled = 1 - (errors @ counts[varied].T) / total[varied]
    return 1 - errors.sum(axis=1) / (centered**2).sum(), resampled
