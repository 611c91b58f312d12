"""The arrays of a network: named weights and biases that lie side by side in one flat buffer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chainrule.core.errors import ConfigError

__all__ = ["Array", "Labels", "ParameterDict", "aligned_zeros", "check_memory", "takes_weight_decay"]

Array: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.integer[Any]]

# Elements of a chunk of the flat buffer. An update makes a handful of temporaries of this size, which then stay in a
# core's own cache (128 KiB each in float32) instead of travelling through memory.
_CHUNK = 32768


def takes_weight_decay(name: str) -> bool:
    """Whether weight decay applies to a parameter of this name: to weights, not to biases and scales."""
    return not name.endswith(("biases", "scales"))


def aligned_zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> Array:
    """Zeros that begin at a multiple of 64 bytes: a processor's widest loads then never straddle two cache lines."""
    size, width = int(np.prod(shape)), np.dtype(dtype).itemsize
    memory = np.zeros(size * width + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array: Array = memory[start : start + size * width].view(dtype).reshape(shape)
    return array


def check_memory(size: int) -> None:
    """Raise MemoryError where `size` bytes are not to be had; safetensors would print a panic there, or hang.

    Args:
        size: of what it reads; twice that of what it writes, which it copies.
    """
    np.empty(size + 2**20, np.uint8)


class ParameterDict(dict[str, Array]):
    """`{"layer1.weights": (d, h), "layer1.biases": (h,), "layer2.weights": ...}`, all views of one flat array.

    Reading and iterating work as in any dict. Setting a name copies into its view, so that the flat array and the
    views can never part; no name can be added or removed. In the flat array all weights come first, then all biases and
    scales, so that whatever applies to weights only (weight decay) applies to one contiguous range of memory.

    Args:
        sizes: width of each layer, inputs first: `[784, 128, 10]` makes two layers of weights.
        dtype: float32 or float64.
        normalized: whether the hidden layers are normalized: they have `scales`, and the buffers `mean` and `variance`.

    Attributes:
        sizes: as given.
        normalized: as given.
        flat: every element, (p,).
        flat_weights: the part of `flat` that holds weights.
        flat_biases: the rest.
        buffers: arrays that belong to the layers but are not trained, by name such as "layer1.mean".
        memory: `flat` followed by the buffers, as one array: all that must be kept of a network.

    >>> parameters = ParameterDict([2, 3, 1], "float32")
    >>> {name: array.shape for name, array in parameters.items()}
    {'layer1.weights': (2, 3), 'layer1.biases': (3,), 'layer2.weights': (3, 1), 'layer2.biases': (1,)}
    >>> parameters["layer2.biases"] = 7.0
    >>> parameters.flat
    array([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 7.], dtype=float32)
    """

    def __init__(self, sizes: Sequence[int], dtype: DTypeLike, normalized: bool = False) -> None:
        super().__init__()
        self.sizes, self.normalized = tuple(sizes), normalized
        layers = list(enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1))
        hidden = [(number, fan_out) for number, (_, fan_out) in layers[:-1]] if normalized else []
        shapes: dict[str, tuple[int, ...]] = {f"layer{number}.weights": shape for number, shape in layers}
        n_weights = sum(fan_in * fan_out for _, (fan_in, fan_out) in layers)
        shapes |= {f"layer{number}.biases": (fan_out,) for number, (_, fan_out) in layers}
        shapes |= {f"layer{number}.scales": (width,) for number, width in hidden}
        buffers = {f"layer{number}.{name}": (width,) for number, width in hidden for name in ("mean", "variance")}
        n_parameters = n_weights + sum(self.sizes[1:]) + sum(width for _, width in hidden)
        self.memory: Array = aligned_zeros(n_parameters + 2 * sum(width for _, width in hidden), dtype)
        self.flat = self.memory[:n_parameters]
        self.flat_weights, self.flat_biases = self.flat[:n_weights], self.flat[n_weights:]
        views, start = {}, 0
        for name, shape in (shapes | buffers).items():
            stop = start + math.prod(shape)
            views[name], start = self.memory[start:stop].reshape(shape), stop
        # Layer by layer: in the order in which they are shown and saved.
        for name in sorted(shapes, key=lambda name: int(name.partition(".")[0].removeprefix("layer"))):
            super().__setitem__(name, views[name])
        self.buffers = {name: views[name] for name in buffers}

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise ConfigError(f"There is no parameter {name!r}; the network has {', '.join(self)}.")
        view, given = self[name], np.asarray(value)
        if given.shape not in ((), view.shape) or given.dtype.kind not in "iufb":
            raise ConfigError(
                f"{name} holds numbers in the shape {view.shape}; an array of shape {given.shape} with {given.dtype} "
                "does not fit."
            )
        view[...] = given

    def _refuse(self, *_: object, **__: object) -> Any:
        """Replaces every method by which a dict can lose or gain a key."""
        raise ConfigError("A network's parameters can be changed, but none can be added or removed.")

    __delitem__ = pop = popitem = clear = setdefault = __ior__ = _refuse

    def update(self, *others: Any, **values: Any) -> None:
        """Copy values into their views, as setting each name does."""
        for name, value in dict(*others, **values).items():
            self[name] = value

    def by_layer(self) -> list[dict[str, Array]]:
        """The parameters of each layer by their own name: `[{"weights": ..., "biases": ...}, ...]`."""
        return self._split_by_layer(self)

    def buffers_by_layer(self) -> list[dict[str, Array]]:
        """The buffers of each layer by their own name: `[{"mean": ..., "variance": ...}, ..., {}]`."""
        return self._split_by_layer(self.buffers)

    def _split_by_layer(self, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
        layers: list[dict[str, Array]] = [{} for _ in self.sizes[1:]]
        for name, view in arrays.items():
            layer, _, own = name.partition(".")
            layers[int(layer.removeprefix("layer")) - 1][own] = view
        return layers

    def chunks(self) -> Iterator[tuple[str, Array]]:
        """The flat array in large chunks, each named "weights" or "biases" after what it holds."""
        for name, part in (("weights", self.flat_weights), ("biases", self.flat_biases)):
            for start in range(0, part.size, _CHUNK):
                yield name, part[start : start + _CHUNK]

    def zeros_like(self) -> ParameterDict:
        """The same names, shapes and dtype, all 0."""
        return ParameterDict(self.sizes, self.flat.dtype, self.normalized)

    def copy(self) -> ParameterDict:
        """A copy with a buffer of its own."""
        twin = self.zeros_like()
        twin.memory[...] = self.memory
        return twin

    # Copied view by view, the copies would no longer share one buffer.
    def __copy__(self) -> ParameterDict:
        return self.copy()

    def __deepcopy__(self, memo: Mapping[int, object]) -> ParameterDict:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.sizes, self.normalized, self.memory)


def _restore(sizes: Sequence[int], normalized: bool, memory: Array) -> ParameterDict:
    """Rebuild a ParameterDict that was sent to another process."""
    parameters = ParameterDict(sizes, memory.dtype, normalized)
    parameters.memory[...] = memory
    return parameters
