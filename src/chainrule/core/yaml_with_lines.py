"""Reading YAML with the line of each part, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.files import read_text

if TYPE_CHECKING:
    import yaml

__all__ = ["Part", "Problems", "read_lined_yaml"]

Part = tuple[str | int, ...]
"""Where something is in a file: the keys and positions that lead to it."""

_LARGEST = 100_000  # bytes
_MOST = 20_000  # values; ten lines of aliases to aliases can stand for a billion
_DEEPEST = 20


_MOST_TOLD = 20


class Problems:
    """What is wrong with a file, gathered so that all of it can be told at once.

    Args:
        path: the file.
        lines: of its parts, from 1.
    """

    def __init__(self, path: Path, lines: Mapping[Part, int]) -> None:
        self._path, self._lines = path, lines
        self._found: list[tuple[int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, part: Part, text: str) -> None:
        """Note what is wrong with a part."""
        while part and part not in self._lines:
            part = part[:-1]
        self._found.append((self._lines.get(part, 1), f"{text:.500}"))

    def settle(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        if self._found:
            count = f"{len(self._found)} problems" if len(self._found) > 1 else "a problem"
            lines = [
                f"  line {line}: {text}" for line, text in sorted(self._found, key=lambda found: found[0])[:_MOST_TOLD]
            ]
            raise ConfigError("\n".join([f"{self._path} has {count}:", *lines]))


def read_lined_yaml(path: Path) -> tuple[Any, dict[Part, int]]:
    """The content of a YAML file (JSON is YAML too), and the line of each part.

    Raises:
        ConfigError: the file cannot be read, is no YAML, is too large, or gives a key twice.
    """
    import yaml

    text = _text(path)
    lines: dict[Part, int] = {}
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    try:
        root = loader.get_single_node()
        return (None if root is None else _value(loader, root, (), lines)), lines
    except ConfigError as error:
        raise ConfigError(f"{path}, {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply.") from error
    # Not only YAMLError: PyYAML lets through what its conversions raise, a ValueError for the date 2024-13-45.
    except Exception as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    finally:
        loader.dispose()


def _text(path: Path) -> str:
    try:
        return read_text(path, _LARGEST)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error


def _value(loader: yaml.SafeLoader, node: yaml.Node, part: Part, lines: dict[Part, int]) -> Any:
    """A node's value; it and what is in it is noted in `lines`."""
    import yaml

    line = node.start_mark.line + 1
    lines.setdefault(part, line)
    if len(lines) > _MOST or len(part) > _DEEPEST:
        raise ConfigError(f"line {line}: there are too many values, or they are nested too deeply.")
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*part, position), lines) for position, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a text.")
            name = str(key.value)
            if name in found:
                raise ConfigError(f"line {line}: {name!r} is given a second time. Remove one of the two.")
            lines[(*part, name)] = line
            found[name] = _value(loader, item, (*part, name), lines)
        return found
    try:
        value = loader.construct_object(node)
        str(value)  # a number of thousands of digits cannot be printed, which the error for it would do
    except Exception as error:
        raise ConfigError(f"line {line}: YAML cannot read this value: {error}") from error
    return value
