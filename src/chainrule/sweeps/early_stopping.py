"""Early stopping of trials: the variant of Hyperband (arXiv 1603.06560) that W&B's server applies.

At certain epochs, the rungs, a trial continues only if it is among the best 1/eta of those that have got there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import mul, truediv

__all__ = ["Hyperband"]

_MAX_RUNGS = 100


@dataclass(frozen=True)
class Hyperband:
    """When a trial is pruned.

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
