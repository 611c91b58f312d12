"""Distillation: targets that follow the probabilities of a trained network or ensemble, the teacher.

Reference: Hinton, Vinyals and Dean, arXiv 1503.02531 (2015).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from chainrule.core.errors import ConfigError, ModelFileError
from chainrule.data import Dataset
from chainrule.ensemble import Ensemble
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.model_file import read_class_names
from chainrule.saved_models import load_model

__all__ = ["distill", "load_teacher"]


def distill(
    data: Dataset, teacher: NeuralNetwork | Ensemble, *, share: float = 0.9, temperature: float = 1.0
) -> Dataset:
    """The same dataset, with training targets that are mixed with the teacher's probabilities.

    The targets are (1 - share) y + share p. With a temperature T, p_j is proportional to the teacher's p_j**(1 / T).

    Args:
        data: samples with classes. Validation and test targets stay as they are.
        teacher: predicts the same classes from the same features.
        share: the weight of the teacher's probabilities, from 0 to 1.
        temperature: above 1, classes that the teacher considers improbable get more weight.

    Raises:
        ConfigError: the teacher does not fit the data, or a number is out of range.

    >>> data = Dataset.from_arrays([[0.0], [0.0]], [0, 1])
    >>> distill(data, NeuralNetwork([1, 2]), share=0.5).y_train
    array([[0.75, 0.25],
           [0.25, 0.75]], dtype=float32)
    """
    if not isinstance(teacher, NeuralNetwork | Ensemble):
        raise ConfigError(f"The teacher must be a NeuralNetwork or an Ensemble, got {teacher!r:.100}.")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigError(f"share must be a number from 0 to 1, got {share!r:.100}.")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < np.inf:
        raise ConfigError(f"temperature must be a number above 0, got {temperature!r:.100}.")
    if not data.classes:
        raise ConfigError("A teacher needs data with classes, and the targets of this dataset are other numbers.")
    if not teacher.objective.has_classes:
        loss = type(teacher.objective.loss).__name__
        raise ConfigError(f"The teacher must have softmax outputs, one for each class; its loss is {loss}.")
    needed, found = (data.x_train.shape[1], len(data.classes)), (teacher.sizes[0], teacher.sizes[-1])
    if needed != found:
        raise ConfigError(
            f"The teacher must have {needed[0]} inputs and {needed[1]} outputs, as the data have features and classes; "
            f"it has {found[0]} and {found[1]}."
        )
    # In double precision, so that the rows sum to 1 before they are rounded.
    logits = teacher.compute_logits(data.x_train).astype(np.float64) / temperature
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    given = np.eye(needed[1])[data.y_train] if data.y_train.ndim == 1 else data.y_train
    return replace(data, y_train=((1 - share) * given + share * probabilities).astype(data.x_train.dtype))


def load_teacher(path: Path | str, classes: tuple[str, ...]) -> NeuralNetwork | Ensemble:
    """Load a teacher from a model file or a run folder.

    Args:
        path: the file, or the folder that holds `model.safetensors`.
        classes: the class names of the data; those that were saved with the model must be the same.

    Raises:
        ConfigError: there is no such file, it is no model file or damaged, or it is a model of other classes.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.safetensors"
    if not file.is_file():
        raise ConfigError(f"teacher must be a model file or a run folder with one; there is no file {file}.")
    try:
        teacher, found = load_model(file), read_class_names(file)
    except ModelFileError as error:
        raise ConfigError(f"teacher must be a model file or a run folder with one. {error}") from error
    if found and classes and found != classes:
        raise ConfigError(
            f"The teacher {file} knows other classes than the data: {', '.join(found):.200}; the data have "
            f"{', '.join(classes):.200}."
        )
    return teacher
