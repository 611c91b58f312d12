"""The sweep command: running a sweep, and looking at it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ChainruleError, ConfigError, OutputError
from chainrule.core.fields import Field, Int, OptionalStr
from chainrule.core.files import exists, write_text
from chainrule.core.machine import cores
from chainrule.core.registry import did_you_mean
from chainrule.runs.config import TrainConfig
from chainrule.terminal.console import Console, Output
from chainrule.terminal.interrupt import stopping_on_interrupt

if TYPE_CHECKING:
    from chainrule.sweeps.coordinator import Workers
    from chainrule.sweeps.space.sweep_file import Sweep
    from chainrule.sweeps.trials import Trials

__all__ = ["run"]

_HELP = """usage: {program} FILE [options]        run a sweep, or go on with it
       {program} list                  the sweeps there are
       {program} status SWEEP          how far a sweep is (--export csv writes all its trials)
       {program} best SWEEP            the best trial, as a configuration for `chainrule train --config`
       {program} dashboard SWEEP       Optuna's dashboard, in a browser

{options}
The same command again goes on with a sweep that was stopped or killed. Trials are ordinary runs in the sweep's folder;
`chainrule train --from-sweep SWEEP` trains one again.
"""


def run(words: Sequence[str], program: str) -> int:
    """Run a sweep or show one.

    Args:
        words: a sweep file or a subcommand, flags and values.
        program: what the user typed before them.

    Returns:
        0 when the sweep is done, 130 when Ctrl-C ended it early, 1 when it ended because its trials fail.

    Raises:
        ChainruleError: anything that a person can mend; the message says how.
    """
    parser, output = new_parser(program, ""), Output()
    for setting, text in _FLAGS.values():
        add_field(parser, setting, text)
    for name in ("wandb_mode", "wandb_project", "wandb_entity", "data_dir"):
        add_field(parser, TrainConfig.fields()[name], TrainConfig.fields()[name].help)
    parser.add_argument("--export", metavar="csv", help="with status: write the trials into the sweep's folder")
    parser.add_argument("words", nargs="*", help="FILE, or a subcommand and SWEEP")
    if not words or not {"-h", "--help"}.isdisjoint(words):
        flags = parser.format_help().partition("options:")[2]
        output.write(_HELP.format(program=program, options=f"options:{flags}"))
        return int(output.lost) if words else 2
    given = parse_words(parser, words)
    plain = [str(word) for word in cast("list[str]", given.pop("words", []))]
    if not plain:
        raise ConfigError(f"Name a sweep file, or one of {', '.join(_SHOWING)}. `{program} --help` tells more.")
    foreign = [f"--{name}" for name in given if name not in ("output_dir", "port", "export")]
    if plain[0] in _SHOWING and foreign:
        raise ConfigError(f"{', '.join(foreign)} goes with a sweep file, not with {plain[0]}.")
    seeded = "seed" in given
    options = {name: setting.parse(given.pop(name, setting.default)) for name, (setting, _) in _FLAGS.items()}
    export = str(given.pop("export", ""))
    if plain[0] in _SHOWING:
        return _show(plain, options, export, output)
    if not exists(Path(plain[0])):
        hint = did_you_mean(plain[0], _SHOWING)
        raise ConfigError(f"There is no sweep file {plain[0]}, nor a subcommand of that name.{hint}")
    if len(plain) > 1 or export:
        raise ConfigError(f"{' '.join([*plain[1:], *(['--export'] if export else [])])} does not go with a sweep file.")
    overrides = {name: TrainConfig.fields()[name].parse(value) for name, value in given.items()}
    return _sweep(Path(plain[0]), options, overrides, seeded=seeded)


def _flags() -> dict[str, tuple[Field[Any], str]]:
    """The command's own flags."""
    settings = TrainConfig.fields()
    found: dict[str, Field[Any]] = {
        "name": type(settings["run_name"])(None, "name of the sweep and its folder; without it that in the file"),
        "output_dir": settings["output_dir"],
        "seed": Int(0, "of the search: which configurations are tried", ge=0, le=2**63 - 1),
        "workers": Int(0, "processes, one thread each; 0 for as many as cores", ge=0, le=1024),
        "scheduler": OptionalStr(None, "address, or scheduler file, of a Dask cluster that runs the trials"),
        "port": Int(8080, "with dashboard: where it answers", ge=1, le=65535),
    }
    for name, setting in found.items():
        if setting is not settings.get(name):
            setting.__set_name__(TrainConfig, name)
    return {name: (setting, setting.help) for name, setting in found.items()}


