"""Settings: a named value with its default, its range, its flag and its help, declared in one line and nowhere else.

A class lists its settings as attributes; `Configurable` gives it a constructor that checks every value:

>>> class Oven(Configurable):
...     '''Bakes.'''
...     heat = Number(180.0, "degrees Celsius", flag="-t", at_least=50, at_most=250)
>>> Oven(heat="200").heat
200.0
>>> Oven(heat=900)
Traceback (most recent call last):
chainrule.errors.ConfigError: heat must be a number from 50 to 250, got 900.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload

from chainrule.errors import ConfigError
from chainrule.registry import Registry, did_you_mean

__all__ = [
    "Choice",
    "Configurable",
    "FolderName",
    "Number",
    "OptionalText",
    "Setting",
    "Switch",
    "Text",
    "Texts",
    "Whole",
    "Widths",
]

Value = TypeVar("Value")


class Setting(ABC, Generic[Value]):
    """One setting. On the class it is this object; on an instance it is the value.

    Args:
        default: the value where none is given.
        help: what it does, in a few words; the unit where there is one.
        flag: a short command-line flag beside `--<name>`, such as "-lr".
        group: the heading of `--help` under which it stands.
    """

    name = ""

    def __init__(self, default: Value, help: str, *, flag: str = "", group: str = "") -> None:
        self.default = default
        self.help = help
        self.flag = flag
        self.group = group

    @abstractmethod
    def parse(self, value: object) -> Value:
        """The value as this setting's type, from itself or from text as on a command line or in YAML.

        Raises:
            ConfigError: it is of the wrong type or out of range.
        """

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What may be given, to end the sentence "<name> must be ..."."""

    def refuse(self, value: object) -> ConfigError:
        """The error for a value that is not allowed."""
        got = repr(value)
        return ConfigError(f"{self.name} must be {self.allowed}, got {got if len(got) < 100 else got[:100] + '...'}.")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[Value]: ...
    @overload
    def __get__(self, instance: Configurable, owner: type) -> Value: ...
    def __get__(self, instance: Configurable | None, owner: type) -> Setting[Value] | Value:
        if instance is None:
            return self
        value: Value = instance.__dict__[self.name]
        return value

    def __set__(self, instance: Configurable, value: object) -> None:
        instance.__dict__[self.name] = self.parse(value)


class Number(Setting[float]):
    """A finite number. `above` and `below` are limits that it must not reach, `at_least` and `at_most` it may."""

    def __init__(
        self,
        default: float,
        help: str,
        *,
        flag: str = "",
        group: str = "",
        above: float | None = None,
        at_least: float | None = None,
        below: float | None = None,
        at_most: float | None = None,
    ) -> None:
        super().__init__(default, help, flag=flag, group=group)
        self.above, self.at_least, self.below, self.at_most = above, at_least, below, at_most

    def parse(self, value: object) -> float:
        if isinstance(value, bool):
            raise self.refuse(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise self.refuse(value) from None
        fits = (
            math.isfinite(number)
            and (self.above is None or number > self.above)
            and (self.at_least is None or number >= self.at_least)
            and (self.below is None or number < self.below)
            and (self.at_most is None or number <= self.at_most)
        )
        if not fits:
            raise self.refuse(value)
        return number

    @property
    def allowed(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"a number from {self.at_least:g} to {self.at_most:g}"
        limits = [
            f"{word} {limit:g}"
            for word, limit in (
                ("above", self.above),
                ("of at least", self.at_least),
                ("below", self.below),
                ("of at most", self.at_most),
            )
            if limit is not None
        ]
        return " and ".join([f"a number {limits[0]}", *limits[1:]]) if limits else "a finite number"


class Whole(Setting[int]):
    """A whole number from `at_least` to `at_most`. Text like "1e3" or a float like 16.0 is taken where it is whole."""

    def __init__(
        self, default: int, help: str, *, at_least: int, at_most: int = 10**9, flag: str = "", group: str = ""
    ) -> None:
        super().__init__(default, help, flag=flag, group=group)
        self.at_least, self.at_most = at_least, at_most

    def parse(self, value: object) -> int:
        number = _whole(value)
        if number is None or not self.at_least <= number <= self.at_most:
            raise self.refuse(value)
        return number

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.at_least} to {self.at_most}"


class Choice(Setting[str]):
    """One of a registry's names, or of a few words; case is ignored."""

    def __init__(
        self, default: str, help: str, choices: Registry[Any] | Sequence[str], *, flag: str = "", group: str = ""
    ) -> None:
        super().__init__(default, help, flag=flag, group=group)
        self.choices = choices

    def parse(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.refuse(value)
        if isinstance(self.choices, Registry):
            return self.choices.canonical(value)
        for choice in self.choices:
            if choice.lower() == value.lower():
                return choice
        raise ConfigError(f"{self.refuse(value)}{did_you_mean(value, self.choices)}")

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.choices)}"


