"""Every error that chainrule raises on purpose.

A message says what was wrong, what was got, what is allowed and what to do, so the command line can print it alone,
without a traceback. Anything else that escapes is a bug.
"""

from chainrule.core.text import printable_lines

__all__ = [
    "ChainruleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "ModelFileError",
    "OutOfMemoryError",
    "OutputError",
    "missing_extra",
]


class ChainruleError(Exception):
    """Base of all errors raised by chainrule."""

    def __str__(self) -> str:
        # KeyError, a base of UnknownNameError, would print the message with quotes around it. And a message quotes what
        # was got, names and texts out of files among it.
        return printable_lines(str(self.args[0])) if self.args else ""


class ConfigError(ChainruleError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class CheckpointError(ChainruleError):
    """A run cannot be resumed: a checkpoint is damaged, or belongs to something else."""


class DataError(ChainruleError):
    """A dataset could not be found, read or verified."""


class DivergenceError(ChainruleError, ArithmeticError):
    """The training loss is no longer a finite number."""


class ModelFileError(ChainruleError):
    """A file of saved parameters is not one that chainrule can use."""


class OutOfMemoryError(ChainruleError, MemoryError):
    """Memory was short in a run that can go on where there is more."""


class OutputError(ChainruleError):
    """A run's results could not be written."""


def missing_extra(feature: str, extra: str, error: ImportError) -> "ConfigError":
    """The error for a feature whose optional packages are not installed."""
    return ConfigError(
        f"{feature} need packages that are not installed ({error.name}). Install them: pip install 'chainrule[{extra}]'"
    )
