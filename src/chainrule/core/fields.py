"""Fields: options and hyperparameters, each declared once with its default, range, flag and help text.

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
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, Unpack, overload

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
    "OptionalChoice",
    "OptionalStr",
    "Str",
    "StrList",
    "suggest_field",
]

Value = TypeVar("Value")


class Field(Generic[Value]):
    """A field: on the class, this object; on an instance, its value. `Float`, `Int` and so on create the usual ones.

    Args:
        default: the value if none is given.
        help: short description, with the unit if there is one.
        type: the annotation of the value in signatures.
        convert: converts a value, or its text as on a command line or in YAML, to `type`. It raises TypeError,
            ValueError or OverflowError for a value that is not allowed; a ConfigError is passed on as it is.
        allowed: the allowed values; completes "<name> must be ..." in error messages.
        choices: the allowed words, if there are only a few.
        flag: a short command-line flag, such as "-lr", besides `--<name>`.
        group: heading in `--help`.

    Attributes:
        name: the name of the attribute, set when the class is created.
    """

    name = ""

    def __init__(
        self,
        default: Value,
        help: str,
        *,
        type: Any,
        convert: Callable[[Any], Value],
        allowed: str,
        choices: Registry[Any] | Sequence[str] = (),
        flag: str = "",
        group: str = "",
    ) -> None:
        self.default, self.help, self.type, self.allowed = default, help, type, allowed
        self.choices, self.flag, self.group = choices, flag, group
        self._convert = convert

    def parse(self, value: object) -> Value:
        """Convert a value, or its text as on a command line or in YAML, to this field's type.

        Raises:
            ConfigError: it is of the wrong type or out of range.
        """
        try:
            return self._convert(value)
        except ConfigError:
            raise
        except (TypeError, ValueError, OverflowError):
            hint = did_you_mean(value, self.choices) if isinstance(value, str) else ""
            raise ConfigError(f"{self.name} must be {self.allowed}, got {value!r:.100}.{hint}") from None

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


class _Display(TypedDict, total=False):
    flag: str
    group: str


def Float(
    default: float,
    help: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    **display: Unpack[_Display],
) -> Field[float]:
    """A finite number. The bounds `gt` and `lt` are exclusive, `ge` and `le` inclusive."""
    candidates = [
        ("above", operator.gt, gt),
        ("of at least", operator.ge, ge),
        ("below", operator.lt, lt),
        ("of at most", operator.le, le),
    ]
    bounds = [(words, holds, limit) for words, holds, limit in candidates if limit is not None]
    if ge is not None and le is not None:
        allowed = f"a number from {ge:g} to {le:g}"
    else:
        limits = " and ".join(f"{words} {limit:g}" for words, _, limit in bounds)
        allowed = f"a number {limits}" if limits else "a finite number"

    def convert(value: Any) -> float:
        number = math.nan if isinstance(value, bool) else float(value)
        if not math.isfinite(number) or not all(holds(number, limit) for _, holds, limit in bounds):
            raise ValueError
        return number

    return Field(default, help, type=float, convert=convert, allowed=allowed, **display)


def Int(default: int, help: str, *, ge: int, le: int = 10**9, **display: Unpack[_Display]) -> Field[int]:
    """An integer from `ge` to `le`, inclusive. Text such as "1e3" and floats such as 16.0 are accepted."""
    convert, allowed = partial(_convert_integer, ge=ge, le=le), f"a whole number from {ge} to {le}"
    return Field(default, help, type=int, convert=convert, allowed=allowed, **display)


def _convert_integer(value: Any, *, ge: int, le: int) -> int:
    try:
        # Not as a float, which would round a large seed.
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = int(float(value))
        if number != float(value):
            raise
    if isinstance(value, bool) or not ge <= number <= le:
        raise ValueError
    return number


def Bool(default: bool, help: str, **display: Unpack[_Display]) -> Field[bool]:
    """True or False."""

    def convert(value: object) -> bool:
        word = str(value).lower()
        if word not in ("true", "false"):
            raise ValueError
        return word == "true"

    return Field(default, help, type=bool, convert=convert, allowed="True or False", **display)


def Choice(default: str, help: str, choices: Registry[Any] | Sequence[str], **display: Unpack[_Display]) -> Field[str]:
    """A name or alias in a registry, or one of a few words; case is ignored."""
    convert, allowed = partial(_convert_choice, choices=choices), f"one of {', '.join(choices)}"
    return Field(default, help, type=str, convert=convert, allowed=allowed, choices=choices, **display)


def OptionalChoice(
    default: str | None, help: str, choices: Registry[Any] | Sequence[str], **display: Unpack[_Display]
) -> Field[str | None]:
    """A `Choice` or None."""
    convert = partial(_convert_optional, convert=partial(_convert_choice, choices=choices))
    allowed = f"one of {', '.join(choices)}, or None"
    return Field(default, help, type=str | None, convert=convert, allowed=allowed, choices=choices, **display)


def _convert_choice(value: Any, *, choices: Registry[Any] | Sequence[str]) -> str:
    if isinstance(choices, Registry):
        return choices.canonical(value)
    by_lower = {choice.lower(): choice for choice in choices}
    if str(value).lower() not in by_lower:
        raise ValueError
    return by_lower[str(value).lower()]


def Str(default: str, help: str, **display: Unpack[_Display]) -> Field[str]:
    """Printable text. Control characters are refused because the text ends up in terminals and files."""
    return Field(default, help, type=str, convert=_convert_printable, allowed="printable text", **display)


def OptionalStr(default: str | None, help: str, **display: Unpack[_Display]) -> Field[str | None]:
    """Printable text or None."""
    convert, allowed = partial(_convert_optional, convert=_convert_printable), "printable text or None"
    return Field(default, help, type=str | None, convert=convert, allowed=allowed, **display)


def FolderName(default: str | None, help: str, **display: Unpack[_Display]) -> Field[str | None]:
    """The name of a single folder, so that it cannot lead out of the parent folder, or None."""

    def convert(value: object) -> str:
        name = _convert_printable(value)
        if name.startswith(".") or "/" in name or "\\" in name or len(name.encode()) > 200:
            raise ValueError
        return name

    allowed = "a plain folder name of at most 200 bytes, printable, without / or \\ and not starting with a dot"
    optional = partial(_convert_optional, convert=convert)
    return Field(default, help, type=str | None, convert=optional, allowed=allowed, **display)


def StrList(default: tuple[str, ...], help: str, **display: Unpack[_Display]) -> Field[tuple[str, ...]]:
    """Any number of printable texts."""

    def convert(value: Any) -> tuple[str, ...]:
        texts = () if value is None else (value,) if isinstance(value, str) else value
        if not isinstance(texts, Sequence):
            raise TypeError
        return tuple(map(_convert_printable, texts))

    return Field(default, help, type=tuple[str, ...], convert=convert, allowed="a list of printable texts", **display)


def _convert_printable(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def _convert_optional(value: object, *, convert: Callable[[object], str]) -> str | None:
    return None if value is None or value in ("", "None") else convert(value)


def suggest_field(name: str, fields: Mapping[str, Field[Any]]) -> str:
    """A hint for a name that is no field, such as `" Did you mean 'learning_rate'?"` for that of its flag, "lr"."""
    by_flag = {field.flag.lstrip("-"): known for known, field in fields.items() if field.flag}
    return did_you_mean(by_flag.get(name, name), fields)


_MAX_WIDTH = 10**6
_MAX_LAYERS = 1000


def LayerWidths(default: int | tuple[int, ...], help: str, **display: Unpack[_Display]) -> Field[int | tuple[int, ...]]:
    """A width of at least 1, or a list of widths: `128`, `[256, 128, 64]`, "256 128 64" or "256,128,64"."""
    convert_one = partial(_convert_integer, ge=1, le=_MAX_WIDTH)

    def convert(value: Any) -> int | tuple[int, ...]:
        if isinstance(value, str):
            listed = re.fullmatch(r"\[(.+)\]", value.strip())
            words = re.split(r"[\s,]+", listed[1].strip() if listed else value.strip())
            value = words if listed or len(words) > 1 else words[0]
        if isinstance(value, str) or not isinstance(value, Sequence):
            return convert_one(value)
        if not 0 < len(value) <= _MAX_LAYERS:
            raise ValueError
        return tuple(map(convert_one, value))

    allowed = f"a whole number from 1 to {_MAX_WIDTH}, or a list of them such as 256 128 64"
    return Field(default, help, type=int | tuple[int, ...], convert=convert, allowed=allowed, **display)


class Configurable:
    """A class whose fields are declared as attributes and passed by keyword.

    Raises:
        ConfigError: a keyword is no field (the message suggests the nearest), or a value is not allowed.
    """

    _fields: ClassVar[Mapping[str, Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, value in vars(cls).items():
            if name in cls._fields and not isinstance(value, Field):
                raise ConfigError(
                    f"{cls.__name__}.{name} must be a field, got {value!r:.100}. To change the default, declare the "
                    f"field anew, such as {name} = Float(...)."
                )
        attributes = [item for base in reversed(cls.__mro__) for item in vars(base).items()]
        cls._fields = MappingProxyType({name: field for name, field in attributes if isinstance(field, Field)})
        # Shown by `inspect.signature` and editors.
        keyword = inspect.Parameter.KEYWORD_ONLY
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(name, keyword, default=field.default, annotation=field.type)
                for name, field in cls._fields.items()
            ]
        )

    def __init__(self, *positional: object, **values: object) -> None:
        known, cls = self.fields(), type(self).__name__
        if positional:
            example = f", such as {cls}({next(iter(known))}={positional[0]!r:.40})" if known else ""
            raise ConfigError(f"{cls} takes its hyperparameters by name{example}; got {positional!r:.100}.")
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"{cls} has no hyperparameter {name!r}.{suggest_field(name, known)} It has: {', '.join(known)}."
                )
        for name, field in known.items():
            self.__dict__[name] = field.parse(values.get(name, field.default))

    @classmethod
    def fields(cls) -> Mapping[str, Field[Any]]:
        """The fields by name, those of base classes first."""
        return cls._fields

    def as_dict(self) -> dict[str, Any]:
        """The value of each field by name."""
        return {name: self.__dict__[name] for name in self.fields()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.as_dict().items())})"
