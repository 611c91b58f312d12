"""Whether a run can go online on Weights & Biases (W&B): the account's API key, and a connection to the server.

The key gives access to everything in the account, so it is taken only from the environment, from a file that git does
not track, or from where `wandb login` stored it. It is never a flag: command lines are visible to all users of a
machine and are recorded with the run.
"""

from __future__ import annotations

import netrc
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from chainrule.core.errors import ConfigError

__all__ = ["KEY_FILE", "get_host", "get_variable", "is_reachable", "read_key_file", "read_login_key"]

KEY_FILE = "wandb_key.txt"

# Names of the public server; `wandb login` has stored keys under both.
_PUBLIC_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
_CONNECT_SECONDS = 3.0


def get_variable(name: str) -> str:
    """An environment variable without surrounding white space; empty if it is not set."""
    return os.environ.get(name, "").strip()


def get_host(server: str) -> str:
    """The host and port of a server's address, without user and password.

    >>> get_host("http://user:password@localhost:8080/api")
    'localhost:8080'
    """
    return urlsplit(server).netloc.rpartition("@")[2]


def read_key_file(folder: Path, notify: Callable[[str], None]) -> str | None:
    """The key in `wandb_key.txt`, or None if there is no usable one.

    Raises:
        ConfigError: git tracks the file, so the key is in the history of a repository.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        return None
    if _run_git(folder, "ls-files", "--error-unmatch", "--", KEY_FILE) == 0:
        raise ConfigError(
            f"{path} holds a W&B key and git tracks it, so everyone who can read the repository can use the key. "
            f"Revoke it at https://wandb.ai/settings, run `git rm --cached {KEY_FILE}`, add {KEY_FILE} to .gitignore "
            "and put a new key there (or run `wandb login`, or set WANDB_API_KEY)."
        )
    if _run_git(folder, "check-ignore", "-q", KEY_FILE) == 1:  # 1: not ignored; 128: no repository
        notify(f"W&B: git does not ignore {path}; add {KEY_FILE} to .gitignore, or the key may be committed.")
    key = ""
    with suppress(OSError, UnicodeDecodeError):
        key = path.read_text(encoding="utf-8-sig").strip()
    if re.fullmatch(r"[\w.-]+", key) is None:
        notify(f"W&B: {path} is not used: it must hold one key as text and nothing else.")
        return None
    return key


def _run_git(folder: Path, *arguments: str) -> int | None:
    """The exit status of a git command in a folder; None if git could not be run."""
    # Inside a git hook these variables select the hook's repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Also inspect repositories owned by another user, such as a volume in a container. It is safe without fsmonitor, a
    # program that a repository can set.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode
    return None


def read_login_key(server: str) -> str | None:
    """The key that `wandb login` stored for a server such as https://api.wandb.ai, or None."""
    host, name = get_host(server), "~/_netrc" if os.name == "nt" else "~/.netrc"
    # RuntimeError: there is no home folder.
    with suppress(OSError, UnicodeDecodeError, netrc.NetrcParseError, RuntimeError):
        hosts = netrc.netrc(str(Path(os.environ.get("NETRC") or name).expanduser())).hosts
        for known in _PUBLIC_HOSTS if host in _PUBLIC_HOSTS else (host,):
            if known in hosts:
                return hosts[known][2] or None
    return None


def is_reachable(server: str) -> bool:
    """Whether a server accepts connections, or is behind a proxy; known within seconds.

    `wandb.init` needs its whole timeout to find that out.
    """
    parts = urlsplit(server)
    proxies = urllib.request.getproxies()
    if (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(parts.hostname or ""):
        return True
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError):  # UnicodeError: an invalid host name
        return False
    return True
