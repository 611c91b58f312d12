"""The train command."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chainrule.cli.flags import build_parser, parse_words
from chainrule.core.errors import ConfigError
from chainrule.core.files import read_json
from chainrule.core.plugins import load_plugin
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import MAY_CHANGE, RunFolder, differences, find_run, list_runs
from chainrule.terminal.console import Console, Output

__all__ = ["run"]


def run(words: Sequence[str], program: str) -> int:
    """Train as the words say.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0 when training finished, 130 when Ctrl-C ended it early, 1 when what was asked for could not be printed.

    Raises:
        ChainruleError: anything that a person can mend; the message says how.
    """
    # A plugin may bring settings of its own, so it is loaded before the flags are known.
    files = _early(words, "--config")
    file = read_mapping(Path(files[-1])) if files else {}
    asked = _early(words, "--resume")
    if asked and not asked[-1]:
        raise ConfigError("--resume needs the name of a run, or auto.")
    resume = asked[-1] if asked else ""
    given_folder = _early(words, "--output_dir")
    output_dir = Path(
        TrainConfig.fields()["output_dir"].parse(given_folder[-1] if given_folder else file.get("output_dir", "runs"))
    )
    begun = find_run(resume, output_dir) if resume not in ("", "auto") else None
    sweep, trial = _early(words, "--from-sweep"), _early(words, "--trial")
    if trial and not sweep:
        raise ConfigError("--trial goes with --from-sweep SWEEP.")
    if sweep:
        file = {**_settings_of_trial(sweep[-1], trial[-1] if trial else "best", output_dir), **file}
    if begun:
        file = {**read_json(begun.path / "config.json"), **file}
    plugins = _early(words, "--plugin") or TrainConfig.plugin.parse(file.get("plugin"))
    for plugin in plugins:
        load_plugin(Path(plugin))
    parser, output = build_parser(program), Output()
    # Answered here and not by argparse, which takes no notice of a standard output that is closed or full.
    if not {"-h", "--help"}.isdisjoint(words):
        output.write(parser.format_help())
        return int(output.lost)
    given = parse_words(parser, words)
    given.pop("config", None)
    for name in ("resume", "from_sweep", "trial"):
        given.pop(name, None)
    print_only = given.pop("print_config", False)
    config = TrainConfig.from_mapping({**file, **given})
    if print_only:
        import yaml

        output.write(yaml.safe_dump(config.to_dict(), sort_keys=False))
        return int(output.lost)
    # Where the home folder is read-only, it would say in the middle of the run that it works without.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Imported here so that --help and wrong flags are answered at once.
    from chainrule.runs.experiment import run_experiment

    console = Console(quiet=config.quiet)
    if resume == "auto":
        begun = _interrupted(config, output_dir)
        if begun is None:
            console.note(f"No interrupted run with this configuration in {output_dir}: beginning a new one.")
    if begun:
        _check_unchanged(begun, config)
        if config.epochs < begun.epochs:
            raise ConfigError(
                f"{begun.path} has {begun.epochs} finished epochs already, and was asked for {config.epochs}. Ask for "
                "as many or more (-e), or begin a new run without --resume."
            )
        if begun.status == "finished" and config.epochs == begun.epochs:
            console.note(f"{begun.path} is finished. To train on, ask for more than its {begun.epochs} epochs (-e).")
            return 0
    outcome = run_experiment(config, console, begun.path if begun else None)
    return 0 if outcome.status == "finished" else 130


def _settings_of_trial(name: str, trial: str, output_dir: Path) -> dict[str, Any]:
    """What a sweep's trial was trained with."""
    from chainrule.sweeps.folder import find_sweep

    _, sweep, trials = find_sweep(name, output_dir)
    try:
        chosen = trials.best
        if trial != "best":
            if not trial.isdecimal() or int(trial) >= len(trials):
                raise ConfigError(f"--trial must be best, or a number from 0 to {len(trials) - 1}, got {trial!r}.")
            chosen = trials[int(trial)]
        if chosen is None:
            raise ConfigError(f"The sweep {name} has no finished trial yet.")
        return {**sweep.fixed, **chosen.settings}
    finally:
        trials.close()


def _interrupted(config: TrainConfig, output_dir: Path) -> RunFolder | None:
    """The newest run with this configuration that is not done, if there is one."""
    for run in list_runs(output_dir):
        try:
            if run.can_be_resumed and not differences(run.config(), config):
                return run
        except ConfigError:
            continue
    return None


def _check_unchanged(run: RunFolder, config: TrainConfig) -> None:
    """Raise ConfigError unless the run can go on with this configuration."""
    changed = differences(run.config(), config)
    if changed:
        lines = [f"  {name}: was {before!r}, now {now!r}" for name, (before, now) in changed.items()]
        raise ConfigError(
            f"{run.path} was begun with other settings, and what comes out would be neither run:\n"
            + "\n".join(lines)
            + f"\nLeave them out to resume; only {', '.join(MAY_CHANGE)} may change. Without --resume a new run begins."
        )


def _early(words: Sequence[str], flag: str) -> tuple[str, ...]:
    """The values of one flag, found before the others can be parsed."""
    values = []
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            values.append(words[position + 1])
        elif word.startswith(f"{flag}="):
            values.append(word.split("=", 1)[1])
    return tuple(values)
