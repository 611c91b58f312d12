"""Engines: the ways to run a training step. Each is registered in `ENGINES` where it is written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from chainrule.engine import reference as _reference  # noqa: F401
from chainrule.engine.base import ENGINES, Engine, Stretch
from chainrule.engine.compiled import engine as _compiled  # noqa: F401  (importing it registers the engine)
from chainrule.engine.compiled.scalar_source import NotCompilableError

if TYPE_CHECKING:
    from chainrule.nn.network import Network
    from chainrule.optim.optimizer import Optimizer

__all__ = ["ENGINES", "Engine", "Stretch", "make_engine"]

_log = logging.getLogger("chainrule.engine")


def make_engine(name: str, network: Network, rule: Optimizer, batch_size: int, threads: int = 0) -> Engine:
    """An engine for a network, a rule and a batch size.

    Args:
        name: from `ENGINES`.
        network: what it trains.
        rule: how.
        batch_size: samples a step.
        threads: processor cores for a step; 0 chooses what is fastest.

    Returns:
        The engine asked for. Where a part cannot be compiled, the numpy engine takes its place, and a message that is
        logged says why.
    """
    try:
        return ENGINES[name](network, rule, batch_size, threads)
    except (NotCompilableError, ImportError) as error:
        _log.warning("Using the numpy engine, which is slower: %s.", error)
        return ENGINES["numpy"](network, rule, batch_size, threads)
