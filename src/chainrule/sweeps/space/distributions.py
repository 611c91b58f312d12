"""The distributions of W&B's sweep files.

Each is given by its quantile function: u, uniform on [0, 1), becomes a value. So random search is one line, and search
by Optuna can draw u where it has no such distribution of its own.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable, Field, Float, Int
from chainrule.core.registry import Registry

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["DISTRIBUTIONS", "Categorical", "Constant", "Distribution", "Stored"]

Stored = str | int | float | None
"""What a study stores for a value."""


def _number(stored: Stored) -> float:
    """What was stored for a number."""
    if not isinstance(stored, int | float):
        raise ConfigError(f"The sweep's storage holds {stored!r} where a number should be.")
    return stored


class Distribution(Configurable, ABC):
    """Where a parameter's values come from.

    What a study stores is not always the value: a list is stored as text, and a normally distributed number as its
    quantile. `stored` and `value` go from u to what is stored, and from that to the value.
    """

    def check(self) -> None:
        """Raise ConfigError where settings do not fit each other."""
        return

    @abstractmethod
    def at(self, u: float) -> Any:
        """The value at the quantile u, 0 <= u < 1."""

    def stored(self, u: float) -> Stored:
        """What a study stores for the value at the quantile u: here, u itself."""
        return u

    def value(self, stored: Stored) -> Any:
        """The value that was stored."""
        return self.at(_number(stored))

    def optuna(self) -> BaseDistribution:
        """Optuna's distribution of what is stored."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(0.0, 1.0)

    def grid(self) -> Categorical | None:
        """All values, where there is an end of them."""
        return None

    def examples(self) -> list[Any]:
        """Values that show whether all of them can be used: the smallest, the largest and some between, or each."""
        return [self.at(step / 20) for step in range(20)] + [self.at(math.nextafter(1.0, 0.0))]


DISTRIBUTIONS: Registry[type[Distribution]] = Registry("distribution")


class _Range(Distribution):
    """From `min` to `max`."""

    min = Float(0.0, "smallest value")
    max = Float(1.0, "largest value")

    def check(self) -> None:
        if self.min >= self.max:
            raise ConfigError(f"min {self.min:g} must be below max {self.max:g}.")


class _Quantized(Distribution):
    """Rounded to the multiples of `q`."""

    q = Float(1.0, "step", gt=0)

    def rounded(self, value: float) -> Any:
        """The nearest multiple; an int where all multiples are whole."""
        multiple = round(value / self.q) * self.q
        # 3 * 0.1 is 0.30000000000000004, which nobody has asked for.
        return int(multiple) if self.q.is_integer() else float(f"{multiple:.12g}")


