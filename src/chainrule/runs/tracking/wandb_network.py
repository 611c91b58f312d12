"""Asking the network about a W&B server, before wandb does it at length."""

from __future__ import annotations

import socket
import threading
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

__all__ = ["host_of", "reachable", "uses_proxy"]

_PROBE_SECONDS = 3.0


def host_of(server: str) -> str:
    """The host and port in a server's address, without the user and password that may stand before them.

    >>> host_of("http://user:password@localhost:8080/api")
    'localhost:8080'
    """
    return urlsplit(server).netloc.rpartition("@")[2]


def uses_proxy(address: str) -> bool:
    """Whether the way to a server leads through a proxy: then only the proxy knows what can be reached."""
    parts = urlsplit(address)
    proxies = urllib.request.getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(parts.hostname or "")


def reachable(address: str) -> bool:
    """Whether something accepts connections at an address; knows it after a few seconds.

    `wandb.init` takes its whole timeout, once for each attempt, to find out the same. The probe has a thread of its
    own because looking up a name cannot be given a time limit.
    """
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    answered = threading.Event()

    def connect() -> None:
        # UnicodeError: a name that no name server can be asked for, such as one with two dots in a row.
        with suppress(OSError, UnicodeError):
            socket.create_connection((parts.hostname or "", port), timeout=_PROBE_SECONDS).close()
            answered.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return answered.is_set()
