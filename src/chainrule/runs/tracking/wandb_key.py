"""Finding the key of a Weights & Biases account, without ever showing it.

A key opens everything that its account may do, so it is kept out of files that others get to see: it is taken from
the environment, from a file that git does not record, or from where `wandb login` put it. It is never a flag (command
lines are visible to every user of a machine and are recorded with the run).
"""

from __future__ import annotations

import netrc
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from chainrule.core.errors import ConfigError
from chainrule.runs.tracking.wandb_network import host_of

__all__ = ["KEY_FILE", "key_from_file", "key_from_login"]

KEY_FILE = "wandb_key.txt"

# The public server answers to both names, and netrc files written over the years hold one or the other.
_PUBLIC_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")


def key_from_file(folder: Path, notify: Callable[[str], None]) -> str | None:
    """The key in `wandb_key.txt`, or None where there is no usable one.

    Args:
        folder: where the file may lie.
        notify: is told, in one line, of a file that cannot be used or that is easily committed by mistake.

    Raises:
        ConfigError: git tracks the file, so the key is in the history of a repository.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        return None
    if _git(folder, "ls-files", "--error-unmatch", "--", KEY_FILE) == 0:
        raise ConfigError(
            f"{path} holds a W&B key and git tracks it, so everyone who can read the repository can use the key: it "
            f"is compromised. Revoke it at https://wandb.ai/settings, run `git rm --cached {KEY_FILE}`, add "
            f"{KEY_FILE} to .gitignore and put a new key there (or run `wandb login`, or set WANDB_API_KEY)."
        )
    # 0: ignored, 1: not ignored, anything else: no repository, or no git.
    if _git(folder, "check-ignore", "--quiet", KEY_FILE) == 1:
        notify(f"W&B: git does not ignore {path}; add {KEY_FILE} to .gitignore, or your key may be committed.")
    try:
        # Windows' editors may put a byte order mark first, which "utf-8-sig" takes off.
        key = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        notify(f"W&B: {path} is not used because it cannot be read ({type(error).__name__}).")
        return None
    if re.fullmatch(r"[\w.-]+", key) is None:
        notify(f"W&B: {path} is not used: it should hold one key and nothing else.")
        return None
    return key


def _git(folder: Path, *arguments: str) -> int | None:
    """The exit status of a git command about `folder`; None where it could not be run."""
    # Inside a git hook these variables name the hook's repository, which need not be the folder's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # A repository that belongs to another user (a mounted volume in a container) is otherwise not looked into, and a
    # tracked key would pass. Looking is safe with the file-system monitor, a program the repository can name, off.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode


def key_from_login(server: str) -> str | None:
    """The key that `wandb login` stored for a server, for example https://api.wandb.ai, or None."""
    chosen = os.environ.get("NETRC")
    places = [chosen] if chosen else ["~/.netrc", "~/_netrc"]
    host = host_of(server)
    for place in places:
        try:
            path = Path(place).expanduser()
            if not path.is_file():  # opening a pipe would wait for somebody to write into it
                continue
            # Only entries that name the server: the `default` entry of a netrc file is a password for somewhere else.
            stored = netrc.netrc(str(path)).hosts
        except (OSError, UnicodeDecodeError, netrc.NetrcParseError, RuntimeError):
            # No file, one that `wandb login` did not write, or no home folder: as good as not logged in.
            continue
        for name in (host, *_PUBLIC_HOSTS) if host in _PUBLIC_HOSTS else (host,):
            if name in stored and stored[name][2]:
                return stored[name][2]
    return None
