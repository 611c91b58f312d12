"""Mirroring a run to Weights & Biases (W&B), a web service that stores and compares training runs.

Whatever goes wrong with W&B (no account, no connection, a server that fails during the run) is reported in one line,
and training continues. What cannot be sent is recorded on disk for `wandb sync`. Nothing is read back from W&B.

This is the only module that imports `wandb`, and only when a run starts: importing takes half a second.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs

from chainrule.core.errors import ConfigError
from chainrule.core.extras import is_installed, missing_extra
from chainrule.core.files import read_json, write_json
from chainrule.nn.metrics import Evaluation
from chainrule.runs.config import WANDB_MODES
from chainrule.runs.run import Run, Status
from chainrule.runs.tracking.wandb_account import (
    KEY_FILE,
    get_host,
    get_variable,
    is_reachable,
    read_key_file,
    read_login_key,
)
from chainrule.training.history import EpochRecord, record_names

__all__ = ["WandbTracker", "make_wandb_tracker"]

_ENVIRONMENT = {
    # wandb's messages would break the progress bar, and its error reports go to a third party.
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    # Seconds per answer of the server; by default, a table waits 19 seconds for a server that is gone.
    "WANDB_HTTP_TIMEOUT": "8",
    # By default, a killed run loses its last 15 seconds.
    "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1",
}
_OFFLINE = "offline mode"  # requested, so nothing to warn about
_ID_FILE = "wandb.json"  # in the run folder: the id of the W&B run, for resuming
_INIT_SECONDS = 15.0
_FINISH_SECONDS = 10.0


def make_wandb_tracker(
    mode: str, project: str, entity: str | None, *, notify: Callable[[str], None]
) -> WandbTracker | None:
    """Make the tracker for a mode; None if W&B is disabled, or in mode "auto" not installed.

    Args:
        mode: "online", "offline", "disabled", or "auto": what WANDB_DISABLED or WANDB_MODE in the environment says,
            else online if possible.
        project: the W&B project.
        entity: the W&B user or team; None for that of the login.
        notify: receives messages for the user.

    Raises:
        ConfigError: the mode is unknown, the key file is tracked by git, or wandb is not installed.
    """
    if mode not in WANDB_MODES:
        raise ConfigError(f"wandb_mode must be one of {', '.join(WANDB_MODES)}, got {mode!r}.")
    is_turned_off = get_variable("WANDB_DISABLED").lower() in ("true", "1", "yes", "on")
    if mode == "disabled" or (mode == "auto" and (is_turned_off or get_variable("WANDB_MODE") == "disabled")):
        return None
    if not is_installed("wandb"):
        if mode != "auto":
            raise missing_extra("W&B runs", "train", "wandb")
        notify("W&B: not tracking this run, because wandb is not installed (pip install 'chainrule[train]').")
        return None
    return WandbTracker(project, entity, mode, notify=notify)


class WandbTracker:
    """A tracker that mirrors a run to one W&B run.

    No method raises because of W&B. The first failure after the start is reported, and nothing more is sent. Arguments
    and errors are those of `make_wandb_tracker`, without mode "disabled"; "online" warns if it cannot go online.
    """

    def __init__(self, project: str, entity: str | None, mode: str, *, notify: Callable[[str], None]) -> None:
        self._project, self._entity, self._mode, self._notify = project, entity, mode, notify
        # The file is checked even if the environment has a key: a tracked one must not go unnoticed.
        file_key = None if mode == "offline" else read_key_file(Path(), notify)
        self._key = get_variable("WANDB_API_KEY") or file_key
        self._wandb_run: Any = None
        self._has_failed = False
        self._run: Run

    def start(self, run: Run) -> None:
        """Open the W&B run, online or on disk, and send the configuration and one sample image per class."""
        self._run = run
        self._has_set_data_dir = _set_environment(run.folder)
        try:
            self._wandb_run = self._open()
        # wandb raises SystemExit if its service process died.
        except (Exception, SystemExit) as error:
            self._say(f"not tracking this run, because wandb does not start ({self._describe_error(error)}).")
        self._send(self._send_description)

    def log(self, record: EpochRecord) -> None:
        """Send an epoch record."""
        self._send(lambda: self._wandb_run.log({name: x for name, x in record.as_dict().items() if x is not None}))

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """Send the test results, the confusion matrix, the scores per class, the figures and the model."""
        self._send(lambda: self._send_report(metrics, test, figures, model))

    def log_images(self, paths: Mapping[str, Path]) -> None:
        """Send images by name."""
        self._send(lambda: self._wandb_run.log(_load_images(paths)))

    def finish(self, status: Status, reason: str = "") -> None:
        """Close the W&B run; waits at most some seconds for what is still to be sent."""
        if self._wandb_run is None:
            return
        summary = {"status": status, "reason": reason} if reason else {"status": status}
        try:
            self._send(lambda: self._wandb_run.summary.update(summary))
            self._wandb_run.finish(exit_code=0 if status == "finished" else 1)
        # KeyboardInterrupt: the user does not want to wait for the upload.
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if not self._has_failed:
                self._say(f"not everything was sent ({self._describe_error(error)}). {self._describe_sync()}")
            if not isinstance(error, TimeoutError):
                _stop_service()
        self._wandb_run = None
        if self._has_set_data_dir:
            os.environ.pop("WANDB_DATA_DIR", None)

    def _open(self) -> Any:
        """Start the W&B run: online if requested and possible, else on disk; None if the user has disabled W&B."""
        import wandb

        # Reads WANDB_... and the settings files of `wandb login --host`, `wandb offline` and `wandb disabled`.
        settings = wandb.setup().settings
        if self._mode == "auto" and settings.mode == "disabled":
            return None
        obstacle = self._find_obstacle(settings)
        if not obstacle:
            folder = self._run.folder / "wandb"
            before = set(folder.glob("run-*"))
            try:
                opened = self._init("online")
            except (Exception, SystemExit) as error:
                obstacle = f"not online ({self._describe_error(error)})"
                if self._run.resumed or not isinstance(error, wandb.Error):
                    # The service process may have died, or may hold the id of the resumed run.
                    _stop_service()
                # `wandb sync` would make an empty run of what is left. Earlier ones may hold what could not be sent.
                for left in set(folder.glob("run-*")) - before:
                    shutil.rmtree(left, ignore_errors=True)
            else:
                self._say(opened.url or "online")
                return opened
        self._wandb_run = opened = self._init("offline")
        if obstacle == _OFFLINE:
            self._say(f"recording offline. {self._describe_sync()}")
        else:
            warning = "warning: online mode was requested, but " if self._mode == "online" else ""
            self._say(f"{warning}{obstacle}; recording offline. {self._describe_sync()}")
        return opened

    def _find_obstacle(self, settings: Any) -> str:
        """Why the run cannot go online; empty if it can. Finds the key."""
        # wandb reads the environment once per process, but a notebook may have changed it since.
        chosen = (get_variable("WANDB_MODE") or settings.mode) if self._mode == "auto" else self._mode
        if chosen in ("offline", "dryrun"):
            return _OFFLINE
        self._key = self._key or read_login_key(settings.base_url)
        if not self._key:
            return f"not logged in (run `wandb login`, set WANDB_API_KEY, or put the key into {KEY_FILE})"
        if not (settings.http_proxy or settings.https_proxy or is_reachable(settings.base_url)):
            return f"no connection to the server ({get_host(settings.base_url)})"
        return ""

    def _init(self, mode: Literal["online", "offline"]) -> Any:
        """Call `wandb.init`. W&B chooses the id of a new run; under a W&B sweep, the agent has chosen it."""
        import wandb

        run = self._run
        resume: dict[str, Any] = {}
        if (known := self._read_id()) and not os.environ.get("WANDB_RUN_ID"):
            # Offline too: `wandb sync` then appends to the run that the first part has become.
            resume = {"id": known, "resume": "allow"}
        settings = {
            "init_timeout": _INIT_SECONDS,
            "finish_timeout": _FINISH_SECONDS,
            "finish_timeout_raises": True,
            "symlink": False,
            # Neither terminal output, nor code, nor the repository's address (which may hold a token) are sent.
            "console": "off",
            "save_code": False,
            "disable_git": True,
        }
        if mode == "online":
            # Passed explicitly, so that wandb never asks for it on the terminal.
            settings["api_key"] = self._key
        opened = wandb.init(
            project=self._project,
            entity=self._entity,
            name=run.name,
            config=dict(run.config),
            dir=None if os.environ.get("WANDB_DIR") else str(run.folder),
            mode=mode,
            # Leaves alone a run that the calling program, such as a notebook, may have open.
            reinit="create_new",
            settings=wandb.Settings(**settings),
            **resume,
        )
        with suppress(OSError):
            write_json(run.folder / _ID_FILE, {"id": str(opened.id)})
        return opened

    def _read_id(self) -> str | None:
        """The id of the W&B run that a resumed run continues, or None."""
        known = read_json(self._run.folder / _ID_FILE).get("id") if self._run.resumed else None
        return known if isinstance(known, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", known) else None

    def _send_description(self) -> None:
        """Make the epoch the x axis of the charts, and send one training image per class."""
        import wandb

        self._wandb_run.define_metric("epoch")
        for name in record_names()[1:]:
            self._wandb_run.define_metric(name, step_metric="epoch")
        data = self._run.dataset
        if data.image_shape is not None:
            images = []
            for label, index in zip(*np.unique(data.train_labels, return_index=True), strict=True):
                pixels = np.rint(255 * data.x_train[index].reshape(data.image_shape)).astype(np.uint8)
                images.append(wandb.Image(pixels, caption=data.classes[label]))
            self._wandb_run.log({"sample_images": images})

    def _send_report(
        self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path
    ) -> None:
        import wandb

        numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
        # Numbers first: tables and artifacts, unlike these, cannot be logged while the server fails.
        self._wandb_run.summary.update(numbers)
        tests = {name: value for name, value in numbers.items() if name.startswith("test_")}
        self._wandb_run.log(tests | _load_images(figures))
        if "per_class" in metrics:
            scores = ("precision", "recall", "f1", "support")
            rows = [[name, *(of_class[score] for score in scores)] for name, of_class in metrics["per_class"].items()]
            chart = wandb.plot.confusion_matrix(
                y_true=test.labels.tolist(),
                preds=test.predictions.tolist(),
                class_names=list(self._run.dataset.classes),
                title="Confusion matrix (test set)",
            )
            table = wandb.Table(columns=["class", *scores], data=rows)
            self._wandb_run.log({"confusion_matrix": chart, "per_class": table})
        # W&B allows these characters in the name of an artifact, and at most 128.
        artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "-", self._run.name)[:128], type="model")
        # The model file does not change any more, so it need not be copied.
        artifact.add_file(str(model), policy="immutable", skip_cache=True)
        self._wandb_run.log_artifact(artifact)

    def _send(self, send: Callable[[], None]) -> None:
        if self._wandb_run is None or self._has_failed:
            return
        try:
            send()
        except (Exception, SystemExit) as error:
            self._has_failed = True
            why = self._describe_error(error)
            self._say(f"tracking stops here, training continues ({why}). {self._describe_sync()}")

    def _describe_sync(self) -> str:
        """How to send what is on disk."""
        return f"To send what was recorded: wandb sync {shlex.quote(str(Path(self._wandb_run.dir).parent))}"

    def _describe_error(self, error: BaseException) -> str:
        """An exception in one short line."""
        text = self._redact(" ".join(str(error).split()))
        return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__

    def _say(self, line: str) -> None:
        self._notify(self._redact(f"W&B: {line}"))

    def _redact(self, text: str) -> str:
        """Remove the key, and `user:password@` in addresses of servers and proxies."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return re.sub(r"//[^/\s'\"]*@", "//", text)


def _load_images(paths: Mapping[str, Path]) -> dict[str, Any]:
    import wandb

    return {f"figures/{name}": wandb.Image(str(path)) for name, path in paths.items()}


def _stop_service() -> None:
    """Stop wandb's service process after an error; its own clean-up at exit would print a traceback."""
    with suppress(Exception, SystemExit):
        import wandb

        wandb.teardown()


def _set_environment(folder: Path) -> bool:
    """Set what wandb reads from the environment only; values that the user has set stay, if they are usable.

    Returns:
        Whether WANDB_DATA_DIR was set, which is to be removed after the run.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        # wandb does not start if one of these is empty or ends in a line break.
        value = get_variable(name)
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    cache = Path(os.environ.get("WANDB_CACHE_DIR") or platformdirs.user_cache_dir("wandb"))
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if not os.access(cache, os.W_OK | os.X_OK):
        # Otherwise wandb's service process prints its log to the terminal.
        os.environ["WANDB_CACHE_DIR"] = tempfile.mkdtemp(prefix="wandb-cache-")
    if "WANDB_DATA_DIR" in os.environ:
        return False
    # Tables are staged here until they are uploaded, offline until `wandb sync`: they belong to the run.
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb").absolute())
    return True
