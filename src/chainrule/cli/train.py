"""The train command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from chainrule.cli.flags import add_configuration_flags, build_parser, new_parser, parse_words
from chainrule.core.errors import ConfigError
from chainrule.core.extras import needs_extra
from chainrule.core.files import read_json
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.runs.config import TrainConfig
from chainrule.runs.experiment import check_figures, load_plugins, resume_run, run_experiment
from chainrule.runs.folder import CONFIG, RunFolder, find_run, list_runs
from chainrule.sweeps.folder import find_sweep, read_trial_config
from chainrule.terminal.console import Console, print_text

__all__ = ["run"]


def run(words: Sequence[str], program: str, defaults: Mapping[str, object] | None = None) -> int:
    """Train as the command line says."""
    early = _parse_early(words)
    file = read_mapping(Path(early["config"])) if "config" in early else {}
    output_dir = Path(TrainConfig.fields()["output_dir"].parse(early.get("output_dir", file.get("output_dir", "runs"))))
    resume, resumed = early.get("resume"), None
    if resume == "":
        raise ConfigError("--resume requires the name of a run, or auto.")
    if "from_sweep" in early:
        file = {**_read_trial(early["from_sweep"], early.get("trial", "best"), output_dir), **file}
    elif "trial" in early:
        raise ConfigError("--trial requires --from-sweep SWEEP.")
    if resume is not None and resume != "auto":
        resumed = _find_run(resume, output_dir)
        file = {**read_json(resumed.path / CONFIG), **file}
    # A plugin may bring hyperparameters of its own, so it is loaded before the flags are known.
    load_plugins({**file, **({"plugin": early["plugin"]} if "plugin" in early else {})})
    parser = build_parser(program, defaults)
    # Not by argparse, which ignores that standard output is closed or full.
    if not {"-h", "--help"}.isdisjoint(words):
        return print_text(parser.format_help())
    given = parse_words(parser, words)
    for name in ("config", "resume", "from_sweep", "trial"):
        given.pop(name, None)
    print_only = given.pop("print_config", False)
    config = TrainConfig({**file, **given}, defaults)
    if print_only:
        return print_text(_format_yaml(config))
    check_figures(given)
    console = Console(quiet=config.quiet)
    if resume == "auto":
        resumed = _find_interrupted(config, output_dir)
        if resumed is None:
            console.note(f"No interrupted run with this configuration in {output_dir}: starting a new one.")
    result = resume_run(resumed, config, console) if resumed else run_experiment(config, console)
    return 0 if result.status == "finished" else 130


def _parse_early(words: Sequence[str]) -> dict[str, Any]:
    """The flags that decide which configuration the others apply to, and which others there are."""
    parser = new_parser("", "")
    add_configuration_flags(parser)
    parser.add_argument("--output_dir")
    parser.add_argument("--plugin", action="append")
    found, _ = parser.parse_known_args([word for word in words if word not in ("-h", "--help")])
    return vars(found)


def _find_run(name: str, output_dir: Path) -> RunFolder:
    try:
        return find_run(name, output_dir)
    except ConfigError as error:
        raise ConfigError(f"{error} `chainrule runs` lists the runs.") from error


def _read_trial(name: str, trial: str, output_dir: Path) -> dict[str, Any]:
    """The configuration that a sweep's trial was trained with, as far as it determines the results."""
    folder, sweep, trials = find_sweep(name, output_dir)
    with closing(trials):
        chosen = trials.best
        if trial != "best":
            if not trial.isdecimal() or int(trial) >= len(trials):
                raise ConfigError(f"--trial must be best, or a number from 0 to {len(trials) - 1}, got {trial!r}.")
            chosen = trials[int(trial)]
        if chosen is None:
            raise ConfigError(f"The sweep {name} has no finished trial yet.")
        return read_trial_config(folder, sweep, chosen)


def _find_interrupted(config: TrainConfig, output_dir: Path) -> RunFolder | None:
    """The latest unfinished run with this configuration, if there is one."""
    for found in list_runs(output_dir):
        try:
            is_wanted = found.can_be_resumed and config.run_name in (None, found.path.name)
            if is_wanted and not found.read_config().find_differences(config):
                return found
        except ConfigError:
            continue
    return None


@needs_extra("Configuration files", "train")
def _format_yaml(config: TrainConfig) -> str:
    import yaml

    return str(yaml.safe_dump(config.to_dict(), sort_keys=False))
