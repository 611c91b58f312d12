"""What all tests share: no outside network, no settings of the person who runs them, results in temporary folders."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chainrule.data.dataset import Dataset, load_dataset

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
        if name.startswith(("WANDB", "CHAINRULE")) and name != "CHAINRULE_DATA_DIR":
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
