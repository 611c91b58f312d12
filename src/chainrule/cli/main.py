"""Dispatching to a command, and turning errors into one message and an exit status."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chainrule import __version__
from chainrule.core.errors import ChainruleError, ConfigError
from chainrule.core.registry import did_you_mean
from chainrule.terminal.console import Output, print_text

__all__ = ["main"]

# A command's module, `chainrule.cli.<command>`, is imported when the command is run: some need half a second for it.
# `run(words, program)` gets the command's flags and values, and what was typed before them; it returns the exit status.
_COMMANDS = {
    "train": "train a network and record the run",
    "sweep": "train many networks over a search space",
    "runs": "list the runs of a folder",
    "report": "write a page, and optionally a PDF, about runs and sweeps",
    "bench": "measure how fast training is on this machine",
}
_HELP = """usage: chainrule COMMAND [options]

commands:
{commands}

`chainrule COMMAND --help` lists the options of a command, `chainrule --version` prints the version.
"""


def main(argv: Sequence[str] | None = None, program: str = "", defaults: Mapping[str, object] | None = None) -> int:
    """Run a command.

    Args:
        argv: the command-line arguments; None for those of this process.
        program: what the user typed for program and command, for `--help`; by default `chainrule <command>`.
        defaults: for the train command: configuration values used in place of the library's defaults.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    _open_closed_streams()
    words, stderr = list(sys.argv[1:] if argv is None else argv), Output(sys.stderr)
    if not words or words[0] in ("-h", "--help"):
        status = print_text(_HELP.format(commands="\n".join(f"  {name:8} {text}" for name, text in _COMMANDS.items())))
        return status if words else 2
    if words[0] == "--version":
        return print_text(f"chainrule {__version__}\n")
    command = words[0]
    try:
        if command not in _COMMANDS:
            hint = did_you_mean(command, _COMMANDS)
            raise ConfigError(f"Unknown command {command!r}.{hint} Choose from: {', '.join(_COMMANDS)}.")
        run = importlib.import_module(f"chainrule.cli.{command}").run
        options = {"defaults": defaults} if defaults else {}
        return int(run(words[1:], program or f"chainrule {command}", **options))
    except ChainruleError as error:
        train = program if program and command == "train" else "chainrule train"
        stderr.write(f"error: {error}{_suggest_resume(error, train)}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except MemoryError as error:
        stderr.write(
            f"error: Not enough memory{f' ({error})' if str(error) else ''}. "
            "Use fewer or narrower layers (-nhl, -sz), or smaller data.\n"
        )
        return 1
    except SystemExit as error:
        # Only a plugin ends the program like this. Its own status, perhaps 0, would hide that training was cut off.
        stderr.write(f"error: A plugin ended the program with sys.exit({error.code!r}).\n")
        return 1
    except KeyboardInterrupt:
        stderr.write("Stopped.\n")
        return 130


def _suggest_resume(error: ChainruleError, train: str) -> str:
    """The command that resumes the run that failed; empty if there is none."""
    if error.run_folder is None:
        return ""
    folder = error.run_folder
    name = folder.name if folder.parent == Path("runs") else str(folder)
    return f" To resume: `{train} --resume {shlex.quote(name)}`"


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise the next file opened, perhaps a result, would get the file descriptor of standard output, and whatever a
    library prints would go into it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)  # for child processes, such as wandb's
    os.close(handle)
