"""Engines: the ways to run a training step. Each is registered in `ENGINES` where it is written."""

from chainrule.engine import numpy as numpy
from chainrule.engine.base import ENGINES, Engine, Stretch

__all__ = ["ENGINES", "Engine", "Stretch"]
