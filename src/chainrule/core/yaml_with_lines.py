"""Reading YAML files with line numbers, and with limits on their size and depth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.files import read_text

if TYPE_CHECKING:
    import yaml

__all__ = ["ErrorCollector", "KeyPath", "parse_yaml_with_lines", "read_mapping", "read_yaml_with_lines"]

KeyPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value."""

_MAX_BYTES = 100_000  # PyYAML takes a second for them, and a configuration has less than a thousand
_MAX_VALUES = 20_000  # ten lines of aliases to aliases can expand to a billion
_MAX_DEPTH = 20
_MAX_ERRORS = 20
_COLLECTION_TAGS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


class ErrorCollector:
    """Collects the errors in a file, so that one message reports all of them.

    Args:
        source: the file, for the message.
        lines: the line of each value, from 1; empty if lines mean nothing to the user.
    """

    def __init__(self, source: object, lines: Mapping[KeyPath, int]) -> None:
        self._source, self._lines = source, lines
        self._errors: list[tuple[int, str]] = []

    def add(self, path: KeyPath, text: str) -> None:
        """Add an error about the value at `path`."""
        while path and path not in self._lines:
            path = path[:-1]
        self._errors.append((self._lines.get(path, 1), f"{text:.500}"))

    def raise_if_any(self) -> None:
        """Raise one ConfigError with all errors, if there are any."""
        if self._errors:
            count = f"{len(self._errors)} problems" if len(self._errors) > 1 else "a problem"
            found = sorted(self._errors, key=lambda error: error[0])[:_MAX_ERRORS]
            lines = [f"  line {line}: {text}" if self._lines else f"  {text}" for line, text in found]
            raise ConfigError("\n".join([f"{self._source} has {count}:", *lines]))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a configuration: names with values that are scalars or lists of scalars. An empty file is an empty mapping.

    Raises:
        ConfigError: the file cannot be read, or holds anything else.
    """
    content, lines = read_yaml_with_lines(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings as `name: value`, got {type(content).__name__}.")
    for name, value in content.items():
        if any(isinstance(item, list | dict) for item in (value if isinstance(value, list) else [value])):
            raise ConfigError(
                f"{path}, line {lines[name,]}: {name:.100} is nested too deeply. Each setting is `name: value`, where "
                "the value is a number, a text or a list of those."
            )
    return content


def read_yaml_with_lines(path: Path) -> tuple[Any, dict[KeyPath, int]]:
    """Read a YAML (or JSON) file.

    Returns:
        Its content, and the line of each value.

    Raises:
        ConfigError: the file cannot be read, is no valid YAML or too large, or has the same key twice.
    """
    try:
        return parse_yaml_with_lines(read_text(path, _MAX_BYTES), path)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error


def parse_yaml_with_lines(text: str, source: object) -> tuple[Any, dict[KeyPath, int]]:
    """Parse YAML, as `read_yaml_with_lines` does; `source` names it in errors."""
    import yaml

    lines: dict[KeyPath, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return (None if root is None else _construct(loader, root, (), lines)), lines
    except ConfigError as error:
        raise ConfigError(f"{source}, {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply.") from error
    # Not only YAMLError: PyYAML lets through what its conversions raise, such as a ValueError for the date 2024-13-45.
    except Exception as error:
        raise ConfigError(f"{source} is not valid YAML: {error!s:.1000}") from error


def _construct(loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Construct a node's value, and record its line and those of all values within."""
    import yaml

    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(lines) > _MAX_VALUES or len(path) > _MAX_DEPTH:
        raise ConfigError(f"line {line}: there are too many values, or they are nested too deeply.")
    name = f"{path[-1]!s:.100}" if path else "the file"
    if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTION_TAGS:
        raise ConfigError(f"line {line}: {name} has the tag {node.tag:.100}, which is not supported.")
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*path, index), lines) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a text.")
            inner = (*path, str(key.value))
            if inner[-1] in found:
                raise ConfigError(f"line {line}: {inner[-1]!r:.100} is given a second time. Remove one of the two.")
            lines[inner] = line
            found[str(key.value)] = _construct(loader, item, inner, lines)
        return found
    try:
        value = loader.construct_object(node)
        str(value)  # an error message could not print an integer of thousands of digits
    except Exception as error:
        raise ConfigError(f"line {line}: {name} has a value that YAML cannot read: {error!s:.1000}") from error
    return value
