"""The distributions of W&B's sweep files.

Each is defined by its quantile function (ppf), which maps u, uniform on [0, 1), to a value. So random search samples u,
and so does Optuna for distributions that it does not have itself.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable, Field, Float, Int

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["DISTRIBUTIONS", "Categorical", "Constant", "Distribution", "StorageValue"]

StorageValue = str | int | float | None
"""A value as a study stores it."""

_MAX_STEPS = 10_000
_TINY = 1e-12


class Distribution(Configurable, ABC):
    """The distribution of a parameter.

    A study does not always store the value itself: a list is stored as text, and by default the quantile u is stored.
    `storage_value` maps u to what is stored, and `decode` maps that to the value.
    """

    _stores_value = False

    @abstractmethod
    def ppf(self, u: float) -> Any:
        """The value at the quantile u, 0 <= u < 1."""

    def storage_value(self, u: float) -> StorageValue:
        """What a study stores for the value at the quantile u."""
        value: StorageValue = self.ppf(u) if self._stores_value else u
        return value

    def decode(self, stored: Any) -> Any:
        """The value for what a study has stored."""
        return stored if self._stores_value else self.ppf(float(stored))

    def to_optuna(self) -> BaseDistribution:
        """Optuna's distribution of what is stored."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(0.0, 1.0)

    def grid(self) -> Categorical | None:
        """All values, if their number is finite."""
        return None

    def examples(self) -> list[Any]:
        """Values for validation: the smallest, the largest and some between, or all."""
        return [self.ppf(step / 20) for step in range(20)] + [self.ppf(math.nextafter(1.0, 0.0))]


class Categorical(Distribution):
    """One of the `values`, with equal `probabilities` by default."""

    def __init__(self, values: Sequence[object], probabilities: Sequence[float] | None = None) -> None:
        super().__init__()
        self.values, self.probabilities = list(values), probabilities
        # Optuna stores scalars only.
        try:
            self.labels = [
                value if isinstance(value, str | int | float | None) else json.dumps(value, sort_keys=True)
                for value in self.values
            ]
        except TypeError:
            raise ConfigError(f"YAML reads a date in {self.values!s:.100}; put it into quotes.") from None
        if not self.values:
            raise ConfigError("values must not be empty.")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError("values holds the same value twice; to prefer one, give probabilities.")
        if probabilities is None:
            return
        if len(probabilities) != len(values):
            raise ConfigError(f"there are {len(values)} values but {len(probabilities)} probabilities; give as many.")
        if min(probabilities) < 0 or not math.isclose(math.fsum(probabilities), 1.0, rel_tol=1e-5):
            raise ConfigError(f"probabilities must be 0 or more and add up to 1, got {list(probabilities)}.")

    def map_values(self, function: Callable[[object], object]) -> None:
        """Replace each value; ConfigError if two become the same."""
        Categorical.__init__(self, [function(value) for value in self.values], self.probabilities)

    def ppf(self, u: float) -> Any:
        return self.values[self._find_index(u)]

    def _find_index(self, u: float) -> int:
        if self.probabilities is None:
            return int(u * len(self.values))
        last = max(index for index, probability in enumerate(self.probabilities) if probability)
        return min(bisect_right(list(accumulate(self.probabilities)), u), last)

    def storage_value(self, u: float) -> StorageValue:
        return u if self.probabilities else self.labels[self._find_index(u)]

    def decode(self, stored: Any) -> Any:
        return self.ppf(float(stored)) if self.probabilities else self.values[self.labels.index(stored)]

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return super().to_optuna() if self.probabilities else CategoricalDistribution(self.labels)

    def grid(self) -> Categorical | None:
        return None if self.probabilities else self

    def examples(self) -> list[Any]:
        return self.values


class Constant(Categorical):
    """One `value`."""

    def __init__(self, value: object) -> None:
        super().__init__([value])


class Uniform(Distribution):
    """Numbers from `min` to `max`. Optuna has this distribution, so the value itself is stored."""

    min: Field[Any] = Float(0.0, "smallest value")
    max: Field[Any] = Float(1.0, "largest value")
    _stores_value, _is_log = True, False

    def __init__(self, **values: object) -> None:
        super().__init__(**values)
        if self.min >= self.max:
            raise ConfigError(f"min {self.min:g} must be below max {self.max:g}.")

    def ppf(self, u: float) -> Any:
        return self.min + u * (self.max - self.min)

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.min, self.max, log=self._is_log)


