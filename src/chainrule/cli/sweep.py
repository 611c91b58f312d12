"""The sweep command: runs a sweep, or shows one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ChainruleError, ConfigError, printable
from chainrule.core.extras import missing_extra
from chainrule.core.fields import Configurable, FolderName, Int, OptionalStr, Str
from chainrule.core.files import converting_write_errors, exists, write_text
from chainrule.core.registry import did_you_mean
from chainrule.runs.config import TrainConfig
from chainrule.sweeps import run_sweep
from chainrule.sweeps.folder import find_sweep, list_sweeps, read_state, read_trial_config
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.summary import format_csv, format_summary
from chainrule.sweeps.trials import Trials, get_storage_url
from chainrule.terminal.console import Console, print_text

__all__ = ["run"]

_HELP = """usage: {program} FILE [options]        run a sweep, or resume it
       {program} list                  list all sweeps
       {program} status SWEEP          number of trials and best trial (--export csv writes all trials)
       {program} best SWEEP            best trial, as a configuration for `chainrule train --config`
       {program} dashboard SWEEP       Optuna's dashboard, in a browser

{options}
The same command again resumes a sweep that was stopped or killed. Trials are ordinary runs in the sweep's folder;
`chainrule train --from-sweep SWEEP` trains the best one again.
"""
_OVERRIDES = ("wandb_mode", "wandb_project", "wandb_entity", "data_dir")
# Flags that a subcommand takes too.
_SHARED = ("output_dir", "port", "export")


class SweepFlags(Configurable):
    """The flags of the sweep command."""

    name = FolderName(None, "name of the sweep and its folder; by default that in the file")
    output_dir = Str("runs", "folder that gets the sweep's folder")
    seed = Int(0, "seed of the search", ge=0, le=2**63 - 1)
    workers = Int(0, "number of worker processes, one thread each; 0 for one per core", ge=0, le=1024)
    scheduler = OptionalStr(None, "address, or scheduler file, of a Dask cluster that runs the trials")
    port = Int(8080, "with dashboard: its port", ge=1, le=65535)
    export = OptionalStr(None, "with status: `csv` writes the trials into the sweep's folder")


def run(words: Sequence[str], program: str) -> int:
    """Run a sweep or show one."""
    parser = new_parser(program, "")
    fields = {**SweepFlags.fields(), **{name: TrainConfig.fields()[name] for name in _OVERRIDES}}
    for field in fields.values():
        add_field(parser, field)
    parser.add_argument("words", nargs="*", help="FILE, or a subcommand and SWEEP")
    if not words or not {"-h", "--help"}.isdisjoint(words):
        options = parser.format_help().partition("options:")[2]
        status = print_text(_HELP.format(program=program, options=f"options:{options}"))
        return status if words else 2
    given = parse_words(parser, words)
    targets = [str(word) for word in cast("list[str]", given.pop("words", []))]
    subcommands = ("list", *_SUBCOMMANDS)
    if not targets:
        raise ConfigError(f"Name a sweep file, or one of {', '.join(subcommands)}. See `{program} --help`.")
    flags = SweepFlags(**{name: value for name, value in given.items() if name in SweepFlags.fields()})
    if targets[0] in subcommands:
        if refused := [f"--{name}" for name in given if name not in _SHARED]:
            raise ConfigError(f"{', '.join(refused)} needs a sweep file, got {targets[0]}.")
        return _show(targets, flags)
    if not exists(Path(targets[0])):
        hint = did_you_mean(targets[0], subcommands)
        raise ConfigError(f"There is no sweep file {targets[0]}, nor a subcommand of that name.{hint}")
    if extra := [*targets[1:], *(["--export"] if flags.export else [])]:
        raise ConfigError(f"{' '.join(extra)} does not go with a sweep file.")
    result = run_sweep(
        targets[0],
        name=flags.name,
        output_dir=flags.output_dir,
        seed=flags.seed if "seed" in given else None,
        workers=flags.workers,
        scheduler=flags.scheduler,
        overrides={name: given[name] for name in _OVERRIDES if name in given},
        console=Console(),
    )
    if result.state == "stopped":
        print_text(f"Stopped. The same command resumes the sweep; results so far in {result.folder}\n")
        return 130
    return int(result.best is None)


def _show(words: Sequence[str], flags: SweepFlags) -> int:
    output_dir = Path(flags.output_dir)
    if flags.export and (words[0] != "status" or flags.export != "csv"):
        raise ConfigError(f"--export csv goes with status, got {words[0]} --export {flags.export}.")
    if words[0] == "list":
        if len(words) > 1:
            raise ConfigError(f"list takes no name, got {words[1]!r}. status shows one sweep.")
        return print_text("".join(_list(output_dir)) or f"No sweeps in {output_dir}.\n")
    if len(words) != 2:
        raise ConfigError(f"{words[0]} needs the name of one sweep. `chainrule sweep list` lists them.")
    folder, sweep, trials = find_sweep(words[1], output_dir)
    with closing(trials):
        return _SUBCOMMANDS[words[0]](folder, sweep, trials, flags)


def _list(output_dir: Path) -> Iterator[str]:
    for folder in list_sweeps(output_dir):
        name = printable(folder.name)
        try:
            _, sweep, trials = find_sweep(folder.name, output_dir)
        except ChainruleError as error:
            yield f"{name}: {str(error).splitlines()[0]}\n"
            continue
        done, best = sum(trial.status != "running" for trial in trials), trials.best
        trials.close()
        size = f"/{sweep.size}" if sweep.size is not None else ""
        value = f"best {sweep.metric.name} {best.value:.4f}" if best else "no result yet"
        yield f"{name}  {sweep.method}  {read_state(folder)}  {done}{size} trials  {value}\n"


def _print_status(folder: Path, sweep: Sweep, trials: Trials, flags: SweepFlags) -> int:
    text = f"{format_summary(sweep, trials)}\n"
    if flags.export:
        file = folder / "trials.csv"
        with converting_write_errors(file):
            write_text(file, format_csv(sweep, trials))
        text += f"{len(trials)} trials in {file}\n"
    return print_text(text)


def _print_best(folder: Path, sweep: Sweep, trials: Trials, flags: SweepFlags) -> int:
    import yaml

    best = trials.best
    if best is None:
        raise ConfigError(f"The sweep {sweep.name} has no finished trial yet.")
    head = f"# trial {best.number} of {sweep.name}, {sweep.metric.name} {best.value}, run {best.folder}\n"
    return print_text(head + yaml.safe_dump(read_trial_config(folder, sweep, best), sort_keys=False))


def _open_dashboard(folder: Path, sweep: Sweep, trials: Trials, flags: SweepFlags) -> int:
    name = "optuna-dashboard"
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if program is None:
        raise missing_extra("Dashboards", "dashboard", name)
    trials.close()
    print_text(f"Dashboard of {sweep.name}: http://127.0.0.1:{flags.port}/  (Ctrl-C ends it)\n")
    words = [program, get_storage_url(folder), "--host", "127.0.0.1", "--port", str(flags.port)]
    return subprocess.run(words, check=False).returncode


_Subcommand = Callable[[Path, Sweep, Trials, SweepFlags], int]
_SUBCOMMANDS: Mapping[str, _Subcommand] = {"status": _print_status, "best": _print_best, "dashboard": _open_dashboard}
