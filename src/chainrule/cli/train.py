"""The train command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chainrule.cli.flags import build_parser, parse_words
from chainrule.config import TrainConfig
from chainrule.errors import ConfigError
from chainrule.plugins import load_plugin

__all__ = ["run"]


def run(words: Sequence[str], program: str) -> int:
    """Train as the words say.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0 when training finished, 130 when Ctrl-C ended it early.

    Raises:
        ChainruleError: anything that a person can mend; the message says how.
    """
    # A plugin may bring settings of its own, so it is loaded before the flags are known.
    file = _read_config(_early(words, "--config"))
    plugins = _early(words, "--plugin") or TrainConfig.plugin.parse(file.get("plugin"))
    for plugin in plugins:
        load_plugin(Path(plugin))
    given = parse_words(build_parser(program), words)
    given.pop("config", None)
    print_only = given.pop("print_config", False)
    config = TrainConfig.from_mapping({**file, **given})
    if print_only:
        import yaml

        sys.stdout.write(yaml.safe_dump(config.to_dict(), sort_keys=False))
        return 0
    # Imported here so that --help and wrong flags are answered at once.
    from chainrule.console import Console
    from chainrule.experiment import run_experiment

    outcome = run_experiment(config, Console(quiet=config.quiet))
    return 0 if outcome.status == "finished" else 130


def _early(words: Sequence[str], flag: str) -> tuple[str, ...]:
    """The values of one flag, found before the others can be parsed."""
    values = []
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            values.append(words[position + 1])
        elif word.startswith(f"{flag}="):
            values.append(word.split("=", 1)[1])
    return tuple(values)


def _read_config(paths: Sequence[str]) -> dict[str, Any]:
    """The settings in a YAML file; none without a file.

    Raises:
        ConfigError: the file cannot be read or is no mapping of names to values.
    """
    if not paths:
        return {}
    import yaml

    path = Path(paths[-1])
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"The configuration {path} must hold settings as `name: value`, got {type(content).__name__}."
        )
    return content
