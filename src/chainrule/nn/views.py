"""Test-time averaging: the answers to an image and to slightly changed copies of it are averaged.

The copies are shifted by whole pixels up, down, left and right, mirrored left to right, or both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Bool, Configurable, Int
from chainrule.core.validation import check_image_shape
from chainrule.nn.parameters import Array

__all__ = ["Views"]


class Views(Configurable):
    """Which copies of an image are predicted besides the image itself.

    >>> Views(view_shift=1, view_flip=True).count
    10
    """

    view_shift = Int(
        0, "pixels by which test images are shifted up, down, left and right, to average the answers", ge=0,
        group="images",
    )  # fmt: skip
    view_flip = Bool(False, "average the answers to test images and to their mirror images", group="images")

    @property
    def count(self) -> int:
        """How many answers are averaged; 1 is the image alone."""
        return (5 if self.view_shift else 1) * (2 if self.view_flip else 1)

    def check_shape(self, image_shape: Any, n_features: int) -> tuple[int, int]:
        """The shape of images of so many pixels that have these views.

        Raises:
            ConfigError: there is none, or a shift leaves nothing of an image.
        """
        shape = check_image_shape(image_shape, n_features)
        if shape is None:
            active = ", ".join(name for name, value in self.as_dict().items() if value)
            raise ConfigError(f"{active}: only images have views, and the data have no image_shape.")
        height, width = shape
        if self.view_shift >= min(height, width):
            raise ConfigError(
                f"view_shift must be less than {min(height, width)} for images of {height} x {width}, "
                f"got {self.view_shift}."
            )
        return height, width

    def make(self, x: Array, image_shape: tuple[int, int] | None) -> Iterator[Array]:
        """The views, the images themselves first: (n, d) each. Pixels from outside of an image are 0.

        Raises:
            ConfigError: the samples are no images, or too small ones.
        """
        height, width = self.check_shape(image_shape, x.shape[1])
        images = x.reshape(len(x), height, width)
        for mirrored in (images, images[:, :, ::-1])[: 2 if self.view_flip else 1]:
            yield np.ascontiguousarray(mirrored).reshape(x.shape)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)) if self.view_shift else ():
                yield _shift(mirrored, down * self.view_shift, right * self.view_shift).reshape(x.shape)


def _shift(images: Array, down: int, right: int) -> Array:
    """Images (n, height, width) moved by some pixels."""
    shifted = np.zeros_like(images, order="C")
    height, width = images.shape[1:]
    shifted[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = images[
        :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return shifted
