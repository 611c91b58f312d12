"""Feedforward classifiers with forward and backward passes written by hand on NumPy.

>>> from chainrule import NeuralNetwork, OPTIMIZERS, load_dataset
>>> data = load_dataset("digits", seed=0)
>>> network = NeuralNetwork([64, 32, 10], activation="tanh", seed=0)
>>> history = network.fit(data, optimizer=OPTIMIZERS["adam"](learning_rate=0.01), epochs=5, seed=0)
>>> network.evaluate(data.x_test, data.y_test).accuracy > 0.9
True
"""

from chainrule.core.errors import ChainruleError
from chainrule.data import DATASETS, Dataset, load_dataset
from chainrule.engine import ENGINES
from chainrule.neural_network import NeuralNetwork, load_model
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.initializers import INITIALIZERS
from chainrule.nn.losses import LOSSES
from chainrule.nn.model_file import save_model
from chainrule.optim.optimizers import OPTIMIZERS

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "DATASETS",
    "ENGINES",
    "INITIALIZERS",
    "LOSSES",
    "OPTIMIZERS",
    "ChainruleError",
    "Dataset",
    "NeuralNetwork",
    "load_dataset",
    "load_model",
    "save_model",
]
