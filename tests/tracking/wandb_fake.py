"""A stand-in for the wandb package that remembers what it was called with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tracking.tracked_program import toy_run

from chainrule.runs.tracking.wandb import WandbTracker


class FakeError(Exception):
    """Stands for wandb.Error."""


class FakeRun:
    """Stands for wandb's run: remembers what it was called with, and fails where a test says so."""

    def __init__(self, folder: Path) -> None:
        self.dir = str(folder / "wandb" / "offline-run-1" / "files")
        self.url = "https://wandb.example.org/run"
        self.id = "abc123"
        self.calls: list[tuple[str, Any]] = []
        self.fails: dict[str, BaseException] = {}
        self.summary = SimpleNamespace(update=lambda values: self._call("summary", values))

    def _call(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name in self.fails:
            raise self.fails[name]

    def define_metric(self, name: str, **options: Any) -> None:
        self._call("define_metric", (name, options))

    def log(self, values: dict[str, Any]) -> None:
        self._call("log", values)

    def log_artifact(self, artifact: Any) -> None:
        self._call("log_artifact", artifact)

    def finish(self, exit_code: int) -> None:
        self._call("finish", exit_code)

    def of(self, name: str) -> list[Any]:
        """The arguments of each call of one method."""
        return [value for call, value in self.calls if call == name]


class FakeArtifact:
    def __init__(self, name: str, type: str) -> None:
        self.made = (name, type)
        self.files: list[tuple[str, dict[str, Any]]] = []

    def add_file(self, path: str, **options: Any) -> None:
        self.files.append((path, options))


class FakeWandb:
    """Stands for the module."""

    Error = FakeError

    def __init__(self, run: FakeRun) -> None:
        self.run = run
        self.settings = SimpleNamespace(
            mode="online", base_url="https://api.wandb.ai", http_proxy=None, https_proxy="http://proxy:1"
        )
        self.inits: list[dict[str, Any]] = []
        self.fails: dict[str, BaseException] = {}
        self.torn_down = 0
        self.Artifact = FakeArtifact
        self.plot = SimpleNamespace(confusion_matrix=lambda **options: ("chart", options))

    def setup(self) -> Any:
        return SimpleNamespace(settings=self.settings)

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def init(self, **options: Any) -> FakeRun:
        self.inits.append(options)
        if options["mode"] in self.fails:
            raise self.fails[options["mode"]]
        return self.run

    def Image(self, pixels: Any, caption: str | None = None) -> tuple[str, Any, str | None]:
        return ("image", pixels.tolist() if isinstance(pixels, np.ndarray) else pixels, caption)

    def Table(self, columns: list[str], data: list[list[Any]]) -> tuple[str, Any, Any]:
        return ("table", columns, data)

    def teardown(self) -> None:
        self.torn_down += 1


def started(
    folder: Path, messages: list[str], mode: Any = "offline", shape: tuple[int, int] | None = (2, 2)
) -> WandbTracker:
    tracker = WandbTracker("demo", "team", mode, notify=messages.append)
    tracker.start(toy_run(folder, shape))
    return tracker