class IntUniform(Uniform):
    """Integers from `min` to `max`, both included, with equal probabilities."""

    min = Int(0, "smallest value", ge=-(10**9))
    max = Int(1, "largest value", ge=-(10**9))

    def ppf(self, u: float) -> int:
        return self.min + int(u * (self.max - self.min + 1))

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self.min, self.max)

    def grid(self) -> Categorical:
        return _make_grid(self.min, 1.0, self.max - self.min + 1)


class LogUniform(Uniform):
    """Numbers from `min` to `max` whose logarithm is uniform, and so is that of 1 / x."""

    min = Float(1.0, "smallest value", gt=0)
    max = Float(2.0, "largest value", gt=0)
    _is_log = True

    def ppf(self, u: float) -> Any:
        value = math.exp(math.log(self.min) + u * (math.log(self.max) - math.log(self.min)))
        return min(max(value, self.min), self.max)


class Normal(Distribution):
    """The normal distribution with mean `mu` and standard deviation `sigma`."""

    mu = Float(0.0, "mean")
    sigma = Float(1.0, "standard deviation", gt=0)

    def ppf(self, u: float) -> Any:
        # The quantile of 0 would be infinite.
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, _TINY), 1 - _TINY))


class LogNormal(Normal):
    """exp(x), x normal with mean `mu` and standard deviation `sigma`."""

    def ppf(self, u: float) -> Any:
        return math.exp(min(super().ppf(u), 700.0))


class Beta(Distribution):
    """The beta distribution on [0, 1] with the shapes `a` and `b`."""

    a = Float(1.0, "first shape", gt=0)
    b = Float(1.0, "second shape", gt=0)

    def ppf(self, u: float) -> Any:
        from scipy.special import betaincinv

        return float(betaincinv(self.a, self.b, u))


class _Quantized(Distribution):
    """Another distribution, the next base class, rounded to the multiples of `q`. Its quantile is stored."""

    q = Float(1.0, "step", gt=0)
    _stores_value = False
    to_optuna = Distribution.to_optuna

    def ppf(self, u: float) -> Any:
        multiple = round(super().ppf(u) / self.q) * self.q  # type: ignore[safe-super]
        # 3 * 0.1 is 0.30000000000000004. If q is an integer, so is the value.
        return int(multiple) if self.q.is_integer() else float(f"{multiple:.12g}")


class QUniform(_Quantized, Uniform):
    """`uniform`, rounded to multiples of `q`."""

    def grid(self) -> Categorical:
        # As W&B's grid: counted from min, although random values are multiples of q.
        return _make_grid(self.min, self.q, math.ceil((self.max - self.min) / self.q))


def _make_grid(first: float, step: float, count: int) -> Categorical:
    if count > _MAX_STEPS:
        raise ConfigError(f"a grid takes at most {_MAX_STEPS:,} values of one parameter, got {count:,}.")
    values = [float(f"{first + index * step:.12g}") for index in range(count)]
    is_whole = float(first).is_integer() and step.is_integer()
    return Categorical([int(value) for value in values] if is_whole else values)


def _quantize(family: type[Distribution]) -> type[Distribution]:
    return type(f"Q{family.__name__}", (_Quantized, family), {})


DISTRIBUTIONS: Mapping[str, type[Distribution]] = {
    "constant": Constant,
    "categorical": Categorical,
    "categorical_w_probabilities": Categorical,
    "int_uniform": IntUniform,
    "uniform": Uniform,
    "q_uniform": QUniform,
    "log_uniform_values": LogUniform,
    "q_log_uniform_values": _quantize(LogUniform),
    "inv_log_uniform_values": LogUniform,
    "normal": Normal,
    "q_normal": _quantize(Normal),
    "log_normal": LogNormal,
    "q_log_normal": _quantize(LogNormal),
    "beta": Beta,
    "q_beta": _quantize(Beta),
}
"""Each distribution by its name in sweep files."""
