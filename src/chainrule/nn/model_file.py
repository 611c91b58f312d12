"""Saving a network's parameters as safetensors, and reading them back: data only, checked, no code."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chainrule.core.errors import ModelFileError
from chainrule.core.files import size_of, write_bytes
from chainrule.core.registry import UnknownNameError
from chainrule.nn.losses import LOSSES
from chainrule.nn.network import Network
from chainrule.nn.parameters import check_memory

__all__ = ["read_model", "save_model"]

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

_FORMAT = "chainrule model 1"


def save_model(network: Network, path: Path | str, classes: tuple[str, ...] = ()) -> None:
    """Write the parameters, and what is needed to rebuild the network, to `path`.

    Args:
        network: what to save.
        path: the file to replace; it ends in `.safetensors` by custom.
        classes: class names to keep with it.

    Raises:
        OSError: the file could not be written; an older one is still whole.
    """
    from safetensors.numpy import save

    description = {
        "sizes": network.sizes,
        "activation": network.activation,
        "weight_init": network.weight_init,
        "loss": network.loss,
        "loss_hyperparameters": network.objective.loss.as_dict(),
        **network.training_parts,
        "dtype": network.dtype,
        "classes": classes,
    }
    # One entry only: safetensors writes several in an order that changes from run to run.
    metadata = {_FORMAT: json.dumps(description)}
    # safetensors would write the wrong bytes for an array that is not contiguous.
    parameters = network.parameters
    tensors = {name: np.ascontiguousarray(array) for name, array in {**parameters, **parameters.buffers}.items()}
    check_memory(2 * parameters.memory.nbytes)
    write_bytes(Path(path), save(tensors, metadata))


def read_model(path: Path | str, network_type: type[AnyNetwork]) -> AnyNetwork:
    """Read the network that `save_model` wrote.

    Args:
        path: the file.
        network_type: `Network`, or a subclass with the same constructor.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or does not describe a network that fits it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size = size_of(Path(path))
        with safe_open(path, framework="numpy") as file:
            check_memory(size)
            metadata: dict[str, str] = file.metadata() or {}
            if _FORMAT not in metadata:
                found = f"its metadata has {', '.join(metadata):.200}" if metadata else "it has no metadata"
                raise ModelFileError(f"{path} is not a {_FORMAT!r} file: {found}.")
            description: Any = json.loads(metadata[_FORMAT])
            if not isinstance(description, dict):
                raise ModelFileError(f"{path} describes no network: {description!r:.80}.")
            description.pop("classes", None)
            # Files of version 0.1 have none.
            hyperparameters = description.pop("loss_hyperparameters", {})
            # Before anything of this size is allocated: sizes that do not fit the file are not believed.
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            expected = _shapes(description.get("sizes"), description.get("batch_norm", False))
            if shapes != expected:
                raise ModelFileError(f"{path} holds arrays of shapes {shapes!s:.500}, and describes {expected!s:.500}.")
            description["loss"] = LOSSES[description["loss"]](**hyperparameters)
            network = network_type(**description)
            for name, parameter in {**network.parameters, **network.parameters.buffers}.items():
                array = file.get_tensor(name)
                if array.shape != parameter.shape or array.dtype != parameter.dtype or not np.isfinite(array).all():
                    raise ModelFileError(
                        f"{path}: {name} must be finite, {parameter.dtype} and of shape {parameter.shape}; "
                        f"got {array.dtype}, {array.shape}."
                    )
                parameter[...] = array
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, UnknownNameError):
            raise ModelFileError(
                f"{path} needs a part that is not there: {error} Is it in a plugin? Load that first."
            ) from error
        raise ModelFileError(f"Cannot read the model {path}: {error!s:.500}") from error
    return network


def _shapes(sizes: Any, normalized: bool) -> dict[str, tuple[int, ...]]:
    """The shapes that a network's parameters and buffers have; none where the sizes are no list of numbers."""
    if not isinstance(sizes, list) or not all(isinstance(size, int) for size in sizes):
        return {}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
        shapes |= {f"layer{layer}.weights": (fan_in, fan_out), f"layer{layer}.biases": (fan_out,)}
        if normalized and layer < len(sizes) - 1:
            shapes |= {f"layer{layer}.{name}": (fan_out,) for name in ("scales", "mean", "variance")}
    return shapes
