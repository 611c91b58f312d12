"""What all tests share: no outside network, no settings of the person who runs them, results in temporary folders."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from chainrule.core.errors import DataError
from chainrule.data import Dataset, load_dataset

# A script that asks PyTorch and mpmath, which are no dependencies. Collecting doctests would import it.
collect_ignore = ["golden/make_golden.py"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Set in continuous integration: what a test needs and does not find is then an error and no reason to skip it.
NOTHING_SKIPPED = bool(os.environ.get("CHAINRULE_TEST_ALL"))


@pytest.fixture(scope="session")
def _real_data() -> str:
    """Have the real datasets at hand, fetched where need be; says why not where that fails."""
    try:
        for name in ("fashion_mnist", "mnist"):
            load_dataset(name)
    except DataError as error:
        return str(error)
    return ""


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    """Skip, or in continuous integration fail, a test whose marker asks for what is not there."""
    if request.node.get_closest_marker("real_data"):
        missing = request.getfixturevalue("_real_data")
        if missing:
            (pytest.fail if NOTHING_SKIPPED else pytest.skip)(missing)
    if request.node.get_closest_marker("torch") and find_spec("torch") is None:
        (pytest.fail if NOTHING_SKIPPED else pytest.skip)("PyTorch is not installed; golden.json holds its numbers")


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
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib")))


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
