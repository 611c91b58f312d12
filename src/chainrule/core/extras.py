"""Optional packages: whether one is installed, and the error for one that is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from chainrule.core.errors import ConfigError

__all__ = ["is_installed", "missing_extra", "needs_extra"]


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported, without importing it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


def missing_extra(feature: str, extra: str, package: str | None) -> ConfigError:
    """The error for a feature of which an optional package is not installed."""
    return ConfigError(
        f"{feature} need packages that are not installed ({package}). Install them: pip install 'chainrule[{extra}]'"
    )


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """A block, or by decoration a function, that imports packages of an extra for a `feature` such as "Reports".

    Raises:
        ConfigError: one of the packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(feature, extra, error.name) from error
