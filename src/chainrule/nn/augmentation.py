"""Augmentation: each time a training image is used, it is moved and distorted a little, at random.

Where a pixel at row i and column j of the result comes from, relative to the middle of the image:

    x = -j where the image is mirrored, else j;  y = i
    (y, x) = zoom * rotation @ (y, x) + shift + elastic(i, j)

The value there is interpolated between the four pixels around it (bilinear); outside of the image it is 0. The elastic
displacement is smooth noise: random vectors at the nodes of a lattice, interpolated in between. References: Simard,
Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis" (2003);
Perlin, "An Image Synthesizer" (1985) for the noise; DeVries and Taylor, "Improved Regularization of Convolutional
Neural Networks with Cutout" (2017).

`mixup` then adds to each sample, of images or other data, a part of another sample of the batch, and to its target the
same part of the other one's target: x <- s x + (1 - s) x', with s uniform from 1 - mixup to 1. Reference: Zhang et al.,
"mixup: Beyond Empirical Risk Minimization" (2018), where s has a beta distribution; mixup = 1 is its alpha = 1.

Nothing is stored: images are changed while a batch is gathered. As in dropout.py, the random numbers are a function of
the seed, the step and the sample's position in the batch, and of nothing else. The elementwise functions are written
for NumPy arrays; the compiled engine compiles the same source for single numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Bool, Configurable, Float, Int
from chainrule.nn.dropout import mix_bits, mix_row
from chainrule.nn.parameters import Array

__all__ = [
    *("LAYER_NUMBER", "NODES", "Augmentation", "Augmenter"),
    *("draw", "draw_node", "draw_partner", "draw_share", "interpolate", "rotate", "smooth"),
]

# Takes the place of the number of a layer where random bits are mixed; no network is as deep.
LAYER_NUMBER = 2**32
# Nodes of the lattice in either direction.
NODES = 5


class Augmentation(Configurable):
    """How much training images are changed at most; each image differently in each epoch.

    >>> Augmentation(shift=2, flip=True).is_active
    True
    """

    shift = Int(0, "whole pixels by which training images are shifted at most, in each direction", ge=0, group="images")
    flip = Bool(False, "mirror half of the training images, left to right", group="images")
    rotation = Float(0.0, "degrees by which training images are rotated at most", ge=0, le=180, group="images")
    zoom = Float(0.0, "largest relative change of width and of height of training images", ge=0, lt=1, group="images")
    elastic = Float(0.0, "pixels by which smooth noise displaces parts of training images", ge=0, group="images")
    cutout = Int(0, "side of a square that is set to 0 in each training image, in pixels", ge=0, group="images")
    mixup = Float(
        0.0, "largest share of another training sample that is mixed into each one", ge=0, le=1, group="training"
    )

    @property
    def is_active(self) -> bool:
        """Whether anything changes."""
        return any(self.as_dict().values())


def draw(bits: Any, number: Any) -> Any:
    """A random number in [0, 1): the `number`-th of a sample, from the 32 bits of its row."""
    return mix_bits(bits, np.uint32(number)) * (1.0 / 4294967296.0)


def draw_node(bits: Any, axis: Any, row: Any, column: Any) -> Any:
    """One component of the vector at a node of the lattice, in [-1, 1). The first eight numbers have other uses."""
    return 2.0 * draw(bits, 8 + (axis * NODES + row) * NODES + column) - 1.0


def draw_share(bits: Any, mixup: Any) -> Any:
    """How much of a sample stays its own, by mixup."""
    return 1.0 - mixup * draw(bits, 8 + 2 * NODES * NODES)


def draw_partner(bits: Any, row: Any, rows: Any) -> Any:
    """The position in a batch of `rows` samples of the one that is mixed with the one at `row`: another, at random."""
    return (row + 1 + np.int64(draw(bits, 9 + 2 * NODES * NODES) * (rows - 1))) % rows


def smooth(t: Any) -> Any:
    """A step from 0 to 1 with zero slope at both ends, for t in [0, 1]."""
    return t * t * (3.0 - 2.0 * t)


def rotate(y: Any, x: Any, cosine: Any, sine: Any, zoom_y: Any, zoom_x: Any) -> tuple[Any, Any]:
    """zoom * rotation @ (y, x)."""
    return zoom_y * (cosine * y - sine * x), zoom_x * (sine * y + cosine * x)


def interpolate(upper_left: Any, upper_right: Any, lower_left: Any, lower_right: Any, y: Any, x: Any) -> Any:
    """The value at (y, x) in a unit square with these corners."""
    upper = upper_left + (upper_right - upper_left) * x
    lower = lower_left + (lower_right - lower_left) * x
    return upper + (lower - upper) * y


class Augmenter:
    """An augmentation of images of one shape.

    Args:
        augmentation: how much they change.
        image_shape: (height, width); None if the samples are no images.
        n_features: of a sample.

    Attributes:
        settings: height and width (of other data, 1 and the number of features), then the settings in the order of
            `Augmentation`'s fields, float64.

    Raises:
        ConfigError: the samples are no images, or a setting is too large for them.
    """

    def __init__(self, augmentation: Augmentation, image_shape: tuple[int, int] | None, n_features: int) -> None:
        active = ", ".join(name for name, value in augmentation.as_dict().items() if value and name != "mixup")
        if image_shape is None and active:
            raise ConfigError(f"{active}: only images can be augmented, and the data have no image_shape.")
        image_shape = image_shape or (1, n_features)
        smallest = min(image_shape)
        for name in ("shift", "elastic", "cutout"):
            if active and (value := getattr(augmentation, name)) >= smallest:
                height, width = image_shape
                raise ConfigError(f"{name} must be less than {smallest} for images of {height} x {width}, got {value}.")
        self.augmentation = augmentation
        self.settings = np.array([*image_shape, *augmentation.as_dict().values()], np.float64)

    def make_scratch(self, dtype: DTypeLike) -> Array:
        """Zeros for a sample, then for one with its border, and for five numbers of each pixel of a row."""
        height, width = self.settings[:2].astype(int)
        return np.zeros(height * width + (height + 3) * (width + 3) + 5 * width, dtype)

    def mix(self, values: Array, key: int) -> Array:
        """Mix the samples of a batch, or their targets, by mixup: (n, any) -> (n, any)."""
        if not self.augmentation.mixup:
            return values
        rows = np.arange(len(values))
        with np.errstate(over="ignore"):
            bits = _mix_rows(key, len(values))
            share = draw_share(bits, self.augmentation.mixup).astype(values.dtype)[:, None]
            mixed: Array = share * values + (1 - share) * values[draw_partner(bits, rows, len(values))]
        return mixed

    def apply(self, x: Array, key: int) -> Array:
        """Change the images of a batch: (n, d) -> (n, d). `key` is that of the step, as for dropout."""
        with np.errstate(over="ignore"):  # random bits are mixed modulo 2**32
            return self._apply(x, key)

    def _apply(self, x: Array, key: int) -> Array:
        bits = _mix_rows(key, len(x))[:, None, None]
        height, width, shift, flip, rotation, zoom, elastic, cutout, _ = self.settings.tolist()
        i, j = np.arange(height)[:, None], np.arange(width)[None, :]
        angle = np.deg2rad(rotation) * (2.0 * draw(bits, 3) - 1.0)
        y, x_ = rotate(
            i - (height - 1) / 2,
            (j - (width - 1) / 2) * np.where((draw(bits, 2) < 0.5) & bool(flip), -1.0, 1.0),
            np.cos(angle),
            np.sin(angle),
            1.0 + zoom * (2.0 * draw(bits, 4) - 1.0),
            1.0 + zoom * (2.0 * draw(bits, 5) - 1.0),
        )
        y = y + (height - 1) / 2 + np.floor(draw(bits, 0) * (2 * shift + 1)) - shift
        x_ = x_ + (width - 1) / 2 + np.floor(draw(bits, 1) * (2 * shift + 1)) - shift
        if elastic:
            y, x_ = y + elastic * _make_noise(bits, 0, i, j), x_ + elastic * _make_noise(bits, 1, i, j)
        images = _sample(x.reshape(len(x), int(height), int(width)), y, x_)
        if cutout:
            top, left = np.floor(draw(bits, 6) * height) - cutout // 2, np.floor(draw(bits, 7) * width) - cutout // 2
            images[(i >= top) & (i < top + cutout) & (j >= left) & (j < left + cutout)] = 0
        return images.reshape(x.shape)


def _mix_rows(key: int, n: int) -> NDArray[np.uint32]:
    """32 random bits for each row of a batch."""
    rows = np.arange(n, dtype=np.uint64)
    bits: NDArray[np.uint32] = mix_row(np.uint64(key), np.array([LAYER_NUMBER], np.uint64), rows).astype(np.uint32)
    return bits


def _make_noise(bits: Any, axis: int, i: Any, j: Any) -> NDArray[np.float64]:
    """One component of the smooth noise at each pixel, (n, height, width), in [-1, 1]."""
    row, down = _find_cell(i)
    column, right = _find_cell(j)
    one, two, three, four = (draw_node(bits, axis, row + a, column + b) for a in (0, 1) for b in (0, 1))
    noise: NDArray[np.float64] = interpolate(one, two, three, four, smooth(down), smooth(right))
    return noise


def _find_cell(position: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The cell of the lattice that each row or column of pixels lies in, and where in it, from 0 to 1."""
    scaled = position * ((NODES - 1) / max(position.size - 1, 1))
    cell = np.minimum(scaled.astype(np.int64), NODES - 2)
    return cell, scaled - cell


def _sample(images: Array, y: NDArray[np.float64], x: NDArray[np.float64]) -> Array:
    """The values of images (n, height, width) at positions (n, height, width)."""
    n, height, width = images.shape
    padded = np.zeros((n, height + 3, width + 3), images.dtype)
    padded[:, 1 : height + 1, 1 : width + 1] = images
    y, x = np.clip(y, -1, height), np.clip(x, -1, width)
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    image = np.arange(n)[:, None, None]
    one, two, three, four = (padded[image, row + 1 + a, column + 1 + b] for a in (0, 1) for b in (0, 1))
    values: Array = interpolate(
        one, two, three, four, (y - row).astype(images.dtype), (x - column).astype(images.dtype)
    )
    return values
