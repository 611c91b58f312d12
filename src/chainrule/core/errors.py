"""All errors that chainrule raises on purpose.

A message says what was wrong, what was got, what is allowed and what to do, so that the command line can print it
alone, without a traceback. Any other exception that escapes is a bug.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ChainruleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "ModelFileError",
    "OutOfMemoryError",
    "OutputError",
    "printable",
]


def printable(text: str, keep: str = "") -> str:
    """Escape control characters, except those to `keep`, and characters that cannot be encoded, for terminals.

    >>> printable("a\\x1b[31m b")
    'a\\\\x1b[31m b'
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


class ChainruleError(Exception):
    """Base of all errors raised by chainrule.

    Attributes:
        run_folder: the folder of the run that failed, if the run can be resumed once the cause is fixed.
    """

    run_folder: Path | None = None

    def __str__(self) -> str:
        # KeyError, a base of UnknownNameError, would print the message in quotes. Messages quote values and names from
        # files, which may hold control characters.
        return printable(str(self.args[0]), keep="\n") if self.args else ""


class ConfigError(ChainruleError, ValueError):
    """An option or hyperparameter is unknown, of the wrong type or out of range."""


class CheckpointError(ChainruleError):
    """A run cannot be resumed: a checkpoint is damaged or belongs to another run."""


class DataError(ChainruleError):
    """A dataset could not be found, read or verified."""


class DivergenceError(ChainruleError, ArithmeticError):
    """The training loss is no longer a finite number."""


class ModelFileError(ChainruleError):
    """A model file is damaged or of an unknown format."""


class OutOfMemoryError(ChainruleError, MemoryError):
    """Out of memory during a run that can be resumed."""


class OutputError(ChainruleError):
    """The results of a run could not be written."""
