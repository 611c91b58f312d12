"""Shared by all tests: requirements of markers, no outside network, no settings of the person who runs them."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from chainrule.core.errors import DataError
from chainrule.data import Dataset, load_dataset

# A shell that runs the tests in the background may have Ctrl-C ignored, which the programs under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A script that imports PyTorch and mpmath, which are no dependencies. Collecting doctests would import it.
collect_ignore = ["golden/make_golden.py"]

# W&B's checker of sweep files requires an old NumPy, so it has an environment of its own.
CHECKER = Path(__file__).resolve().parents[1] / ".venv-sweeps/bin/python"

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Set in continuous integration: a test whose requirements are missing then fails instead of being skipped.
NOTHING_SKIPPED = bool(os.environ.get("CHAINRULE_TEST_ALL"))


def _without(*programs: str) -> str:
    """Which of these programs are not on the PATH, or ""."""
    missing = [name for name in programs if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@functools.cache
def _without_real_data() -> str:
    """Make the real datasets available, downloading them if necessary; returns why that failed, or ""."""
    try:
        for name in ("fashion_mnist", "mnist"):
            load_dataset(name)
    except DataError as error:
        return str(error)
    return ""


# What the tests with a marker require beyond `make test`: each function returns what is missing, or "".
REQUIREMENTS: dict[str, Callable[[], str]] = {
    "real_data": _without_real_data,
    "torch": lambda: "" if find_spec("torch") else "PyTorch is not installed; golden.json holds its numbers",
    "browser": lambda: _without("chromium"),
    "checker": lambda: "" if CHECKER.exists() else "W&B's checker is not installed: make .venv-sweeps/.installed",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the `browser` fixture."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test, or fail it in continuous integration, if a requirement of its markers is missing."""
    for marker, missing in REQUIREMENTS.items():
        if item.get_closest_marker(marker) and (reason := missing()):
            (pytest.fail if NOTHING_SKIPPED else pytest.skip)(reason)


@pytest.fixture(autouse=True)
def _no_outside_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines, so that no test depends on them by accident."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in _LOOPBACK:
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of the person who runs the tests must not change their outcome."""
    for name in list(os.environ):
        if name.startswith(("WANDB", "CHAINRULE")) and name not in ("CHAINRULE_DATA_DIR", "CHAINRULE_CACHE_DIR"):
            monkeypatch.delenv(name)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", seed=0)


@pytest.fixture
def strict_arithmetic() -> Iterator[None]:
    """An overflow, a division by 0 or a NaN in the block is an error."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        yield