@DISTRIBUTIONS.register("categorical")
class Categorical(Distribution):
    """One of the `values`, with equal `probabilities` unless those are given."""

    def __init__(self, values: Sequence[object], probabilities: Sequence[float] | None = None) -> None:
        super().__init__()
        self.values, self.probabilities = list(values), probabilities
        # Optuna stores plain values only.
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
        # True is equal to 1, but not the same to whoever reads it.
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

    def at(self, u: float) -> Any:
        return self.values[self._position(u)]

    def _position(self, u: float) -> int:
        if self.probabilities is None:
            return int(u * len(self.values))
        total = 0.0
        for position, probability in enumerate(self.probabilities):
            total += probability
            if u < total:
                return position
        return max(position for position, probability in enumerate(self.probabilities) if probability)

    def stored(self, u: float) -> Stored:
        return u if self.probabilities else self.labels[self._position(u)]

    def value(self, stored: Stored) -> Any:
        return self.at(_number(stored)) if self.probabilities else self.values[self.labels.index(stored)]

    def optuna(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return super().optuna() if self.probabilities else CategoricalDistribution(self.labels)

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
    """Whole numbers from `min` to `max`, both included, each as likely."""

    min = Int(0, "smallest value", ge=-(10**9))
    max = Int(1, "largest value", ge=-(10**9))

    def check(self) -> None:
        if self.min >= self.max:
            raise ConfigError(f"min {self.min} must be below max {self.max}.")

    def at(self, u: float) -> int:
        return self.min + int(u * (self.max - self.min + 1))

    def stored(self, u: float) -> Stored:
        return self.at(u)

    def value(self, stored: Stored) -> int:
        return int(_number(stored))

    def optuna(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self.min, self.max)

    def grid(self) -> Categorical:
        return Categorical(range(self.min, self.min + _steps(self.max - self.min + 1)))


@DISTRIBUTIONS.register("uniform")
class Uniform(_Range):
    """Numbers from `min` to `max`."""

    def at(self, u: float) -> Any:
        return self.min + u * (self.max - self.min)

    def stored(self, u: float) -> Stored:
        return float(self.at(u))

    def value(self, stored: Stored) -> Any:
        return _number(stored)

    def optuna(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.min, self.max)


@DISTRIBUTIONS.register("q_uniform")
class QUniform(_Range, _Quantized):
    """`uniform`, rounded to multiples of `q`."""

    def at(self, u: float) -> Any:
        return self.rounded(self.min + u * (self.max - self.min))

    def grid(self) -> Categorical:
        steps = _steps(math.ceil((self.max - self.min) / self.q))
        # As W&B's grid: counted from min, where the random values are multiples of q.
        values = [float(f"{self.min + step * self.q:.12g}") for step in range(steps)]
        whole = self.min.is_integer() and self.q.is_integer()
        return Categorical([int(value) for value in values] if whole else values)


def _steps(steps: int) -> int:
    """So many values, unless they are too many."""
    if steps > _MOST_STEPS:
        raise ConfigError(f"a grid takes at most {_MOST_STEPS:,} values of one parameter, got {steps:,}.")
    return steps


_MOST_STEPS = 10_000


class _Positive(_Range):
    """From `min` to `max`, above 0."""

    min = Float(1.0, "smallest value", gt=0)
    max = Float(2.0, "largest value", gt=0)


@DISTRIBUTIONS.register("log_uniform_values")
class LogUniformValues(_Positive):
    """Numbers from `min` to `max` whose logarithm is uniform."""

    def at(self, u: float) -> Any:
        value = math.exp(math.log(self.min) + u * (math.log(self.max) - math.log(self.min)))
        return min(max(value, self.min), self.max)

    def stored(self, u: float) -> Stored:
        return float(self.at(u))

    def value(self, stored: Stored) -> Any:
        return _number(stored)

    def optuna(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.min, self.max, log=True)


@DISTRIBUTIONS.register("q_log_uniform_values")
class QLogUniformValues(LogUniformValues, _Quantized):
    """`log_uniform_values`, rounded to multiples of `q`."""

    def at(self, u: float) -> Any:
        return self.rounded(super().at(u))

    stored, value, optuna = Distribution.stored, Distribution.value, Distribution.optuna


@DISTRIBUTIONS.register("inv_log_uniform_values")
class InvLogUniformValues(LogUniformValues):
    """Numbers from `min` to `max` such that the logarithm of 1 / x is uniform; so, then, is that of x."""


class _Exponents(_Range):
    """`min` and `max` are natural logarithms of the smallest and the largest value."""

    min = Float(0.0, "logarithm of the smallest value", ge=-700, le=700)
    max = Float(1.0, "logarithm of the largest value", ge=-700, le=700)


@DISTRIBUTIONS.register("log_uniform")
class LogUniform(_Exponents):
    """exp(x), x uniform from `min` to `max`. W&B has given it up for `log_uniform_values`."""

    def at(self, u: float) -> Any:
        return math.exp(self.min + u * (self.max - self.min))


@DISTRIBUTIONS.register("q_log_uniform")
class QLogUniform(LogUniform, _Quantized):
    """`log_uniform`, rounded to multiples of `q`. W&B has given it up for `q_log_uniform_values`."""

    def at(self, u: float) -> Any:
        return self.rounded(super().at(u))


@DISTRIBUTIONS.register("inv_log_uniform")
class InvLogUniform(_Exponents):
    """exp(-x), x uniform from `min` to `max`. W&B has given it up for `inv_log_uniform_values`."""

    def at(self, u: float) -> Any:
        return math.exp(-(self.min + (1 - u) * (self.max - self.min)))


@DISTRIBUTIONS.register("normal")
class Normal(Distribution):
    """The normal distribution with mean `mu` and standard deviation `sigma`."""

    mu = Float(0.0, "mean")
    sigma = Float(1.0, "standard deviation", gt=0)

    def at(self, u: float) -> Any:
        from statistics import NormalDist

        # The quantile of 0 would be infinite.
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, _TINY), 1 - _TINY))


_TINY = 1e-12


@DISTRIBUTIONS.register("q_normal")
class QNormal(Normal, _Quantized):
    """`normal`, rounded to multiples of `q`."""

    def at(self, u: float) -> Any:
        return self.rounded(super().at(u))


@DISTRIBUTIONS.register("log_normal")
class LogNormal(Normal):
    """exp(x), x normal with mean `mu` and standard deviation `sigma`."""

    def at(self, u: float) -> Any:
        return math.exp(min(super().at(u), 700.0))


@DISTRIBUTIONS.register("q_log_normal")
class QLogNormal(LogNormal, _Quantized):
    """`log_normal`, rounded to multiples of `q`."""

    def at(self, u: float) -> Any:
        return self.rounded(super().at(u))


@DISTRIBUTIONS.register("beta")
class Beta(Distribution):
    """The beta distribution on [0, 1] with the shapes `a` and `b`."""

    a = Float(1.0, "first shape", gt=0)
    b = Float(1.0, "second shape", gt=0)

    def at(self, u: float) -> Any:
        from scipy.special import betaincinv

        return float(betaincinv(self.a, self.b, u))


@DISTRIBUTIONS.register("q_beta")
class QBeta(Beta, _Quantized):
    """`beta`, rounded to multiples of `q`."""

    q: Field[float] = Float(1.0, "step", gt=0)

    def at(self, u: float) -> Any:
        return self.rounded(super().at(u))
