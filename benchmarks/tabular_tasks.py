"""The tasks of tabular.py: what is predicted from which columns of a real table, and how answers are measured."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["TASKS", "Task"]

Floats = NDArray[np.float64]
Measure = Callable[[Floats], dict[str, float]]
_SPLIT_SEED = 0
_TEST, _VALIDATION = 0.1, 0.1
_CUTS = ("Fair", "Good", "Very Good", "Premium", "Ideal")
_COLORS = tuple("JIHGFED")
_CLARITIES = ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF")


@dataclass(frozen=True)
class Task:
    """Samples of a table, split and scaled.

    Attributes:
        title: what is predicted, for the table of results.
        loss: name of chainrule's loss.
        score_name: what the validation score is.
        measure: computes the test results from predictions.
        measures: the names of these, the most important first.
        baseline: the same without a network: the mean of the training targets, or each label's most frequent value.
    """

    title: str
    loss: str
    score_name: str
    x_train: Floats
    y_train: Floats
    x_val: Floats
    y_val: Floats
    x_test: Floats
    measure: Measure
    measures: tuple[str, ...]
    baseline: dict[str, float]


Table = dict[str, list[str]]


def _read(path: Path, header: Sequence[str] = ()) -> Table:
    """Read a table as text, column by column."""
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    names = list(header) or rows.pop(0)
    if not header:  # Adult's rows are published as they are; elsewhere a copy of a training row must not be a test
        rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    return {name: [row[number].strip() for row in rows] for number, name in enumerate(names)}


def _numbers(table: Table, names: Sequence[str]) -> Floats:
    """The columns as numbers, (n, d); NaN where there is a gap."""
    return np.array([[float(cell) if cell else np.nan for cell in table[name]] for name in names]).T


def _one_hot(table: Table, names: Sequence[str]) -> Floats:
    """An indicator for each value of each column, (n, d)."""
    columns = [np.array(table[name])[:, None] == sorted(set(table[name])) for name in names]
    return np.concatenate(columns, axis=1).astype(np.float64)


def _ranks(cells: Sequence[str], order: Sequence[str]) -> Floats:
    """The position of each cell in an order, (n,)."""
    position = {name: number for number, name in enumerate(order)}
    return np.array([position[cell] for cell in cells], np.float64)


def _split(n: int) -> tuple[NDArray[np.int64], ...]:
    """The rows for training, validation and test, of a fixed seed."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(n)
    test, validation = round(_TEST * n), round(_VALIDATION * n)
    return order[test + validation :], order[test : test + validation], order[:test]


def _scale(numbers: Floats, train: NDArray[np.int64]) -> Floats:
    """Fill gaps with the median, standardize by the training rows alone, and clip typing errors to five deviations."""
    filled = np.where(np.isnan(numbers), np.nanmedian(numbers[train], axis=0), numbers)
    spread = filled[train].std(axis=0)
    return np.clip((filled - filled[train].mean(axis=0)) / np.where(spread > 0, spread, 1), -5, 5)


def _make_regression(
    title: str, numbers: Floats, categories: Floats, price: Floats, rows: tuple[NDArray[np.int64], ...]
) -> Task:
    """Predict the logarithm of the price, standardized; measured on the logarithm and in dollars."""
    train, validation, test = rows
    x, log_price = np.concatenate([_scale(numbers, train), categories], axis=1), np.log(price)
    mean, spread = log_price[train].mean(), log_price[train].std()
    y = ((log_price - mean) / spread)[:, None]

    def measure(predictions: Floats) -> dict[str, float]:
        answer = predictions.astype(np.float64) * spread + mean
        return {
            "r2_log": _compute_r2(answer, log_price[test]),
            "rmse_log": float(np.sqrt(np.mean((answer - log_price[test]) ** 2))),
            "r2": _compute_r2(np.exp(answer), price[test]),
            "rmse": float(np.sqrt(np.mean((np.exp(answer) - price[test]) ** 2))),
        }

    return Task(
        title, "squared_error", "r2", x[train], y[train], x[validation], y[validation], x[test],
        measure, ("r2_log", "rmse_log", "r2", "rmse"), measure(np.zeros(len(test))),
    )  # fmt: skip


