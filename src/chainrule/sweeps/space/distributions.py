"""The distributions of W&B's sweep files.

Each is defined by its quantile function (ppf), which maps u, uniform on [0, 1), to a value. So random search samples u,
and so does Optuna for distributions that it does not have itself.
"""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable, Float, Int
from chainrule.core.registry import Registry

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["DISTRIBUTIONS", "Categorical", "Constant", "Distribution", "StorageValue"]

StorageValue = str | int | float | None
"""A value as a study stores it."""

_MAX_STEPS = 10_000
_TINY = 1e-12


def _require_number(stored: StorageValue) -> float:
    if not isinstance(stored, int | float):
        raise ConfigError(f"The sweep's storage must hold a number, got {stored!r}.")
    return stored


class Distribution(Configurable, ABC):
    """The distribution of a parameter.

    A study does not always store the value itself: a list is stored as text, and by default the quantile u is stored.
    `storage_value` maps u to what is stored, and `decode` maps that to the value.
    """

    def check(self) -> None:
        """Raise ConfigError if the arguments contradict each other."""
        return

    @abstractmethod
    def ppf(self, u: float) -> Any:
        """The value at the quantile u, 0 <= u < 1."""

    def storage_value(self, u: float) -> StorageValue:
        """What a study stores for the value at the quantile u."""
        return u

    def decode(self, stored: StorageValue) -> Any:
        """The value for what a study has stored."""
        return self.ppf(_require_number(stored))

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


DISTRIBUTIONS: Registry[type[Distribution]] = Registry("distribution")


class _Quantized(Distribution):
    """Another distribution, the next base class, rounded to the multiples of `q`."""

    q = Float(1.0, "step", gt=0)

    def ppf(self, u: float) -> Any:
        multiple = round(super().ppf(u) / self.q) * self.q  # type: ignore[safe-super]
        # 3 * 0.1 is 0.30000000000000004. If q is an integer, so is the value.
        return int(multiple) if self.q.is_integer() else float(f"{multiple:.12g}")


@DISTRIBUTIONS.register("categorical")
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

    def check(self) -> None:
        if not self.values:
            raise ConfigError("values must not be empty.")
        # True equals 1 but has another type.
        kinds = {(type(label), label) for label in self.labels}
        if len(kinds) < len(self.labels) or len(set(self.labels)) < len(self.labels):
            raise ConfigError("values holds the same value twice; to prefer one, give probabilities.")
        if self.probabilities is not None:
            if len(self.probabilities) != len(self.values):
                raise ConfigError(
                    f"there are {len(self.values)} values but {len(self.probabilities)} probabilities; give as many."
                )
            if min(self.probabilities) < 0 or not math.isclose(math.fsum(self.probabilities), 1.0, rel_tol=1e-5):
                raise ConfigError(f"probabilities must be 0 or more and add up to 1, got {list(self.probabilities)}.")

    def map_values(self, function: Callable[[object], object]) -> Categorical:
        """The same distribution with each value replaced.

        Raises:
            ConfigError: two values become the same.
        """
        mapped = copy.copy(self)
        Categorical.__init__(mapped, [function(value) for value in self.values], self.probabilities)
        mapped.check()
        return mapped

    def ppf(self, u: float) -> Any:
        return self.values[self._find_index(u)]

    def _find_index(self, u: float) -> int:
        if self.probabilities is None:
            return int(u * len(self.values))
        total = 0.0
        for index, probability in enumerate(self.probabilities):
            total += probability
            if u < total:
                return index
        return max(index for index, probability in enumerate(self.probabilities) if probability)

    def storage_value(self, u: float) -> StorageValue:
        return u if self.probabilities else self.labels[self._find_index(u)]

    def decode(self, stored: StorageValue) -> Any:
        return self.ppf(_require_number(stored)) if self.probabilities else self.values[self.labels.index(stored)]

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return super().to_optuna() if self.probabilities else CategoricalDistribution(self.labels)

    def grid(self) -> Categorical | None:
        return None if self.probabilities else self

    def examples(self) -> list[Any]:
        return self.values


@DISTRIBUTIONS.register("constant")
class Constant(Categorical):
    """One `value`."""

    def __init__(self, value: object) -> None:
        super().__init__([value])


@DISTRIBUTIONS.register("int_uniform")
class IntUniform(Distribution):
    """Integers from `min` to `max`, both included, with equal probabilities."""

    min = Int(0, "smallest value", ge=-(10**9))
    max = Int(1, "largest value", ge=-(10**9))

    def check(self) -> None:
        if self.min >= self.max:
            raise ConfigError(f"min {self.min} must be below max {self.max}.")

    def ppf(self, u: float) -> int:
        return self.min + int(u * (self.max - self.min + 1))

    def storage_value(self, u: float) -> StorageValue:
        return self.ppf(u)

    def decode(self, stored: StorageValue) -> int:
        return int(_require_number(stored))

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self.min, self.max)

    def grid(self) -> Categorical:
        return Categorical(range(self.min, self.min + _check_steps(self.max - self.min + 1)))


