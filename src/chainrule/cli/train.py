"""The train command."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from chainrule.cli.config_file import read_config
from chainrule.cli.flags import build_parser, parse_words
from chainrule.config import TrainConfig
from chainrule.console import Console, Output
from chainrule.plugins import load_plugin

__all__ = ["run"]


def run(words: Sequence[str], program: str) -> int:
    """Train as the words say.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0 when training finished, 130 when Ctrl-C ended it early, 1 when what was asked for could not be printed.

    Raises:
        ChainruleError: anything that a person can mend; the message says how.
    """
    # A plugin may bring settings of its own, so it is loaded before the flags are known.
    files = _early(words, "--config")
    file = read_config(Path(files[-1])) if files else {}
    plugins = _early(words, "--plugin") or TrainConfig.plugin.parse(file.get("plugin"))
    for plugin in plugins:
        load_plugin(Path(plugin))
    parser, output = build_parser(program), Output()
    # Answered here and not by argparse, which takes no notice of a standard output that is closed or full.
    if not {"-h", "--help"}.isdisjoint(words):
        output.write(parser.format_help())
        return int(output.lost)
    given = parse_words(parser, words)
    given.pop("config", None)
    print_only = given.pop("print_config", False)
    config = TrainConfig.from_mapping({**file, **given})
    if print_only:
        import yaml

        output.write(yaml.safe_dump(config.to_dict(), sort_keys=False))
        return int(output.lost)
    # Where the home folder is read-only, it would say in the middle of the run that it works without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Imported here so that --help and wrong flags are answered at once.
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
