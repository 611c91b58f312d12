"""Saving networks and ensembles to model files, and loading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chainrule.core.errors import ConfigError, ModelFileError, OutputError
from chainrule.core.files import converting_write_errors
from chainrule.ensemble import Ensemble
from chainrule.neural_network import NeuralNetwork
from chainrule.nn import model_file
from chainrule.nn.network import Network

__all__ = ["load_model", "save_model"]


def load_model(path: Path | str) -> NeuralNetwork | Ensemble:
    """Load a network or an ensemble from a model file, such as the `model.safetensors` of a run folder.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or does not describe a network that fits it.
    """
    if isinstance(path, str | Path) and Path(path).is_dir():
        raise ModelFileError(
            f"{path} is a folder. Give the model file in it, such as {Path(path, 'model.safetensors')}."
        )
    networks = model_file.read_model(path, NeuralNetwork)
    if isinstance(networks, NeuralNetwork):
        return networks
    try:
        return Ensemble(networks)
    except ConfigError as error:
        raise ModelFileError(f"Cannot read the model {path}: {error}") from error


def save_model(network: Network | Ensemble, path: Path | str, classes: Sequence[str] = ()) -> None:
    """Write a network or an ensemble to a model file, which `load_model` reads.

    Args:
        network: what to save. The members of an ensemble are written to one file.
        path: the file, in an existing folder. It is replaced if it exists.
        classes: class names to store with it.

    Raises:
        ConfigError: `network` is no network and no ensemble.
        OutputError: the file cannot be written.
    """
    if not isinstance(network, Network | Ensemble):
        raise ConfigError(f"save_model takes a network and a path, got {network!r:.80} as the network.")
    if not Path(path).parent.is_dir():
        raise OutputError(f"Cannot write to {path}: there is no folder {Path(path).parent}. Create the folder first.")
    with converting_write_errors(Path(path)):
        saved = network.members if isinstance(network, Ensemble) else network
        model_file.save_model(saved, path, tuple(classes))