_FLAGS = _flags()


def _sweep(file: Path, options: Mapping[str, Any], overrides: dict[str, Any], *, seeded: bool) -> int:
    """Run a sweep until it is done or stopped."""
    from chainrule.sweeps.folder import prepare, seed_of, sweep_lock
    from chainrule.sweeps.space.sweep_file import read_sweep
    from chainrule.sweeps.trials import Trials
    from chainrule.sweeps.workers.cluster import ClusterWorkers, connect
    from chainrule.sweeps.workers.local import LocalWorkers

    sweep = read_sweep(file, options["name"])
    folder = Path(options["output_dir"]) / sweep.name
    cluster = connect(options["scheduler"]) if options["scheduler"] else None
    if cluster:
        # Elsewhere the current folder is another one.
        folder = folder.resolve()
    count = len(cluster.scheduler_info(n_workers=-1)["workers"]) if cluster else options["workers"] or cores()
    console = Console()
    with sweep_lock(folder):
        known = None if seeded else seed_of(folder)
        seed = options["seed"] if known is None else known
        begun = prepare(folder, sweep, seed)
        trials = Trials(folder, sweep)
        size = f"{sweep.size:,} trials" if sweep.size is not None else "trials until you stop it"
        console.note(f"Sweep {sweep.name}: {sweep.method}, {size}, {count} workers; results in {folder}")
        if begun:
            ended = sum(trial.status != "running" for trial in trials)
            console.note(f"Going on: {ended} trials have ended, {len(trials) - ended} were interrupted.")
        # The log of an earlier attempt would only mislead.
        (folder / "workers.log").unlink(missing_ok=True)
        environment = {"WANDB_RUN_GROUP": sweep.name}
        workers: Workers = (
            ClusterWorkers(cluster, folder, environment)
            if cluster
            else LocalWorkers(count, folder / "workers.log", environment)
        )
        try:
            return _run(sweep, folder, trials, workers, count, seed, overrides, console)
        finally:
            trials.close()


def _run(
    sweep: Sweep,
    folder: Path,
    trials: Trials,
    workers: Workers,
    count: int,
    seed: int,
    overrides: dict[str, Any],
    console: Console,
) -> int:
    from chainrule.sweeps.coordinator import Coordinator
    from chainrule.sweeps.folder import note_state
    from chainrule.sweeps.live_table import Picture, summary

    coordinator = Coordinator(sweep, seed, folder, trials, workers, overrides, console.note)
    picture = Picture(sweep, trials, coordinator.running, count)
    with (
        stopping_on_interrupt(lambda _: console.note("Stopping: the trials save where they are.")) as stop,
        console.live(picture.draw) as redraw,
    ):
        done = coordinator.run(stop.is_set, redraw)
    output = Output()
    if coordinator.verdict:
        output.write(f"No more trials: {coordinator.verdict.rstrip('.')}.\n")
    output.write(summary(sweep, trials))
    note_state(folder, "done" if done else "stopped")
    if coordinator.halted:
        raise OutputError(f"The sweep was stopped: {coordinator.halted}\nThen run the same command again.")
    if not done:
        output.write(f"Stopped. The same command goes on with it; results so far in {folder}\n")
        return 130
    return int(trials.best is None)


