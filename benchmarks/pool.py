"""Handles of child processes, and the environment that sets the number of threads of each."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

__all__ = ["Child", "ChildError", "count_cores", "make_environment", "resolve_threads"]

HERE = Path(__file__).resolve().parent
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChildError(Exception):
    """A call failed, or the child died or timed out."""


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_threads(setting: str) -> int | None:
    """Convert a setting of `systems.Entry.threads` to a number; None for a system's own choice."""
    return None if setting == "own" else count_cores() if setting == "all" else int(setting)


def make_environment(threads: int | None) -> dict[str, str]:
    """Make the environment of a child: BLAS, OpenMP and XLA read the number of threads when they are loaded."""
    variables = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    if threads is not None:
        variables |= dict.fromkeys(_VARIABLES, str(threads))
        variables["NPROC"] = str(threads)  # XLA's thread pool
        if threads == 1:
            variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    variables["TF_CPP_MIN_LOG_LEVEL"] = "2"
    return variables


class Child:
    """A long-lived process that holds one object and computes only during a call.

    Args:
        target: the class of the object, as module:class, importable from the benchmarks folder.
        arguments: of its constructor.
        threads: see `make_environment`.
        log: file for its output.
        variables: additional environment variables.
    """

    def __init__(
        self,
        target: str,
        arguments: dict[str, Any],
        threads: int | None,
        log: Path,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._log: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "child.py"), target, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=make_environment(threads) | dict(variables),
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def call(self, method: str = "", timeout: float = 600, **arguments: Any) -> Any:
        """Call a method of the object; without a name, only construct it.

        Raises:
            ChildError: the call failed; the message gives the reason.
        """
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps({"call": method, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.stop()
            raise ChildError(f"no answer within {timeout:g} seconds") from None
        except OSError:
            line = ""
        if not line:
            raise ChildError(f"the process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer["result"]

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()
