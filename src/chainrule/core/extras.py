"""Optional packages: a missing one is reported with the extra that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chainrule.core.errors import missing_extra

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """A block, or by decoration a function, that imports packages of an extra.

    Args:
        feature: what needs them, in the plural, such as "Reports".
        extra: the name of the extra in `pip install 'chainrule[extra]'`.

    Raises:
        ConfigError: one of the packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(feature, extra, error) from error
