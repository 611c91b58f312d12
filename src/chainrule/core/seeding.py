"""Random numbers: one seed for a run, and one independent generator for each use of it.

Because each use has a generator of its own, changing the batch size or the depth of a network does not change which
images are held out for validation, and the other way round. NumPy's global generator is never touched.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from chainrule.core.errors import ConfigError

__all__ = ["generator"]

Purpose = Literal["initial weights", "shuffling", "validation split"]
# The order is part of every seed's meaning: append, never reorder.
_PURPOSES: tuple[Purpose, ...] = ("initial weights", "shuffling", "validation split")


def generator(seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator for one purpose of a run: child number k of `np.random.SeedSequence(seed)`.

    Args:
        seed: a whole number of 0 or more.
        purpose: what the numbers are for.

    Raises:
        ConfigError: the seed is negative or no whole number.

    >>> float(generator(0, "shuffling").random()) == float(generator(0, "shuffling").random())
    True
    >>> float(generator(0, "shuffling").random()) == float(generator(0, "initial weights").random())
    False
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed must be a whole number of 0 or more, got {seed!r}.")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(_PURPOSES.index(purpose),)))
