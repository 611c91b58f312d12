"""A registry: names as in configurations, and the objects registered under them.

Each kind of part (optimizers, activations, losses, initializers, datasets) has one registry. A part is registered where
it is defined; the command line, the documentation and the tests find it there, so adding one is one edit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from chainrule.core.errors import ConfigError

__all__ = ["Registry", "UnknownNameError", "did_you_mean"]

Part = TypeVar("Part")


class UnknownNameError(ConfigError, KeyError):
    """A name that is not registered."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint such as ``" Did you mean 'adam'?"``, or "" if no known name is similar.

    >>> did_you_mean("adm", ["adam", "sgd"])
    " Did you mean 'adam'?"
    >>> did_you_mean("adm", ["sgd"])
    ''
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


class Registry(Mapping[str, Part]):
    """A mapping from names to parts, in the order they were registered. Look-ups ignore case and accept aliases.

    Args:
        kind: what the parts are, for messages.
        check: raises ConfigError for a new part of the wrong kind.

    >>> SHAPES: Registry[int] = Registry("shape")
    >>> SHAPES.register("square", aliases=("quadrangle",))(4)
    4
    >>> SHAPES.canonical("quadrangle")
    'square'
    >>> SHAPES["Square"]
    4
    >>> SHAPES["sqare"]
    Traceback (most recent call last):
    chainrule.core.registry.UnknownNameError: Unknown shape 'sqare'. Did you mean 'square'? Choose from: square.
    """

    def __init__(self, kind: str, check: Callable[[Part], None] = lambda part: None) -> None:
        self.kind = kind
        self._check = check
        self._parts: dict[str, Part] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *, aliases: Iterable[str] = ()) -> Callable[[Part], Part]:
        """A decorator that registers a part.

        Args:
            name: its canonical name, which configurations and reports record.
            aliases: other names accepted wherever a name is.

        Raises:
            ConfigError: a name is taken (case ignored); it has characters other than letters, digits, `_`, `-` and `.`;
                or the part is not of the kind that the registry holds.
        """

        def add(part: Part) -> Part:
            for new in (name, *aliases):
                if not isinstance(new, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}", new):
                    raise ConfigError(
                        f"The name of a {self.kind} must have 1 to 40 letters, digits, _, - or . in it, got {new!r}."
                    )
                if new in self:
                    raise ConfigError(f"The {self.kind} {new!r} is registered already; give the new one another name.")
            try:
                self._check(part)
            except ConfigError:
                raise
            except Exception as error:
                raise ConfigError(f"The {self.kind} {name!r} fails: {type(error).__name__}: {error}") from error
            self._parts[name] = part
            self._aliases.update((alias.lower(), name) for alias in (name, *aliases))
            return part

        return add

    def canonical(self, name: str) -> str:
        """The registered spelling of `name`.

        Raises:
            UnknownNameError: nothing is registered under it; the message lists what is.
        """
        if isinstance(name, str) and name.lower() in self._aliases:
            return self._aliases[name.lower()]
        hint = did_you_mean(str(name), [*self._aliases, *self])
        raise UnknownNameError(f"Unknown {self.kind} {name!r:.100}.{hint} Choose from: {', '.join(self)}.")

    @property
    def aliases(self) -> Mapping[str, str]:
        """Each alias that is not itself a registered name, with its canonical name."""
        return {alias: name for alias, name in self._aliases.items() if alias != name.lower()}

    def name_of(self, part: Part) -> str:
        """The name under which a part is registered.

        Raises:
            UnknownNameError: it is not registered.
        """
        for name, known in self._parts.items():
            if known is part:
                return name
        raise UnknownNameError(f"{part!r:.100} is not a registered {self.kind}. Register it under a name first.")

    def __getitem__(self, name: str) -> Part:
        return self._parts[self.canonical(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
