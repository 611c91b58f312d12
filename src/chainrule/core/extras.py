"""Optional packages: whether one is installed, and the error for one that is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from chainrule.core.errors import missing_extra

__all__ = ["is_installed", "needs_extra"]


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported, without importing it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """A block, or by decoration a function, that imports packages of an extra for a `feature` such as "Reports".

    Raises:
        ConfigError: one of the packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(feature, extra, error) from error