class _Range(Distribution):
    """Values between two limits, computed from `min` and `max`."""

    min = Float(0.0, "smallest value")
    max = Float(1.0, "largest value")

    def check(self) -> None:
        if self.min >= self.max:
            raise ConfigError(f"min {self.min:g} must be below max {self.max:g}.")


class _LinearRange(_Range):
    def ppf(self, u: float) -> Any:
        return self.min + u * (self.max - self.min)


class _LogRange(_Range):
    min = Float(1.0, "smallest value", gt=0)
    max = Float(2.0, "largest value", gt=0)

    def ppf(self, u: float) -> Any:
        value = math.exp(math.log(self.min) + u * (math.log(self.max) - math.log(self.min)))
        return min(max(value, self.min), self.max)


class _StoredRange(_Range):
    """A range that Optuna has itself, so that the value is stored and not its quantile."""

    log = False

    def storage_value(self, u: float) -> StorageValue:
        return float(self.ppf(u))

    def decode(self, stored: StorageValue) -> Any:
        return _require_number(stored)

    def to_optuna(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.min, self.max, log=self.log)


@DISTRIBUTIONS.register("uniform")
class Uniform(_StoredRange, _LinearRange):
    """Numbers from `min` to `max`."""


@DISTRIBUTIONS.register("q_uniform")
class QUniform(_Quantized, _LinearRange):
    """`uniform`, rounded to multiples of `q`."""

    def grid(self) -> Categorical:
        steps = _check_steps(math.ceil((self.max - self.min) / self.q))
        # As W&B's grid: counted from min, although random values are multiples of q.
        values = [float(f"{self.min + step * self.q:.12g}") for step in range(steps)]
        is_whole = self.min.is_integer() and self.q.is_integer()
        return Categorical([int(value) for value in values] if is_whole else values)


def _check_steps(steps: int) -> int:
    """The number of steps, unless there are too many for a grid."""
    if steps > _MAX_STEPS:
        raise ConfigError(f"a grid takes at most {_MAX_STEPS:,} values of one parameter, got {steps:,}.")
    return steps


@DISTRIBUTIONS.register("log_uniform_values")
class LogUniformValues(_StoredRange, _LogRange):
    """Numbers from `min` to `max` whose logarithm is uniform."""

    log = True


@DISTRIBUTIONS.register("q_log_uniform_values")
class QLogUniformValues(_Quantized, _LogRange):
    """`log_uniform_values`, rounded to multiples of `q`."""


@DISTRIBUTIONS.register("inv_log_uniform_values")
class InvLogUniformValues(LogUniformValues):
    """Numbers from `min` to `max` such that the logarithm of 1 / x is uniform; so is that of x."""


class _Exponents(_Range):
    """`min` and `max` are natural logarithms of the smallest and the largest value."""

    min = Float(0.0, "logarithm of the smallest value", ge=-700, le=700)
    max = Float(1.0, "logarithm of the largest value", ge=-700, le=700)


@DISTRIBUTIONS.register("log_uniform")
class LogUniform(_Exponents):
    """exp(x), x uniform from `min` to `max`. W&B has deprecated it for `log_uniform_values`."""

    def ppf(self, u: float) -> Any:
        return math.exp(self.min + u * (self.max - self.min))


@DISTRIBUTIONS.register("q_log_uniform")
class QLogUniform(_Quantized, LogUniform):
    """`log_uniform`, rounded to multiples of `q`. W&B has deprecated it for `q_log_uniform_values`."""


@DISTRIBUTIONS.register("inv_log_uniform")
class InvLogUniform(_Exponents):
    """exp(-x), x uniform from `min` to `max`. W&B has deprecated it for `inv_log_uniform_values`."""

    def ppf(self, u: float) -> Any:
        return math.exp(-(self.min + (1 - u) * (self.max - self.min)))


@DISTRIBUTIONS.register("normal")
class Normal(Distribution):
    """The normal distribution with mean `mu` and standard deviation `sigma`."""

    mu = Float(0.0, "mean")
    sigma = Float(1.0, "standard deviation", gt=0)

    def ppf(self, u: float) -> Any:
        # The quantile of 0 would be infinite.
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, _TINY), 1 - _TINY))


@DISTRIBUTIONS.register("q_normal")
class QNormal(_Quantized, Normal):
    """`normal`, rounded to multiples of `q`."""


@DISTRIBUTIONS.register("log_normal")
class LogNormal(Normal):
    """exp(x), x normal with mean `mu` and standard deviation `sigma`."""

    def ppf(self, u: float) -> Any:
        return math.exp(min(super().ppf(u), 700.0))


@DISTRIBUTIONS.register("q_log_normal")
class QLogNormal(_Quantized, LogNormal):
    """`log_normal`, rounded to multiples of `q`."""


@DISTRIBUTIONS.register("beta")
class Beta(Distribution):
    """The beta distribution on [0, 1] with the shapes `a` and `b`."""

    a = Float(1.0, "first shape", gt=0)
    b = Float(1.0, "second shape", gt=0)

    def ppf(self, u: float) -> Any:
        from scipy.special import betaincinv

        return float(betaincinv(self.a, self.b, u))


@DISTRIBUTIONS.register("q_beta")
class QBeta(_Quantized, Beta):
    """`beta`, rounded to multiples of `q`."""
