"""Stopping trials early: the rule that W&B calls hyperband (arXiv 1603.06560), as its server applies it.

At some epochs, the rungs, a trial goes on only if it is among the best 1/eta of all that have come so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Hyperband"]


_MOST_RUNGS = 100


@dataclass(frozen=True)
class Hyperband:
    """The rule.

    Attributes:
        rungs: epochs after which it is applied, in order.
        eta: one in so many goes on.
        strict: compare a trial by its value at the rung; else by its best so far.
    """

    rungs: tuple[int, ...]
    eta: float
    strict: bool

    @classmethod
    def from_settings(cls, settings: Mapping[str, float]) -> Hyperband:
        """From the numbers of a sweep file's `early_terminate`, which are checked already.

        Args:
            settings: `min_iter`, or `max_iter` and `s`; `eta` (3) and `strict` (True).
        """
        eta = float(settings.get("eta", 3))
        rungs = []
        if "min_iter" in settings:
            rung = float(settings["min_iter"])
            for _ in range(_MOST_RUNGS):
                rungs.append(int(rung))
                rung *= eta
        else:
            rung = float(settings["max_iter"])
            for _ in range(min(int(settings["s"]), _MOST_RUNGS)):
                rung /= eta
                if rung < 1:
                    break
                rungs.append(int(rung))
        return cls(tuple(sorted(set(rungs))), eta, bool(settings.get("strict", True)))

    def stops(self, own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
        """Whether a trial ends here.

        Args:
            own: its values, an epoch each, to be minimised. The rule is applied if the last one is at a rung.
            others: those of the sweep's other trials, running and ended ones.
        """
        rung = len(own)
        if rung not in self.rungs:
            return False
        there = sorted(values[rung - 1] for values in [own, *others] if len(values) >= rung)
        threshold = there[int(len(there) / self.eta)]
        return (own[-1] if self.strict else min(own)) > threshold
