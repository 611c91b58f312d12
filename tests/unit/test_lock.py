"""File locks: held by one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.core.errors import OutputError
from chainrule.core.files import hold_lock, is_locked


def refuse(error: OSError) -> OutputError:
    return OutputError(f"refused: {error.strerror}")


def test_a_lock_is_held_once_and_released_even_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"

    def fail_while_held() -> None:
        with hold_lock(path, busy="it is busy", unwritable=refuse):
            assert is_locked(path)
            with pytest.raises(OutputError, match="it is busy"), hold_lock(path, busy="it is busy", unwritable=refuse):
                pytest.fail("held twice")
            raise ZeroDivisionError

    assert not is_locked(path)
    with pytest.raises(ZeroDivisionError):
        fail_while_held()
    assert not is_locked(path)


def test_a_lock_that_cannot_be_created(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="refused: No such file"),
        hold_lock(tmp_path / "a" / "b" / "lock", busy="", unwritable=refuse),
    ):
        pytest.fail("there is no such folder")
