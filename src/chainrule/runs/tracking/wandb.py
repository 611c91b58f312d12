"""Mirroring a run to Weights & Biases (W&B), a website that keeps and compares training runs.

A mirror must never hurt the original. So nothing is read back from W&B; whatever goes wrong with it (no account, no
network, a server that goes away in the middle) is said in one line, and training goes on. What cannot be sent is
recorded on disk, where `wandb sync` finds it later.

This is the only module that imports `wandb`, and only when a run starts: it takes half a second.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.files import read_json, write_json
from chainrule.runs.config import WANDB_MODES
from chainrule.runs.tracking.wandb_environment import environment, variable
from chainrule.runs.tracking.wandb_key import KEY_FILE, key_from_file, key_from_login
from chainrule.runs.tracking.wandb_network import host_of, reachable, uses_proxy
from chainrule.training.history import EpochRecord, record_names

if TYPE_CHECKING:
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network
    from chainrule.runs.tracking.base import Run, Status

__all__ = ["WandbTracker", "wandb_tracker"]

# The values that W&B itself accepts in WANDB_MODE, in our terms.
_ENVIRONMENT_MODES: dict[str, Literal["online", "offline", "disabled"]] = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}

_OFFLINE = "offline mode"  # no obstacle, but what the user wants

# In the run's folder: which of W&B's runs a resumed run goes on with.
_ID_FILE = "wandb.json"
_INIT_SECONDS = 15.0
_FINISH_SECONDS = 10.0


def wandb_tracker(
    mode: str, project: str, entity: str | None, *, notify: Callable[[str], None], key_folder: Path | None = None
) -> WandbTracker | None:
    """Build the tracker that a mode asks for, or None where W&B is disabled.

    Args:
        mode: "online", "offline" and "disabled" are meant as said; "auto" is what `WANDB_DISABLED` or `WANDB_MODE` in
            the environment says and, without them, online where possible.
        project: the W&B project.
        entity: the W&B account or team; None for the account's own default.
        notify: shows one line to the user.
        key_folder: where `wandb_key.txt` may lie; None for the current folder.

    Raises:
        ConfigError: the mode or WANDB_MODE is unknown, or the key file is tracked by git.
    """
    if mode not in WANDB_MODES:
        raise ConfigError(f"wandb_mode must be one of {', '.join(WANDB_MODES)}. Got {mode!r} instead.")
    asked = variable("WANDB_MODE") if mode == "auto" else ""
    # An old variable of W&B's own, which other libraries go on reading.
    if mode == "auto" and variable("WANDB_DISABLED").lower() in ("true", "1", "yes", "on"):
        mode = "disabled"
    elif asked:
        if asked not in _ENVIRONMENT_MODES:
            allowed = "online, offline, disabled"
            raise ConfigError(f"The environment variable WANDB_MODE must be one of {allowed}. Got {asked!r} instead.")
        mode = _ENVIRONMENT_MODES[asked]
    if mode == "disabled":
        return None
    wanted: Literal["auto", "online", "offline"] = (
        "online" if mode == "online" else "offline" if mode == "offline" else "auto"
    )
    return WandbTracker(project, entity, wanted, notify=notify, key_folder=key_folder)


class WandbTracker:
    """A tracker (see `chainrule.runs.tracking.base`) that feeds one W&B run.

    None of its methods raises because of W&B. The first failure after the start is told once, and nothing more is sent.

    Args:
        project: the W&B project.
        entity: the W&B account or team; None for the account's own default.
        mode: "auto" goes online with a key and a network; "online" does the same and says more loudly that it could
            not; "offline" records on disk only.
        notify: shows one line to the user.
        key_folder: where `wandb_key.txt` may lie; None for the current folder.

    Raises:
        ConfigError: the key file is tracked by git.
    """

    def __init__(
        self,
        project: str,
        entity: str | None,
        mode: Literal["auto", "online", "offline"],
        *,
        notify: Callable[[str], None],
        key_folder: Path | None = None,
    ) -> None:
        self._project = project
        self._entity = entity
        self._mode = mode
        self._notify = notify
        self._key: str | None = None
        if mode != "offline":
            # The file is looked at even where the environment has a key: one that git tracks must not go unnoticed.
            from_file = key_from_file(key_folder or Path(), notify)
            self._key = variable("WANDB_API_KEY") or from_file
        self._run: Any = None  # wandb's run once started
        self._broken = False  # after the first failure
        self._classes: tuple[str, ...] = ()
        self._name = ""
        self._folder = Path()

    def start(self, run: Run) -> None:
        """Open the W&B run, online or on disk, and send the configuration and one sample image of each class."""
        self._classes, self._name, self._folder = run.dataset.classes, run.name, run.folder
        try:
            with environment(self._folder):
                self._run = self._open(run)
        except ImportError as error:
            self._tell(
                f"W&B: not tracking, because wandb cannot be imported ({self._reason(error)}). "
                "Install it with `pip install wandb`."
            )
        # wandb ends the program (SystemExit) where its helper process died; the run is to go on.
        except (Exception, SystemExit) as error:
            self._tell(f"W&B: not tracking this run, because wandb does not start ({self._reason(error)}).")
        self._guard(lambda: self._describe(run))

    def log(self, record: EpochRecord, network: Network) -> None:
        """Send an epoch's numbers."""
        self._guard(lambda: self._run.log({name: x for name, x in record.as_dict().items() if x is not None}))

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """Send the test results, the confusion matrix, the scores of each class, the figures and the model."""
        self._guard(lambda: self._send_report(metrics, test, figures, model))

    def pictures(self, paths: Mapping[str, Path]) -> None:
        """Send pictures by name."""
        self._guard(lambda: self._run.log(_images(paths)))

    def finish(self, status: Status, reason: str = "") -> None:
        """Close the W&B run with the status; waits at most some seconds for what is still to be sent."""
        if self._run is None:
            return
        outcome = {"status": status, "reason": reason} if reason else {"status": status}
        self._guard(lambda: self._run.summary.update(outcome))
        try:
            with environment(self._folder):
                self._run.finish(exit_code=0 if status == "finished" else 1)
        # An interrupt here is a user who does not want to wait for the upload.
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if not self._broken:
                self._tell(f"W&B: not everything was sent ({self._reason(error)}). {self._sync_hint()}")
            if not isinstance(error, TimeoutError):
                _discard_service()
        self._run = None

    def _open(self, run: Run) -> Any:
        """Start wandb's run: online if wanted and possible, else on disk; None if the user's W&B is disabled."""
        import wandb

        # Reads WANDB_... and the settings files of `wandb login --host`, `wandb offline` and `wandb disabled`.
        settings = wandb.setup().settings
        if self._mode == "auto" and settings.mode == "disabled":
            return None
        obstacle = self._obstacle(settings)
        if not obstacle:
            before = set((run.folder / "wandb").glob("run-*"))
            try:
                opened = self._init(run, "online")
            except (Exception, SystemExit) as error:
                obstacle = f"not online ({self._reason(error)})"
                if run.resumed or not isinstance(error, wandb.Error):
                    # The helper process may have died, or hold the id of the resumed run in use. Offline needs neither.
                    _discard_service()
                if not os.environ.get("WANDB_DIR"):
                    # A run that never was: `wandb sync` would make an empty run of it.
                    # Those of before stay: they may hold what the first part of a resumed run could not send.
                    for remains in set((run.folder / "wandb").glob("run-*")) - before:
                        shutil.rmtree(remains, ignore_errors=True)
            else:
                self._tell(f"W&B: {opened.url or 'online'}")
                return opened
        opened = self._init(run, "offline")
        warning = "Warning: W&B was asked to be online, but is" if self._mode == "online" else "W&B:"
        why = f"{warning} {obstacle}; recording offline" if obstacle != _OFFLINE else "W&B: recording offline"
        self._tell(f"{why}. {self._sync_hint(opened)}")
        return opened

    def _obstacle(self, settings: Any) -> str:
        """Why it makes no sense to try to go online, in a few words; empty if it does. Finds the key."""
        if self._mode == "offline" or (self._mode == "auto" and settings.mode in ("offline", "dryrun")):
            return _OFFLINE
        self._key = self._key or key_from_login(settings.base_url)
        if not self._key:
            return f"not logged in (run `wandb login`, set WANDB_API_KEY, or put the key into {KEY_FILE})"
        proxied = settings.http_proxy or settings.https_proxy or uses_proxy(settings.base_url)
        if not proxied and not reachable(settings.base_url):
            return f"no connection to W&B's server ({host_of(settings.base_url)})"
        return ""

    def _init(self, run: Run, mode: Literal["online", "offline"]) -> Any:
        """Call `wandb.init`. The id of a new run is left to W&B: under a sweep, the agent has chosen it."""
        import wandb

        same: dict[str, Any] = {}
        if (known := self._known_id(run)) and not os.environ.get("WANDB_RUN_ID"):
            # Offline too: `wandb sync` then adds what is new to the run that the first part has become.
            same = {"id": known, "resume": "allow"}

        settings = {
            "init_timeout": _INIT_SECONDS,
            "finish_timeout": _FINISH_SECONDS,
            "finish_timeout_raises": True,
            # The terminal belongs to the progress bar, and its text is nobody else's business.
            "console": "off",
            # The code and the address of its repository (which may hold a token) are not W&B's business either.
            "save_code": False,
            "disable_git": True,
            "symlink": False,
        }
        if mode == "online":
            # Given in so many words, so that wandb never asks for it on the terminal.
            settings["api_key"] = self._key
        opened = wandb.init(
            project=self._project,
            entity=self._entity,
            name=run.name,
            config=dict(run.config),
            dir=None if os.environ.get("WANDB_DIR") else str(run.folder),
            mode=mode,
            # Leaves alone a run that the calling program (a notebook) may have open.
            reinit="create_new",
            settings=wandb.Settings(**settings),
            **same,
        )
        with suppress(OSError):
            write_json(run.folder / _ID_FILE, {"id": str(opened.id)})
        return opened

    def _known_id(self, run: Run) -> str | None:
        """The id of the W&B run that a resumed run goes on with; None where there is none that W&B would take."""
        file = run.folder / _ID_FILE
        if not run.resumed or not file.exists():
            return None
        known = read_json(file).get("id")
        if isinstance(known, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", known):
            return known
        self._tell(f"W&B: {file} does not hold the id of a run, so W&B begins a new one.")
        return None

    def _describe(self, run: Run) -> None:
        """Make the epoch the x axis of the charts, and send one training image of each class."""
        import wandb

        self._run.define_metric("epoch")
        for name in record_names()[1:]:
            self._run.define_metric(name, step_metric="epoch")
        data = run.dataset
        if data.image_shape is None:
            return
        images = []
        for number, name in enumerate(data.classes):
            for index in np.flatnonzero(data.y_train == number)[:1]:
                pixels = np.rint(255 * data.x_train[index].reshape(data.image_shape)).astype(np.uint8)
                images.append(wandb.Image(pixels, caption=name))
        self._run.log({"sample_images": images})

    def _send_report(
        self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path
    ) -> None:
        import wandb

        numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
        scores = ("precision", "recall", "f1", "support")
        rows = [[name, *(of_class[score] for score in scores)] for name, of_class in metrics["per_class"].items()]
        # The plainest first: tables and artifacts, unlike these, cannot be logged while an online server is away.
        self._run.summary.update(numbers)
        self._run.log({name: value for name, value in numbers.items() if name.startswith("test_")} | _images(figures))
        chart = wandb.plot.confusion_matrix(
            y_true=test.labels.tolist(),
            preds=test.predictions.tolist(),
            class_names=list(self._classes),
            title="Confusion matrix (test set)",
        )
        table = wandb.Table(columns=["class", *scores], data=rows)
        self._run.log({"confusion_matrix": chart, "per_class": table})
        # W&B allows these characters in the name of an artifact, and 128 of them.
        artifact = wandb.Artifact(re.sub(r"[^A-Za-z0-9_.-]", "-", self._name)[:128], type="model")
        # Nobody changes the model file after this, so it is sent from where it lies instead of from a copy.
        artifact.add_file(str(model), policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)

    def _guard(self, step: Callable[[], None]) -> None:
        """Run a step that talks to wandb, unless one has failed before; the first failure is told and is the last."""
        if self._run is None or self._broken:
            return
        try:
            with environment(self._folder):
                step()
        except (Exception, SystemExit) as error:
            self._broken = True
            self._tell(f"W&B: tracking stops here, training goes on ({self._reason(error)}). {self._sync_hint()}")

    def _sync_hint(self, run: Any = None) -> str:
        """How to send what is on disk."""
        folder = Path((run or self._run).dir).parent
        program = "wandb" if shutil.which("wandb") else f"{shlex.quote(sys.executable)} -m wandb"
        return f"Send what was recorded with: {program} sync {shlex.quote(str(folder))}"

    def _reason(self, error: BaseException) -> str:
        """An exception in one short line."""
        text = self._without_secrets(" ".join(str(error).split()))
        return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__

    def _tell(self, line: str) -> None:
        """Show one line to the user."""
        self._notify(self._without_secrets(line))

    def _without_secrets(self, text: str) -> str:
        """A text without the key, and without the `user:password@` of the addresses of servers and proxies."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return re.sub(r"//[^/\s'\"]*@", "//", text)


def _images(paths: Mapping[str, Path]) -> dict[str, Any]:
    import wandb

    return {f"figures/{name}": wandb.Image(str(path)) for name, path in paths.items()}


def _discard_service() -> None:
    """Let go of wandb's helper process after it broke; its own clean-up at exit would print a traceback."""
    # It ends in sys.exit if the helper process died.
    with suppress(Exception, SystemExit):
        import wandb

        wandb.teardown()
