"""What W&B's library reads from the environment only, set so that it is quiet and keeps to the run's folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

__all__ = ["environment", "variable"]

# Seconds that an answer of the server may take.
_ANSWER_SECONDS = 8


@contextmanager
def environment(folder: Path) -> Iterator[None]:
    """A block in which wandb finds what it reads from there only; what the user has set stays, if it can be used.

    Args:
        folder: of the run, for what wandb keeps beside it.
    """
    # wandb's own messages would break the progress bar, and reports of its errors go to a third party.
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # How long an answer may take; the default makes a table wait 19 seconds for a server that went away.
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(_ANSWER_SECONDS))
    # By default a killed run loses its last 15 seconds.
    os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.1")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        # Where one of these is empty, or ends in the line end of the file it came from, wandb does not start.
        if value := variable(name):
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    if not _writable(Path(os.environ.get("WANDB_CACHE_DIR") or platformdirs.user_cache_dir("wandb"))):
        # Without a place for its log, wandb's helper process writes it to the terminal.
        os.environ["WANDB_CACHE_DIR"] = tempfile.mkdtemp(prefix="wandb-cache-")
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    # Tables wait here for their upload, offline until `wandb sync`: they belong to the run, not to the home folder.
    # Another run in this process has another folder, so this does not outlive the call.
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb").absolute())
    try:
        yield
    finally:
        os.environ.pop("WANDB_DATA_DIR", None)


def variable(name: str) -> str:
    """A variable of the environment without white space around it; empty where it is not set."""
    return os.environ.get(name, "").strip()


def _writable(folder: Path) -> bool:
    """Whether files can be made in the folder, which is created if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
