"""Batch normalization: each neuron's z gets mean 0 and variance 1 over the batch, and is then scaled and shifted.

    mean, variance     of z over the batch, per neuron
    zhat = (z - mean) / sqrt(variance + epsilon)
    y    = scale * zhat + bias                           scale and bias are trained; the bias takes the place of the
                                                         layer's, which the mean would cancel
    dL/dz = scale / sqrt(variance + epsilon) * (dL/dy - mean of dL/dy - zhat * mean of (dL/dy * zhat))

since z moves its mean and variance, too (docs/maths.md derives it). While training, running means of `mean` and
`variance` are kept; predictions use these, and are the predictions of a network without normalization whose weights
have absorbed them (`fold`). Reference: Ioffe and Szegedy, arXiv 1502.03167 (2015).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chainrule.nn.parameters import Array

__all__ = ["EPSILON", "MOMENTUM", "Normalized", "fold", "normalize", "normalize_backward", "track"]

EPSILON = 1e-5
# The share of the newest batch in the running means, as in PyTorch.
MOMENTUM = 0.1


class Normalized(NamedTuple):
    """What the forward pass computes for the backward pass and the running means.

    Attributes:
        zhat: (n, h).
        mean: (h,).
        variance: (h,), divided by n.
    """

    zhat: Array
    mean: Array
    variance: Array


def normalize(z: Array) -> Normalized:
    """zhat of a batch, (n, h)."""
    mean = z.mean(axis=0)
    centered = z - mean
    variance = (centered * centered).mean(axis=0)
    return Normalized(centered / np.sqrt(variance + z.dtype.type(EPSILON)), mean, variance)


def normalize_backward(delta: Array, normalized: Normalized, scales: Array) -> tuple[Array, Array, Array]:
    """The chain rule through normalization.

    Args:
        delta: dL/dy, (n, h).
        normalized: of the forward pass.
        scales: (h,).

    Returns:
        dL/dz, (n, h), dL/dscale, (h,), and dL/dbias, (h,).
    """
    zhat, _, variance = normalized
    biases_slope, scales_slope = delta.sum(axis=0), (delta * zhat).sum(axis=0)
    size = delta.dtype.type(len(delta))
    centered = delta - biases_slope / size - zhat * (scales_slope / size)
    return centered * (scales / np.sqrt(variance + delta.dtype.type(EPSILON))), scales_slope, biases_slope


def track(mean: Array, variance: Array, normalized: Normalized) -> None:
    """Move the running mean and variance, (h,) each and changed in place, towards those of a batch."""
    share = mean.dtype.type(MOMENTUM)
    mean += share * (normalized.mean - mean)
    variance += share * (normalized.variance - variance)


def fold(weights: Array, biases: Array, scales: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Weights and biases of the layer without normalization that predicts the same: (d, h) and (h,)."""
    factor = scales / np.sqrt(variance + weights.dtype.type(EPSILON))
    return weights * factor, biases - mean * factor
