"""Choosing a command, and turning errors into one message and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chainrule import __version__
from chainrule.cli import train
from chainrule.errors import ChainruleError, ConfigError
from chainrule.registry import did_you_mean

__all__ = ["main"]

_COMMANDS = {"train": (train.run, "train a network and record the run")}
_HELP = """usage: chainrule COMMAND [options]

commands:
{commands}

`chainrule COMMAND --help` tells a command's options, `chainrule --version` the version.
"""


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; without it those of this process.
        program: what the user typed for program and command, for `--help`; without it `chainrule <command>`.

    Returns:
        The exit status: 0 done, 1 failed, 2 used wrongly, 130 stopped by Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(
            _HELP.format(commands="\n".join(f"  {name:8} {text}" for name, (_, text) in _COMMANDS.items()))
        )
        return 0 if words else 2
    if words[0] == "--version":
        sys.stdout.write(f"chainrule {__version__}\n")
        return 0
    try:
        if words[0] not in _COMMANDS:
            hint = did_you_mean(words[0], _COMMANDS)
            raise ConfigError(f"Unknown command {words[0]!r}.{hint} Choose from: {', '.join(_COMMANDS)}.")
        return _COMMANDS[words[0]][0](words[1:], program or f"chainrule {words[0]}")
    except ChainruleError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does. Python would complain once more when it flushes.
        sys.stderr.close()
        return 1
