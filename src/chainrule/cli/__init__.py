"""The command line: `chainrule <command> ...`, and `python train.py ...` for the train command."""

from chainrule.cli.main import main

__all__ = ["main"]
