"""Reading a file of settings, which may be anything: huge, nested without end, or no file at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import ConfigError
from chainrule.core.files import read_text

if TYPE_CHECKING:
    import yaml

__all__ = ["read_config"]

_LARGEST = 100_000  # bytes; PyYAML takes a second for so many, and a configuration has less than a thousand


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file (JSON is YAML too).

    Raises:
        ConfigError: the file cannot be read, is no mapping of names to values, or gives a setting twice.
    """
    import yaml

    text = _read(path)
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from error
    try:
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            return _settings(loader, root, path)
        # Without what is inside: in ten lines, mappings merged into mappings can stand for a billion values.
        content = None if root is None else loader.construct_object(root)
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"The configuration {path} is nested too deeply. {_FORM}") from error
    # Not only YAMLError: PyYAML lets through what its conversions raise, a ValueError for the date 2024-13-45.
    except Exception as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {error!s:.1000}") from error
    finally:
        loader.dispose()
    if content is None:
        return {}
    raise ConfigError(f"The configuration {path} must hold settings as `name: value`, got {type(content).__name__}.")


_FORM = "Each setting is `name: value`, where the value is a number, a text or a list of those."


def _read(path: Path) -> str:
    """The text of a file that is one, and of a sensible size."""
    try:
        return read_text(path, _LARGEST)
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from error


def _settings(loader: yaml.SafeLoader, root: yaml.MappingNode, path: Path) -> dict[str, Any]:
    """The names and values of a mapping, one by one, so that an error can name the line."""
    import yaml

    settings: dict[str, Any] = {}
    for key, node in root.value:
        line = f"The configuration {path}, line {key.start_mark.line + 1}"
        parts = [key, *(node.value if isinstance(node, yaml.SequenceNode) else [node])]
        # Deeper nesting has no use here, and ten lines of aliases to aliases can stand for a billion values.
        if not all(isinstance(part, yaml.ScalarNode) for part in parts):
            raise ConfigError(f"{line}: the value is nested too deeply. {_FORM}")
        try:
            name, value = loader.construct_object(key), loader.construct_object(node, deep=True)
            str(value)  # a number of thousands of digits cannot be printed, which the error for it would do
        except yaml.YAMLError:
            raise
        except Exception as error:
            raise ConfigError(f"{line}: {key.value:.100} has a value that YAML cannot read: {error!s:.1000}") from error
        if name in settings:
            raise ConfigError(f"{line}: {name!r:.100} is given a second time. Remove one of the two.")
        settings[name] = value
    return settings
