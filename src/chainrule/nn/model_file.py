"""Saving the parameters of networks as safetensors, and reading them back: data only, checked, no code.

A file holds one network, or the members of an ensemble, whose arrays are named "member0.layer1.weights" and so on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chainrule.core.errors import ModelFileError
from chainrule.core.files import size_of, write_bytes
from chainrule.core.registry import UnknownNameError
from chainrule.nn.losses import LOSSES
from chainrule.nn.network import Network
from chainrule.nn.parameters import Array, check_memory

__all__ = ["read_class_names", "read_model", "save_model"]

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

_FORMAT = "chainrule model 1"
_ENSEMBLE_FORMAT = "chainrule ensemble 1"


def save_model(networks: Network | Sequence[Network], path: Path | str, classes: tuple[str, ...] = ()) -> None:
    """Write the parameters, and what is needed to rebuild the network or the members of an ensemble, to `path`.

    Args:
        networks: what to save: one network, or the members of an ensemble.
        path: the file to replace; it ends in `.safetensors` by custom.
        classes: class names to keep with it.

    Raises:
        OSError: the file could not be written; an older one is still whole.
    """
    from safetensors.numpy import save

    # One entry only: safetensors writes several in an order that changes from run to run.
    if isinstance(networks, Network):
        tensors = _list_arrays(networks)
        metadata = {_FORMAT: json.dumps({**_describe(networks), "classes": classes})}
    else:
        tensors = {
            f"{_prefix(number)}{name}": array
            for number, network in enumerate(networks)
            for name, array in _list_arrays(network).items()
        }
        members = [_describe(network) for network in networks]
        metadata = {_ENSEMBLE_FORMAT: json.dumps({"members": members, "classes": classes})}
    check_memory(2 * sum(array.nbytes for array in tensors.values()))
    # safetensors would write the wrong bytes for an array that is not contiguous.
    write_bytes(Path(path), save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata))


def _prefix(member: int) -> str:
    return f"member{member}."


def _list_arrays(network: Network) -> dict[str, Array]:
    return {**network.parameters, **network.parameters.buffers}


def _describe(network: Network) -> dict[str, Any]:
    """The arguments that rebuild a network."""
    return {
        "sizes": network.sizes,
        "activation": network.activation,
        "weight_init": network.weight_init,
        "loss": network.loss,
        "loss_hyperparameters": network.objective.loss.as_dict(),
        **network.training_parts,
        "dtype": network.dtype,
    }


def read_model(path: Path | str, network_type: type[AnyNetwork]) -> AnyNetwork | tuple[AnyNetwork, ...]:
    """Read what `save_model` wrote: a network, or the members of an ensemble.

    Args:
        path: the file.
        network_type: `Network`, or a subclass with the same constructor.

    Raises:
        ModelFileError: the file is missing, damaged, of another format, or does not describe networks that fit it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size = size_of(Path(path))
        with safe_open(path, framework="numpy") as file:
            check_memory(size)
            description = _parse_metadata(path, file.metadata() or {})
            members = description.get("members")
            descriptions = [description] if members is None else members
            prefixes = [""] if members is None else [_prefix(number) for number in range(len(members))]
            # Before anything of this size is allocated: sizes that do not fit the file are not believed.
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            expected = {
                prefix + name: shape
                for prefix, found in zip(prefixes, descriptions, strict=True)
                for name, shape in _shapes(found.get("sizes"), found.get("batch_norm", False)).items()
            }
            if shapes != expected:
                raise ModelFileError(f"{path} holds arrays of shapes {shapes!s:.500}, and describes {expected!s:.500}.")
            networks = tuple(
                _build_network(path, file, found, prefix, network_type)
                for prefix, found in zip(prefixes, descriptions, strict=True)
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UnknownNameError):
            raise ModelFileError(
                f"{path} needs a part that is not there: {error} Is it in a plugin? Load that first."
            ) from error
        raise ModelFileError(f"Cannot read the model {path}: {error!s:.500}") from error
    return networks[0] if members is None else networks


def read_class_names(path: Path | str) -> tuple[str, ...]:
    """The class names that were saved with a model; none if there are none. Raises ModelFileError."""
    from safetensors import SafetensorError, safe_open

    try:
        size_of(Path(path))
        with safe_open(path, framework="numpy") as file:
            classes = _parse_metadata(path, file.metadata() or {}).get("classes", [])
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise ModelFileError(f"Cannot read the model {path}: {error!s:.500}") from error
    return tuple(map(str, classes)) if isinstance(classes, list) else ()


def _parse_metadata(path: Path | str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description in a file's metadata: of a network, or with "members" of an ensemble."""
    name = next((known for known in (_FORMAT, _ENSEMBLE_FORMAT) if known in metadata), None)
    if name is None:
        found = f"its metadata has {', '.join(metadata):.200}" if metadata else "it has no metadata"
        raise ModelFileError(f"{path} is not a {_FORMAT!r} file, nor a {_ENSEMBLE_FORMAT!r} file: {found}.")
    description: Any = json.loads(metadata[name])
    if not isinstance(description, dict) or ("members" in description) != (name == _ENSEMBLE_FORMAT):
        raise ModelFileError(f"{path} describes no network: {description!r:.80}.")
    members = description.get("members", [{}])
    if not isinstance(members, list) or not members or not all(isinstance(member, dict) for member in members):
        raise ModelFileError(f"{path} describes no networks: {members!r:.80}.")
    return description


def _build_network(
    path: Path | str, file: Any, description: Mapping[str, Any], prefix: str, network_type: type[AnyNetwork]
) -> AnyNetwork:
    """A network as a file describes it, with the arrays under a prefix."""
    arguments = {name: value for name, value in description.items() if name != "classes"}
    # Files of version 0.1 have none.
    hyperparameters = arguments.pop("loss_hyperparameters", {})
    arguments["loss"] = LOSSES[arguments["loss"]](**hyperparameters)
    network = network_type(**arguments)
    for name, parameter in _list_arrays(network).items():
        array = file.get_tensor(prefix + name)
        if array.shape != parameter.shape or array.dtype != parameter.dtype or not np.isfinite(array).all():
            raise ModelFileError(
                f"{path}: {prefix}{name} must be finite, {parameter.dtype} and of shape {parameter.shape}; "
                f"got {array.dtype}, {array.shape}."
            )
        parameter[...] = array
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
