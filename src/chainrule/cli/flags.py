"""Command-line flags made from settings, and the words of a command line made into a mapping of settings."""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Bool, Choice, Field, Float, Int, LayerWidths, StrList
from chainrule.core.registry import did_you_mean
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.config import TrainConfig, optimizer_fields

__all__ = ["add_field", "build_parser", "new_parser", "parse_words", "plain"]


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are ConfigErrors, like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message[:1].upper()}{message[1:]}. `--help` lists all flags.")


class _Formatter(argparse.HelpFormatter):
    """Help that names a flag's value once, `-e, --epochs N`, and puts choices with the text."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = ", ".join(action.option_strings)
        return flags if action.nargs == 0 else f"{flags} {self._format_args(action, str(action.metavar))}"


def new_parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows no flags but `--help`. It leaves out what was not given, and its errors are ConfigErrors."""
    width = min(118, shutil.get_terminal_size().columns - 2)
    return _Parser(
        prog=program,
        usage=f"{program} [options]",
        description=description,
        formatter_class=lambda prog: _Formatter(prog, max_help_position=34, width=width),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )


def build_parser(program: str) -> argparse.ArgumentParser:
    """The parser of the train command. Values stay text: `TrainConfig.from_mapping` is the only validator."""
    parser = new_parser(
        program, "Train a feedforward network whose forward and backward passes are written by hand on NumPy."
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in TrainConfig.fields().values():
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group)
        add_field(groups[setting.group], setting, setting.help)
    optimizer = parser.add_argument_group("optimizer settings", "used by the optimizers named, ignored by the others")
    for uses in optimizer_fields().values():
        first = uses[0][1]
        rules = [rule if s.default == first.default else f"{rule}: {plain(s.default)}" for rule, s in uses]
        users = "all" if rules == list(OPTIMIZERS) else ", ".join(rules)
        add_field(optimizer, first, f"{first.help} [{users}]")
    files = parser.add_argument_group("configuration")
    files.add_argument("--config", metavar="FILE", help="YAML or JSON file of settings; flags override it")
    files.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with an interrupted run: its name or folder, or auto for the newest with this configuration",
    )
    files.add_argument("--from-sweep", metavar="SWEEP", help="settings of a sweep's best trial; flags override them")
    files.add_argument("--trial", metavar="K", help="with --from-sweep: the trial with this number instead")
    files.add_argument("--print_config", action="store_true", help="print the resolved configuration as YAML and exit")
    return parser


def add_field(group: argparse._ActionsContainer, setting: Field[Any], text: str) -> None:
    """Add one setting's flags, explained by `text`. The value stays text."""
    options: dict[str, Any] = {"dest": setting.name, "metavar": "VALUE"}
    if isinstance(setting, Choice):
        options["metavar"] = "NAME"
        text += f": {', '.join(setting.choices)}"
    if isinstance(setting, Float | Int):
        options["metavar"] = "N"
    if isinstance(setting, LayerWidths):
        options |= {"nargs": "+", "metavar": "N"}
    if isinstance(setting, StrList):
        options |= {"action": "append", "metavar": "FILE"}
    if isinstance(setting, Bool):
        options |= {"nargs": "?", "const": "True", "metavar": "True"}
    shown = setting.default is not None and not isinstance(setting, StrList | Bool)
    default = f" (default: {plain(setting.default)})" if shown else ""
    flags = [flag for flag in (setting.flag, f"--{setting.name}") if flag]
    group.add_argument(*flags, help=f"{text}{default}".replace("%", "%%"), **options)


def plain(value: object) -> str:
    """A default as a person would type it: 0.0001 and not 1e-04."""
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


def parse_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, object]:
    """The settings that were given, as text, by name.

    Raises:
        ConfigError: an unknown flag, with the nearest known one; a flag without a value.
    """
    known = [flag for action in parser._actions for flag in action.option_strings]
    found: Mapping[str, object] = vars(parser.parse_intermixed_args(_prepare(words, known)))
    given = dict(found)
    if "hidden_size" in given:
        given["hidden_size"] = " ".join(given["hidden_size"])  # type: ignore[arg-type]
    return given


def _ungrouped(word: str) -> list[str]:
    """The flags that stand in a group: W&B's agent passes a sweep's nested parameters as `--group={'epochs': 5}`."""
    grouped = re.fullmatch(r"--[A-Za-z_][\w.-]*=(\{.*\})", word)
    if not grouped or len(word) > _LONGEST_GROUP:
        return [word]
    try:
        group = ast.literal_eval(grouped[1])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [word]
    return [flag for name, value in group.items() for flag in _ungrouped(f"--{name}={value}")] if group else [word]


_LONGEST_GROUP = 10_000


def _prepare(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Refuse unknown flags by name, and tie negative numbers to their flags, which argparse would take for flags."""
    ready: list[str] = []
    for word in itertools.chain.from_iterable(map(_ungrouped, words)):
        if re.fullmatch(r"-\.?\d.*|-inf|-nan", word) and ready and ready[-1] in known:
            ready[-1] += f"={word}"
            continue
        flag = word.split("=", 1)[0]
        attached = re.fullmatch(r"(-[a-zA-Z])[\d.].*", word)  # -b16
        if word.startswith("-") and word != "-" and flag not in known and not (attached and attached[1] in known):
            raise ConfigError(f"Unknown flag {flag!r}.{did_you_mean(flag, known)} `--help` lists all flags.")
        ready.append(word)
    return ready