class Text(Setting[str]):
    """Printable text. Control characters are refused: they would reach terminals and files."""

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.refuse(value)
        return value

    @property
    def allowed(self) -> str:
        return "printable text"


class OptionalText(Setting[str | None]):
    """Printable text, or None where nothing was given."""

    def parse(self, value: object) -> str | None:
        if value is None or value in ("", "None"):
            return None
        if not isinstance(value, str) or not value.isprintable():
            raise self.refuse(value)
        return value

    @property
    def allowed(self) -> str:
        return "printable text or None"


class FolderName(Setting[str | None]):
    """A name that makes one folder where it is put, and cannot lead elsewhere; or None where nothing was given."""

    def parse(self, value: object) -> str | None:
        if value is None or value in ("", "None"):
            return None
        if (
            not isinstance(value, str)
            or not value.isprintable()
            or value.startswith(".")
            or any(sign in value for sign in "/\\")
            or len(value.encode(errors="replace")) > 200
        ):
            raise self.refuse(value)
        return value

    @property
    def allowed(self) -> str:
        return "a plain folder name of at most 200 bytes, printable, without / or \\ and not starting with a dot"


class Texts(Setting[tuple[str, ...]]):
    """Any number of texts."""

    def parse(self, value: object) -> tuple[str, ...]:
        if value is None:
            return ()
        texts = (value,) if isinstance(value, str) else value
        if not isinstance(texts, Sequence) or not all(isinstance(t, str) and t and t.isprintable() for t in texts):
            raise self.refuse(value)
        return tuple(texts)

    @property
    def allowed(self) -> str:
        return "a list of printable texts"


class Switch(Setting[bool]):
    """True or False."""

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self.refuse(value)

    @property
    def allowed(self) -> str:
        return "True or False"


_WIDEST = 10**6
_DEEPEST = 1000


class Widths(Setting[int | tuple[int, ...]]):
    """One width of 1 or more, or a list of them: `128`, `[256, 128, 64]`, "256 128 64" or "256,128,64"."""

    def parse(self, value: object) -> int | tuple[int, ...]:
        if isinstance(value, str):
            value = self._read(value)
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) <= _DEEPEST:
            widths = [_whole(width) for width in value]
            if not widths or any(width is None or not 1 <= width <= _WIDEST for width in widths):
                raise self.refuse(value)
            return tuple(width for width in widths if width is not None)
        width = _whole(value)
        if width is None or not 1 <= width <= _WIDEST:
            raise self.refuse(value)
        return width

    @staticmethod
    def _read(text: str) -> object:
        if text.strip().startswith("["):
            try:
                listed: object = json.loads(text)
            except (ValueError, RecursionError):
                return text
            return listed
        words = re.split(r"[\s,]+", text.strip())
        return words if len(words) > 1 else words[0]

    @property
    def allowed(self) -> str:
        return f"a whole number from 1 to {_WIDEST}, or a list of them such as 256 128 64"


def _whole(value: object) -> int | None:
    """The value as an int where it is a whole number, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        # Not by way of a float, which would round a large seed.
        with suppress(ValueError):
            return int(value)
    try:
        number = float(value)  # type: ignore[arg-type]
        if not number.is_integer():
            return None
        return int(number) if isinstance(value, str) else int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


class Configurable:
    """A class whose settings are declared as attributes and given by keyword.

    Raises:
        ConfigError: a keyword that is no setting (the message suggests the nearest), or a value that is not allowed.
    """

    def __init__(self, **values: object) -> None:
        known = self.settings()
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"{type(self).__name__} has no setting {name!r}.{did_you_mean(name, known)} "
                    f"It has: {', '.join(known)}."
                )
        for name, setting in known.items():
            self.__dict__[name] = setting.parse(values.get(name, setting.default))

    @classmethod
    @cache
    def settings(cls) -> Mapping[str, Setting[Any]]:
        """The settings by name, those of base classes first."""
        found = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Setting)
        }
        return MappingProxyType(found)

    def options(self) -> dict[str, Any]:
        """The value of each setting by name."""
        return {name: self.__dict__[name] for name in self.settings()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options().items())})"
