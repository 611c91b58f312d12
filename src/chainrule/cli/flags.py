"""Command-line flags made from fields, and command lines parsed into values by field name."""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Field
from chainrule.core.registry import did_you_mean
from chainrule.runs.config import TrainConfig, find_hyperparameters

__all__ = ["add_configuration_flags", "add_field", "build_parser", "format_default", "new_parser", "parse_words"]


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are ConfigErrors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message[:1].upper()}{message[1:]}. `--help` lists all flags.")


class _Formatter(argparse.HelpFormatter):
    """Help that names the value of a flag once: `-e, --epochs N`."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = ", ".join(action.option_strings)
        return flags if action.nargs == 0 else f"{flags} {self._format_args(action, str(action.metavar))}".lstrip()


def new_parser(program: str, description: str, operands: str = "") -> argparse.ArgumentParser:
    """A parser without flags other than `--help`. Flags that are not given are left out; errors are ConfigErrors."""
    width = min(118, shutil.get_terminal_size().columns - 2)
    return _Parser(
        prog=program,
        usage=f"{program} {operands}[options]",
        description=description,
        formatter_class=lambda prog: _Formatter(prog, max_help_position=34, width=width),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )


def build_parser(program: str, defaults: Mapping[str, object] | None = None) -> argparse.ArgumentParser:
    """The parser of the train command; `defaults` are shown. Values stay text: `TrainConfig` is the only validator."""
    defaults = defaults or {}
    parser = new_parser(
        program, "Train a feedforward network whose forward and backward passes are written by hand on NumPy."
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in TrainConfig.fields().values():
        if field.group not in groups:
            groups[field.group] = parser.add_argument_group(field.group)
        add_field(groups[field.group], field, default=defaults.get(field.name))
    for name, found in find_hyperparameters().items():
        option = TrainConfig.fields()[found.option]
        # The default optimizer's default is the one to show.
        shown, default = found.get_field(option.default), defaults.get(name)
        users = [
            user
            if field.default == shown.default or default is not None
            else f"{user}: {format_default(field.default)}"
            for user, field in found.fields.items()
        ]
        heading = f"hyperparameters of the {found.option}"
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading, "used by those named, ignored by the others")
        text = f"{shown.help} [{'all' if users == list(option.choices) else ', '.join(users)}]"
        add_field(groups[heading], shown, text, default=default)
    files = parser.add_argument_group("configuration")
    add_configuration_flags(files)
    files.add_argument("--print_config", action="store_true", help="print the complete configuration as YAML and exit")
    return parser


def add_configuration_flags(group: argparse._ActionsContainer) -> None:
    """Add the flags that select a configuration, which other flags override."""
    group.add_argument("--config", metavar="FILE", help="YAML or JSON file with a configuration")
    group.add_argument(
        "--resume",
        metavar="RUN",
        help="resume an interrupted run: its name or folder, or auto for the latest with this configuration",
    )
    group.add_argument("--from-sweep", metavar="SWEEP", help="configuration of a sweep's best trial")
    group.add_argument("--trial", metavar="K", help="with --from-sweep: number of the trial to use instead")


# The arguments of `add_argument` for a field's type.
_OPTIONS: dict[Any, dict[str, Any]] = {
    float: {"metavar": "N"},
    int: {"metavar": "N"},
    int | tuple[int, ...]: {"nargs": "+", "metavar": "N"},
    tuple[str, ...]: {"action": "append", "metavar": "FILE"},
    bool: {"nargs": "?", "const": "True", "metavar": "BOOL"},
}


def add_field(group: argparse._ActionsContainer, field: Field[Any], text: str = "", default: object = None) -> None:
    """Add the flags of a field. `text` and `default`, if given, are shown in place of its own. The value stays text."""
    text, default = text or field.help, field.default if default is None else default
    options = _OPTIONS.get(field.type, {"metavar": "NAME" if field.choices else "VALUE"})
    if field.choices:
        text += f": {', '.join(field.choices)}"
    if default not in (None, ()):
        text += f" (default: {format_default(default)})"
    flags = [flag for flag in (field.flag, f"--{field.name}") if flag]
    group.add_argument(*flags, dest=field.name, help=text.replace("%", "%%"), **options)


def format_default(value: object) -> str:
    """Format a default as a person would type it: 0.0001, not 1e-04."""
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


def parse_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, object]:
    """Parse a command line: the given values, as text, by name.

    Raises:
        ConfigError: a flag is unknown (the message suggests the nearest), or has no value.
    """
    known = [flag for action in parser._actions for flag in action.option_strings]
    given: dict[str, Any] = vars(parser.parse_intermixed_args(_prepare_words(words, known)))
    if "hidden_size" in given:
        given["hidden_size"] = " ".join(given["hidden_size"])
    return given


def _split_group(word: str) -> list[str]:
    """Split `--group={'epochs': 5}`, as W&B's agent passes a sweep's nested parameters, into the flags of the group."""
    grouped = re.fullmatch(r"--[A-Za-z_][\w.-]*=(\{.*\})", word)
    group = None
    with suppress(ValueError, SyntaxError):
        group = grouped and ast.literal_eval(grouped[1])
    if not group or not isinstance(group, dict):
        return [word]
    return [flag for name, value in group.items() for flag in _split_group(f"--{name}={value}")]


def _prepare_words(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Reject unknown flags, and attach negative numbers to their flags: argparse would parse them as flags."""
    ready: list[str] = []
    for word in itertools.chain.from_iterable(map(_split_group, words)):
        if re.fullmatch(r"-\.?\d.*|-inf|-nan", word) and ready and ready[-1] in known:
            ready[-1] += f"={word}"
            continue
        flag = word.split("=", 1)[0]
        attached = re.fullmatch(r"(-[a-zA-Z])[\d.].*", word)  # -b16
        if word.startswith("-") and word != "-" and flag not in known and not (attached and attached[1] in known):
            raise ConfigError(f"Unknown flag {flag!r}.{did_you_mean(flag, known)} `--help` lists all flags.")
        ready.append(word)
    return ready
