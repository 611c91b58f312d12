"""Running a sweep from Python."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.machine import cores
from chainrule.runs.config import TrainConfig
from chainrule.sweeps.coordinator import Coordinator
from chainrule.sweeps.folder import create_or_check_folder, read_trial_config, sweep_lock, write_state
from chainrule.sweeps.space.distributions import Constant
from chainrule.sweeps.space.parameters import NOT_SWEPT
from chainrule.sweeps.space.sweep_file import Sweep, read_sweep
from chainrule.sweeps.summary import LiveTable, format_summary, get_row
from chainrule.sweeps.trials import Trials, require_optuna
from chainrule.sweeps.workers.cluster import ClusterWorkers, connect
from chainrule.sweeps.workers.local import LocalWorkers
from chainrule.terminal.console import Console, stopping_on_interrupt

__all__ = ["SweepResult", "run_sweep"]


@dataclass(frozen=True)
class SweepResult:
    """The trials of a sweep.

    Attributes:
        folder: of the sweep.
        trials: one dict per trial, with its number, status, metric, number of epochs, seconds, run folder, reason (if
            it failed) and parameters.
        best: the one of `trials` with the best metric; None if none has finished.
        best_config: the configuration of that trial, which `train` accepts; None if none has finished.
        state: "done", or "stopped" by Ctrl-C.
        stop_reason: why the sweep ended before all trials were started, or "".
    """

    folder: Path
    trials: list[dict[str, Any]]
    best: dict[str, Any] | None
    best_config: dict[str, Any] | None
    state: str
    stop_reason: str = ""


def run_sweep(
    space: Path | str | Mapping[str, object],
    *,
    name: str | None = None,
    output_dir: Path | str = "runs",
    seed: int | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    overrides: Mapping[str, object] | None = None,
    console: Console | None = None,
) -> SweepResult:
    """Run a sweep, or resume it: called again, it trains what is left.

    Args:
        space: a sweep file in W&B's format, or its content as a mapping.
        name: of the sweep and its folder; by default that in the file, or the file's own name. A mapping without a name
            gets a new one with the time, such as sweep_20260101-120000, so it is not resumed.
        output_dir: the folder that gets the sweep's folder.
        seed: of the search; by default that of the sweep which is resumed, or 0.
        workers: the number of processes, one thread each; 0 for one per core.
        scheduler: the address, or scheduler file, of a Dask cluster that runs the trials instead.
        overrides: settings for all trials that the sweep file does not search over, such as `wandb_mode`.
        console: prints progress; by default nothing is printed.

    Raises:
        ConfigError: the sweep file or an argument is wrong, or the folder belongs to another sweep.
        OutputError: the sweep's folder cannot be written to, or a problem outside the trials, such as missing data,
            must be fixed before the sweep can be resumed.
    """
    require_optuna()
    sweep = read_sweep(space, name)
    checked = _check_overrides(overrides or {}, sweep)
    folder = Path(output_dir) / sweep.name
    client = connect(scheduler) if scheduler else None
    if client:
        # Workers may have another current folder.
        folder = folder.resolve()
    count = len(client.scheduler_info(n_workers=-1)["workers"]) if client else workers or cores()
    console = console or Console(quiet=True)
    with sweep_lock(folder):
        seed, is_resumed = create_or_check_folder(folder, sweep, seed)
        with closing(Trials(folder, sweep)) as trials:
            size = f"{sweep.size:,} trials" if sweep.size is not None else "trials until you stop it"
            console.note(f"Sweep {sweep.name}: {sweep.method}, {size}, {count} workers; results in {folder}")
            if is_resumed:
                done = sum(trial.status != "running" for trial in trials)
                console.note(f"Resuming: {done} trials are done, {len(trials) - done} were interrupted.")
            log = folder / "workers.log"
            # The log of an earlier attempt would be misleading.
            log.unlink(missing_ok=True)
            environment = {"WANDB_RUN_GROUP": sweep.name}
            pool = ClusterWorkers(client, folder, environment) if client else LocalWorkers(count, log, environment)
            coordinator = Coordinator(sweep, seed, folder, trials, pool, checked, console.note)
            table = LiveTable(sweep, trials, coordinator.running, count)
            notice = "Stopping: running trials save a checkpoint. Press Ctrl-C again to stop at once."
            with stopping_on_interrupt(lambda _: console.note(notice)) as stop, console.live(table.render) as redraw:
                is_done = coordinator.run(stop.is_set, redraw)
            if coordinator.stop_reason:
                console.note(f"No more trials: {coordinator.stop_reason.rstrip('.')}.")
            console.note(format_summary(sweep, trials))
            state = "done" if is_done else "stopped"
            write_state(folder, state)
            if coordinator.needs_attention:
                raise OutputError(f"The sweep was stopped: {coordinator.needs_attention}\nThen run the sweep again.")
            rows = [get_row(sweep, trial) for trial in trials]
            best = trials.best
            row, config = (rows[best.number], read_trial_config(folder, sweep, best)) if best else (None, None)
            return SweepResult(folder, rows, row, config, state, coordinator.stop_reason)


def _check_overrides(overrides: Mapping[str, object], sweep: Sweep) -> dict[str, Any]:
    """Validate the overrides; ConfigError if one is unknown or not allowed, or chosen or searched over by the sweep."""
    for name in overrides:
        if name in NOT_SWEPT or not isinstance(sweep.parameters.get(name), Constant | None):
            raise ConfigError(f"overrides must not contain {name}: the sweep chooses it.")
    values = TrainConfig(overrides).to_dict()
    return {name: values.get(name, value) for name, value in overrides.items()}
