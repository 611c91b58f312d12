"""Choosing a command, and turning errors into one message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from chainrule import __version__
from chainrule.cli import bench, report, runs, sweep, train
from chainrule.core.errors import ChainruleError, ConfigError
from chainrule.core.registry import did_you_mean
from chainrule.terminal.console import Output

__all__ = ["main"]

_COMMANDS = {
    "train": (train.run, "train a network and record the run"),
    "sweep": (sweep.run, "train many networks over a space of settings"),
    "runs": (runs.run, "list the runs of a folder, interrupted ones among them"),
    "report": (report.run, "write a page, and a PDF, about runs and sweeps"),
    "bench": (bench.run, "measure how fast training is on this machine"),
}
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
    _occupy_standard_streams()
    words, output, complaints = list(sys.argv[1:] if argv is None else argv), Output(), Output("stderr")
    if not words or words[0] in ("-h", "--help"):
        output.write(_HELP.format(commands="\n".join(f"  {name:8} {text}" for name, (_, text) in _COMMANDS.items())))
        return int(output.lost) if words else 2
    if words[0] == "--version":
        output.write(f"chainrule {__version__}\n")
        return int(output.lost)
    try:
        if words[0] not in _COMMANDS:
            hint = did_you_mean(words[0], _COMMANDS)
            raise ConfigError(f"Unknown command {words[0]!r}.{hint} Choose from: {', '.join(_COMMANDS)}.")
        return _COMMANDS[words[0]][0](words[1:], program or f"chainrule {words[0]}")
    except ChainruleError as error:
        complaints.write(f"error: {error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    except MemoryError as error:
        complaints.write(
            f"error: Not enough memory{f' ({error})' if str(error) else ''}. "
            "Take fewer or narrower layers (-nhl, -sz), or smaller data.\n"
        )
        return 1
    except SystemExit as error:
        # Nothing of chainrule's ends the program so: its own status, perhaps 0, would hide that training was cut off.
        complaints.write(f"error: A plugin ended the program with sys.exit({error.code!r}).\n")
        return 1
    except KeyboardInterrupt:
        complaints.write("Stopped.\n")
        return 130


def _occupy_standard_streams() -> None:
    """Lead closed standard streams into nothing.

    Otherwise the next file that is opened, perhaps a result, gets the number of standard output, and whatever some
    library prints goes into it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)  # for other programs, such as wandb's, the same holds
    os.close(handle)