def _show(words: Sequence[str], options: Mapping[str, Any], export: str, output: Output) -> int:
    """One of the subcommands that look at a sweep."""
    from chainrule.sweeps.folder import find_sweep

    output_dir = Path(options["output_dir"])
    if words[0] == "list":
        if len(words) > 1:
            raise ConfigError(f"list takes no name, got {words[1]!r}. status shows one sweep.")
        return _list(output_dir, output)
    if len(words) != 2:
        raise ConfigError(f"{words[0]} needs the name of one sweep. `chainrule sweep list` lists them.")
    if export and (words[0] != "status" or export != "csv"):
        raise ConfigError(f"--export csv goes with status; got {words[0]} --export {export}.")
    folder, sweep, trials = find_sweep(words[1], output_dir)
    try:
        return _SHOWING[words[0]](folder, sweep, trials, {**options, "export": export}, output)
    finally:
        trials.close()


def _list(output_dir: Path, output: Output) -> int:
    from chainrule.core.text import printable
    from chainrule.sweeps.folder import find_sweep, list_sweeps, state_of

    folders = list_sweeps(output_dir)
    if not folders:
        output.write(f"No sweeps in {output_dir}.\n")
    for folder in folders:
        name = printable(folder.name)
        try:
            _, sweep, trials = find_sweep(folder.name, output_dir)
        except ChainruleError as error:
            output.write(f"{name}: {str(error).splitlines()[0]}\n")
            continue
        ended, best = sum(trial.status != "running" for trial in trials), trials.best
        trials.close()
        size = f"/{sweep.size}" if sweep.size is not None else ""
        value = f"best {sweep.metric.name} {best.value:.4f}" if best and best.value is not None else "no result yet"
        output.write(f"{name}  {sweep.method}  {state_of(folder)}  {ended}{size} trials  {value}\n")
    return int(output.lost)


def _status(folder: Path, sweep: Sweep, trials: Trials, options: Mapping[str, Any], output: Output) -> int:
    from chainrule.sweeps.live_table import csv_table, summary

    output.write(summary(sweep, trials))
    if options["export"]:
        file = folder / "trials.csv"
        try:
            write_text(file, csv_table(sweep, trials))
        except OSError as error:
            raise OutputError(f"Cannot write {file}: {error.strerror or error}.") from error
        output.write(f"{len(trials)} trials in {file}\n")
    return int(output.lost)


def _best(folder: Path, sweep: Sweep, trials: Trials, options: Mapping[str, Any], output: Output) -> int:
    import yaml

    best = trials.best
    if best is None:
        raise ConfigError(f"The sweep {sweep.name} has no finished trial yet.")
    output.write(f"# trial {best.number} of {sweep.name}, {sweep.metric.name} {best.value}, run {best.folder}\n")
    output.write(yaml.safe_dump({**sweep.fixed, **trials.values(best.stored)}, sort_keys=False))
    return int(output.lost)


def _dashboard(folder: Path, sweep: Sweep, trials: Trials, options: Mapping[str, Any], output: Output) -> int:
    from chainrule.sweeps.trials import storage_address

    program = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent)) or shutil.which(
        "optuna-dashboard"
    )
    if program is None:
        raise ConfigError("Optuna's dashboard is not installed. Run: pip install 'chainrule[dashboard]'")
    trials.close()
    output.write(f"Dashboard of {sweep.name}: http://127.0.0.1:{options['port']}/  (Ctrl-C ends it)\n")
    return subprocess.run(
        [program, storage_address(folder), "--host", "127.0.0.1", "--port", str(options["port"])], check=False
    ).returncode


_Show = Callable[[Path, "Sweep", "Trials", Mapping[str, Any], Output], int]
_SHOWING: Mapping[str, _Show] = {
    "list": lambda *_: 0,
    "status": _status,
    "best": _best,
    "dashboard": _dashboard,
}
