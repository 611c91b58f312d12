"""Feedforward classifiers with forward and backward passes written by hand on NumPy.

>>> from chainrule import Adam, NeuralNetwork, load_dataset
>>> data = load_dataset("digits", seed=0)
>>> network = NeuralNetwork([64, 32, 10], activation="tanh", seed=0)
>>> history = network.fit(data.x_train, data.y_train, optimizer=Adam(learning_rate=0.01), epochs=5)
>>> network.evaluate(data.x_test, data.y_test).accuracy > 0.9
True
"""

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ChainruleError
from chainrule.data import DATASETS, Dataset, load_dataset
from chainrule.distillation import distill
from chainrule.engine import ENGINES
from chainrule.ensemble import Ensemble
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.augmentation import Augmentation
from chainrule.nn.initializers import INITIALIZERS
from chainrule.nn.losses import LOSSES
from chainrule.nn.views import Views
from chainrule.optim.optimizers import NAG, OPTIMIZERS, SGD, AdaGrad, Adam, Eve, Lion, Momentum, Nadam, RAdam, RMSprop
from chainrule.optim.schedules import SCHEDULES
from chainrule.saved_models import load_model, save_model
from chainrule.training.callbacks import Callback, EarlyStopping, ReduceOnPlateau

if TYPE_CHECKING:
    from chainrule.core.plugins import load_plugin as load_plugin
    from chainrule.report import write_report as write_report
    from chainrule.runs import TrainConfig as TrainConfig
    from chainrule.runs import train as train
    from chainrule.sweeps import run_sweep as run_sweep

__version__ = "0.2.0.dev0"

__all__ = [
    "ACTIVATIONS",
    "DATASETS",
    "ENGINES",
    "INITIALIZERS",
    "LOSSES",
    "NAG",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdaGrad",
    "Adam",
    "Augmentation",
    "Callback",
    "ChainruleError",
    "Dataset",
    "EarlyStopping",
    "Ensemble",
    "Eve",
    "Lion",
    "Momentum",
    "Nadam",
    "NeuralNetwork",
    "RAdam",
    "RMSprop",
    "ReduceOnPlateau",
    "TrainConfig",
    "Views",
    "distill",
    "load_dataset",
    "load_model",
    "load_plugin",
    "run_sweep",
    "save_model",
    "train",
    "write_report",
]

# Loaded when they are first used: sweeps and reports need optional packages and take longer to import than the rest.
_LAZY = {
    "TrainConfig": "chainrule.runs",
    "load_plugin": "chainrule.core.plugins",
    "train": "chainrule.runs",
    "run_sweep": "chainrule.sweeps",
    "write_report": "chainrule.report",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
