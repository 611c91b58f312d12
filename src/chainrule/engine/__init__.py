"""Engines: the ways to run a training step. `reference` is plain NumPy, `compiled` is machine code.

They know networks and optimizers, and neither epochs nor files. Numba takes a quarter of a second to import, so the
compiled engine's modules are loaded when the first such engine is made.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from chainrule.engine.base import ENGINES, BatchResults, ConcurrentEngine, Engine, LogitsPredictor, NotCompilableError
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.augmentation import Augmenter
from chainrule.nn.network import Network
from chainrule.optim.optimizer import Optimizer

__all__ = [
    "ENGINES",
    "BatchResults",
    "ConcurrentEngine",
    "Engine",
    "LogitsPredictor",
    "make_engine",
    "make_predictor",
]

_log = logging.getLogger("chainrule.engine")


@ENGINES.register("compiled")
def _make_compiled(*arguments: Any) -> Engine:
    module = importlib.import_module("chainrule.engine.compiled.engine")
    engine: Engine = module.CompiledEngine(*arguments)
    return engine


ENGINES.register("numpy", aliases=("reference",))(ReferenceEngine)


def make_engine(
    name: str,
    network: Network,
    optimizer: Optimizer,
    batch_size: int,
    threads: int = 0,
    seed: int = 0,
    augmenter: Augmenter | None = None,
) -> Engine:
    """Make an engine for a network, an optimizer and a batch size.

    Args:
        name: from `ENGINES`.
        network: trained in place.
        optimizer: its state is updated.
        batch_size: samples per step.
        threads: processor cores to use; 0 chooses what is fastest.
        seed: of dropout and augmentation, 0 to 2**63 - 1.
        augmenter: changes the training images; None leaves samples as they are.

    Returns:
        The engine of this name. If a part cannot be compiled, the reference engine takes its place, and a logged
        warning says why.
    """
    try:
        return ENGINES[name](network, optimizer, batch_size, threads, seed, augmenter)
    except (NotCompilableError, ImportError) as error:
        _log.warning("Using the numpy engine, which is slower: %s.", error)
        return ReferenceEngine(network, optimizer, batch_size, threads, seed, augmenter)


def make_predictor(network: Network) -> LogitsPredictor | None:
    """Make a predictor that runs in machine code; None if a part of the network cannot be compiled."""
    try:
        module = importlib.import_module("chainrule.engine.compiled.prediction")
        predictor: LogitsPredictor = module.Predictor(network)
    except (NotCompilableError, ImportError):
        return None
    return predictor
