"""Fields: a named value with its default, its range, its flag and its help, declared in one line and nowhere else.

A class lists its fields as attributes. `Configurable` gives it a constructor that validates every value and has a real
signature:

>>> class Oven(Configurable):
...     '''Bakes.'''
...     heat = Float(180.0, "degrees Celsius", flag="-t", ge=50, le=250)
>>> Oven(heat="200").heat
200.0
>>> inspect.signature(Oven)
<Signature (*, heat: float = 180.0)>
>>> Oven(heat=900)
Traceback (most recent call last):
chainrule.core.errors.ConfigError: heat must be a number from 50 to 250, got 900.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, overload

from chainrule.core.errors import ConfigError
from chainrule.core.registry import Registry, did_you_mean

__all__ = [
    "Bool",
    "Choice",
    "Configurable",
    "Field",
    "Float",
    "FolderName",
    "Int",
    "LayerWidths",
    "OptionalStr",
    "Str",
    "StrList",
]

Value = TypeVar("Value")


class Field(ABC, Generic[Value]):
    """One field. On the class it is this object; on an instance it is the value.

    Args:
        default: used where no value is given.
        help: what it is, in a few words; the unit where there is one.
        flag: a short command-line flag beside `--<name>`, such as "-lr".
        group: its section of `--help`.

    Attributes:
        name: of the attribute; known once the field is part of a class.
        type: of the value, as shown in signatures.
    """

    name = ""
    type: ClassVar[Any] = Any

    def __init__(self, default: Value, help: str, *, flag: str = "", group: str = "") -> None:
        self.default = default
        self.help = help
        self.flag = flag
        self.group = group

    @abstractmethod
    def parse(self, value: object) -> Value:
        """Convert a value, or its text as on a command line or in YAML, to this field's type.

        Raises:
            ConfigError: it is of the wrong type or out of range.
        """

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The allowed values, to complete the sentence "<name> must be ..."."""

    def refuse(self, value: object) -> ConfigError:
        """Make the error for a value that is not allowed."""
        got = repr(value)
        return ConfigError(f"{self.name} must be {self.allowed}, got {got if len(got) < 100 else got[:100] + '...'}.")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Field[Value]: ...
    @overload
    def __get__(self, instance: Configurable, owner: type) -> Value: ...
    def __get__(self, instance: Configurable | None, owner: type) -> Field[Value] | Value:
        if instance is None:
            return self
        value: Value = instance.__dict__[self.name]
        return value

    def __set__(self, instance: Configurable, value: object) -> None:
        instance.__dict__[self.name] = self.parse(value)


class Float(Field[float]):
    """A finite number. The bounds `gt` and `lt` are exclusive, `ge` and `le` inclusive."""

    type = float

    def __init__(
        self,
        default: float,
        help: str,
        *,
        flag: str = "",
        group: str = "",
        gt: float | None = None,
        ge: float | None = None,
        lt: float | None = None,
        le: float | None = None,
    ) -> None:
        super().__init__(default, help, flag=flag, group=group)
        self.gt, self.ge, self.lt, self.le = gt, ge, lt, le

    def parse(self, value: object) -> float:
        if isinstance(value, bool):
            raise self.refuse(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise self.refuse(value) from None
        fits = (
            math.isfinite(number)
            and (self.gt is None or number > self.gt)
            and (self.ge is None or number >= self.ge)
            and (self.lt is None or number < self.lt)
            and (self.le is None or number <= self.le)
        )
        if not fits:
            raise self.refuse(value)
        return number

    @property
    def allowed(self) -> str:
        if self.ge is not None and self.le is not None:
            return f"a number from {self.ge:g} to {self.le:g}"
        limits = [
            f"{word} {limit:g}"
            for word, limit in (
                ("above", self.gt),
                ("of at least", self.ge),
                ("below", self.lt),
                ("of at most", self.le),
            )
            if limit is not None
        ]
        return " and ".join([f"a number {limits[0]}", *limits[1:]]) if limits else "a finite number"


class Int(Field[int]):
    """An integer from `ge` to `le`, inclusive. Text such as "1e3" and floats such as 16.0 are accepted."""

    type = int

    def __init__(self, default: int, help: str, *, ge: int, le: int = 10**9, flag: str = "", group: str = "") -> None:
        super().__init__(default, help, flag=flag, group=group)
        self.ge, self.le = ge, le

    def parse(self, value: object) -> int:
        number = _whole(value)
        if number is None or not self.ge <= number <= self.le:
            raise self.refuse(value)
        return number

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.ge} to {self.le}"


class Choice(Field[str]):
    """One of a registry's names or their aliases, or one of a few words; case is ignored."""

    type = str

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


class Str(Field[str]):
    """Printable text. Control characters are refused: they would reach terminals and files."""

    type = str

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.refuse(value)
        return value

    @property
    def allowed(self) -> str:
        return "printable text"


class OptionalStr(Field[str | None]):
    """Printable text, or None where nothing was given."""

    type = str | None

    def parse(self, value: object) -> str | None:
        if value is None or value in ("", "None"):
            return None
        if not isinstance(value, str) or not value.isprintable():
            raise self.refuse(value)
        return value

    @property
    def allowed(self) -> str:
        return "printable text or None"


class FolderName(Field[str | None]):
    """A name that makes one folder where it is put, and cannot lead elsewhere; or None where nothing was given."""

    type = str | None

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


class StrList(Field[tuple[str, ...]]):
    """Any number of strings."""

    type = tuple[str, ...]

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


class Bool(Field[bool]):
    """True or False."""

    type = bool

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


class LayerWidths(Field[int | tuple[int, ...]]):
    """One width of 1 or more, or a list of them: `128`, `[256, 128, 64]`, "256 128 64" or "256,128,64"."""

    type = int | tuple[int, ...]

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
    """A class whose fields are declared as attributes and given by keyword.

    Raises:
        ConfigError: a keyword that is no field (the message suggests the nearest), or a value that is not allowed.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # `inspect.signature`, and the editors that ask it, show the fields with their types and defaults.
        keyword = inspect.Parameter.KEYWORD_ONLY
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(name, keyword, default=field.default, annotation=field.type)
                for name, field in cls._find_fields().items()
            ]
        )

    def __init__(self, **values: object) -> None:
        known = self.fields()
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"{type(self).__name__} has no hyperparameter {name!r}.{did_you_mean(name, known)} "
                    f"It has: {', '.join(known)}."
                )
        for name, field in known.items():
            self.__dict__[name] = field.parse(values.get(name, field.default))

    @classmethod
    def _find_fields(cls) -> Mapping[str, Field[Any]]:
        found = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Field)
        }
        return MappingProxyType(found)

    @classmethod
    @cache
    def fields(cls) -> Mapping[str, Field[Any]]:
        """The fields by name, those of base classes first."""
        return cls._find_fields()

    def as_dict(self) -> dict[str, Any]:
        """The value of each field by name."""
        return {name: self.__dict__[name] for name in self.fields()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.as_dict().items())})"
