"""Random number generators: one seed per run, one independent generator per purpose.

Changing the batch size or the depth of a network therefore does not change which samples are held out for validation,
and vice versa. NumPy's global generator is never used.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from chainrule.core.errors import ConfigError

__all__ = ["derive_seed", "generator"]

Purpose = Literal["initial weights", "shuffling", "validation split", "dropout"]
# The position determines the generator: append, never reorder.
_PURPOSES: tuple[Purpose, ...] = ("initial weights", "shuffling", "validation split", "dropout")
# Spawn keys of members begin with this one, which is no position of a purpose.
_MEMBERS = 2**31


def generator(seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator for one purpose: child k of `np.random.SeedSequence(seed)` for the k-th purpose.

    Args:
        seed: an integer of at least 0.
        purpose: what the numbers are for.

    Raises:
        ConfigError: the seed is negative or no integer.

    >>> float(generator(0, "shuffling").random()) == float(generator(0, "shuffling").random())
    True
    >>> float(generator(0, "shuffling").random()) == float(generator(0, "initial weights").random())
    False
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed must be a whole number of 0 or more, got {seed!r}.")
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(_PURPOSES.index(purpose),)))


def derive_seed(seed: int, member: int) -> int:
    """The seed of a member of an ensemble: that of the ensemble for member 0, and one of its own for every other.

    Ensembles with neighboring seeds have no seed in common.

    >>> derive_seed(3, 0)
    3
    """
    if member == 0:
        return seed
    sequence = np.random.SeedSequence(seed, spawn_key=(_MEMBERS, member))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