def _make_labels(title: str, x: Floats, labels: Floats, rows: tuple[NDArray[np.int64], ...]) -> Task:
    """Predict yes or no for each label; measured by all labels right, and by each label on its own."""
    train, validation, test = rows
    wanted = labels[test] > 0.5

    def measure(predictions: Floats) -> dict[str, float]:
        right = np.reshape(predictions > 0.5, wanted.shape) == wanted
        found = {"all_right": float(right.all(axis=1).mean()), "each_right": float(right.mean())}
        return {**found, **{f"label{number}": float(value) for number, value in enumerate(right.mean(axis=0))}}

    # The most frequent combination of labels is what is best for the first measure, without looking at the inputs.
    combinations, counts = np.unique(labels[train], axis=0, return_counts=True)
    frequent = np.tile(combinations[counts.argmax()], (len(test), 1))
    each = np.tile(np.round(labels[train].mean(axis=0)), (len(test), 1))
    baseline = {**measure(each), "all_right": measure(frequent)["all_right"]}
    return Task(
        title, "binary_cross_entropy", "accuracy", x[train], labels[train], x[validation], labels[validation], x[test],
        measure, tuple(baseline), baseline,
    )  # fmt: skip


def _compute_r2(answer: Floats, wanted: Floats) -> float:
    return float(1 - np.mean((answer - wanted) ** 2) / wanted.var())


def load_california(folder: Path) -> Task:
    """Regression of the median house value of a block of California."""
    table = _read(folder / "california.csv.gz")
    price = _numbers(table, ["median_house_value"])[:, 0]
    names = [name for name in table if name not in ("median_house_value", "ocean_proximity")]
    numbers, rows = _numbers(table, names), _split(len(price))
    # Counts of rooms and people have a long tail; their logarithm has none.
    for number, name in enumerate(names):
        if name.startswith("total_") or name in ("population", "households", "median_income"):
            numbers[:, number] = np.log(numbers[:, number])
    return _make_regression(
        "California housing: log of the median house value", numbers, _one_hot(table, ["ocean_proximity"]), price, rows
    )


def load_diamonds(folder: Path) -> Task:
    """Regression of the price of a diamond."""
    table = _read(folder / "diamonds.csv.gz")
    price = _numbers(table, ["price"])[:, 0]
    numbers = _numbers(table, ["carat", "depth", "table", "x", "y", "z"])
    categories = _one_hot(table, ["cut", "color", "clarity"])
    return _make_regression("diamonds: log of the price", numbers, categories, price, _split(len(price)))


def load_grades(folder: Path) -> Task:
    """Three yes-or-no grades of a diamond from its measures and price."""
    table = _read(folder / "diamonds.csv.gz")
    numbers = _numbers(table, ["carat", "depth", "table", "x", "y", "z", "price"])
    numbers[:, [0, -1]] = np.log(numbers[:, [0, -1]])
    labels = np.stack(
        [
            _ranks(table["cut"], _CUTS) >= _CUTS.index("Premium"),
            _ranks(table["color"], _COLORS) >= _COLORS.index("F"),
            _ranks(table["clarity"], _CLARITIES) >= _CLARITIES.index("VS2"),
        ],
        axis=1,
    ).astype(np.float64)
    rows = _split(len(labels))
    return _make_labels(
        "diamonds: cut at least Premium, color at least F, clarity at least VS2, from measures and price",
        _scale(numbers, rows[0]), labels, rows,
    )  # fmt: skip


_ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)


def load_adult(folder: Path) -> Task:
    """Whether a person earns more than 50,000 dollars: one label, with the published test rows."""
    parts = [_read(folder / f"adult-{part}.csv.gz", _ADULT) for part in ("train", "test")]
    known = len(parts[0]["income"])
    table = {name: parts[0][name] + parts[1][name] for name in _ADULT}
    order = np.random.default_rng(_SPLIT_SEED).permutation(known)
    held = round(_VALIDATION * known)
    rows = order[held:], order[:held], np.arange(known, len(table["income"]))
    numbers = _numbers(table, ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"])
    numbers[:, [3, 4]] = np.log1p(numbers[:, [3, 4]])
    names = ["workclass", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]
    x = np.concatenate([_scale(numbers, rows[0]), _one_hot(table, names)], axis=1)
    labels = np.array([[cell.rstrip(".") == ">50K"] for cell in table["income"]], np.float64)
    return _make_labels("Adult: income above 50,000 dollars", x, labels, rows)


TASKS: dict[str, Callable[[Path], Task]] = {
    "california": load_california,
    "diamonds": load_diamonds,
    "diamond grades": load_grades,
    "adult": load_adult,
}
