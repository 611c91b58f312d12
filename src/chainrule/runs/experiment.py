"""Training a network from a configuration: data, network, run folder, trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from chainrule.charts.renderer import check_renderer
from chainrule.core.errors import ConfigError, OutOfMemoryError
from chainrule.core.files import read_json
from chainrule.core.plugins import load_plugin
from chainrule.data import Dataset, load_dataset
from chainrule.distillation import distill, load_teacher
from chainrule.runs.config import TrainConfig, check_mapping
from chainrule.runs.ensemble_run import EnsembleRun
from chainrule.runs.folder import (
    CONFIG,
    HISTORY,
    JOURNAL,
    METRICS,
    RunFolder,
    create_run_folder,
    describe_resume,
    find_run,
    make_run_name,
    run_lock,
)
from chainrule.runs.recorded_run import RunResult
from chainrule.runs.tracking.wandb import make_wandb_tracker
from chainrule.runs.training_run import TrainingRun, make_trainer
from chainrule.terminal.console import Console
from chainrule.training.history import History

__all__ = ["check_figures", "load_plugins", "resume_run", "run_experiment", "train"]


def train(
    config: TrainConfig | Mapping[str, object] | None = None,
    *,
    resume: Path | str | None = None,
    console: Console | None = None,
    data: Dataset | None = None,
) -> RunResult:
    """Train and test a network, recorded in a run folder.

    Args:
        config: options and hyperparameters by key, as in a configuration file; None for the defaults.
        resume: name or folder of a run to resume. Its configuration is the default for keys that are not given.
        console: prints notes and progress; None prints nothing.
        data: samples, with a test set, to use in place of the dataset that the configuration names. A run on samples of
            your own can be resumed with the same samples only.

    Returns:
        Status, run folder, metrics and history.

    Raises:
        ConfigError: an option is invalid, or there is no such run to resume.
        ChainruleError: see `run_experiment`.
    """
    console = console or Console(quiet=True)
    if not isinstance(data, Dataset | None):
        raise ConfigError(f"data must be a Dataset, as Dataset.from_arrays makes one, got {type(data).__name__}.")
    given = check_mapping(config.to_dict() if isinstance(config, TrainConfig) else config)
    run = None if resume is None else find_run(str(resume), Path(str(given.get("output_dir") or "runs")))
    if not isinstance(config, TrainConfig):
        check_figures(given)
        given = {**(read_json(run.path / CONFIG) if run else {}), **given}
        load_plugins(given)
        config = TrainConfig(given)
    if data is not None:
        named = run.read_config().dataset if run else config.dataset if config.dataset == data.name else None
        config = TrainConfig({**given, "dataset": named})
    return resume_run(run, config, console, data=data) if run else run_experiment(config, console, data=data)


def load_plugins(given: Mapping[str, object]) -> None:
    """Load the plugins of a configuration, which must be done before the rest of it is parsed.

    Raises:
        ConfigError: a plugin is missing or fails.
    """
    for plugin in TrainConfig.fields()["plugin"].parse(given.get("plugin")):
        load_plugin(plugin)


def check_figures(given: Mapping[str, object]) -> None:
    """Raise ConfigError if figures were requested explicitly but cannot be drawn. By default they are left out."""
    requested = "figures" in given and TrainConfig.fields()["figures"].parse(given["figures"])
    if requested:
        check_renderer()


def resume_run(run: RunFolder, config: TrainConfig, console: Console, *, data: Dataset | None = None) -> RunResult:
    """Resume an interrupted run, or train a finished one further.

    Args:
        run: the run.
        config: its configuration; its `variable_keys` may differ.
        console: see `run_experiment`.
        data: see `run_experiment`.

    Raises:
        ConfigError: the configuration belongs to another run, or has fewer epochs than are finished.
        ChainruleError: see `run_experiment`.
    """
    started_with = run.read_config()
    variable = [name for name in started_with.variable_keys if name != "run_name"]
    if config.run_name not in (None, run.path.name):
        raise ConfigError(f"A resumed run keeps its run_name {run.path.name!r}, got {config.run_name!r}. Leave it out.")
    if changed := started_with.find_differences(config):
        lines = [f"  {name}: was {before!r}, now {now!r}" for name, (before, now) in changed.items()]
        why = " Its learning rate schedule spans all epochs." * ("epochs" in changed)
        raise ConfigError(
            f"{run.path} was started with another configuration, and resuming would mix the two:\n"
            + "\n".join(lines)
            + f"\nRemove these to resume; only {', '.join(variable)} may change.{why} Or start a new run."
        )
    if config.epochs < run.epochs:
        raise ConfigError(
            f"epochs must be at least {run.epochs}, which {run.path} has finished already, got {config.epochs}."
        )
    # Early stopping finishes a run before the last epoch.
    if run.status == "finished" and config.epochs in (run.epochs, started_with.epochs):
        further = f" To train it further, set epochs to more than {run.epochs}." * ("epochs" in variable)
        console.note(f"{run.path} is finished.{further}")
        history = History.from_jsonl((run.path / HISTORY).read_text(encoding="utf-8"))
        return RunResult("finished", run.path, read_json(run.path / METRICS), history)
    return run_experiment(config, console, run.path, data=data)


def run_experiment(
    config: TrainConfig,
    console: Console,
    resume: Path | None = None,
    *,
    data: Dataset | None = None,
    watch: Callable[[History], bool] = lambda history: False,
    save_every: float = 0.0,
) -> RunResult:
    """Train, test and record.

    Args:
        config: the configuration.
        console: prints notes and progress.
        resume: the folder of a run with this configuration; None starts a new run.
        data: samples to use in place of the dataset that the configuration names.
        watch: called with the history after each epoch; returns whether training ends there.
        save_every: seconds; no checkpoint is saved after an epoch if the last one is younger.

    Raises:
        DataError: the dataset is missing or invalid. No run folder is left.
        OutputError: the run folder cannot be created or written to, or another process uses it.
        CheckpointError: the checkpoints belong to another configuration or to other data.
        DivergenceError: the loss became infinite or NaN. The run folder holds the epochs before.
        OutOfMemoryError: out of memory, in a run that can be resumed.
    """
    with console.show_logs(), _convert_memory_errors(resume):
        for name, reason in config.ignored.items():
            console.note(f"Note: {name} has no effect: {reason}.")
        data = data or _load_dataset(config, resume)
        if len(data.x_test) == 0:
            raise ConfigError("The data have no test samples. Add some: Dataset.from_arrays(..., test_data=(x, y)).")
        if config.class_weight != "none":
            data = data.weigh_classes(config.class_weight)
        trained_on = data
        if config.teacher is not None:
            teacher = load_teacher(config.teacher, data.classes)
            trained_on = distill(data, teacher, share=config.teacher_share, temperature=config.temperature)
            console.note(f"The targets have {100 * config.teacher_share:g} % of the teacher {config.teacher}.")
        trainer = make_trainer(config, trained_on)
        tracker = make_wandb_tracker(config.wandb_mode, config.wandb_project, config.wandb_entity, notify=console.note)
        name = config.run_name or f"{make_run_name(config)}_{datetime.now():%Y%m%d-%H%M%S}"
        folder = resume or create_run_folder(Path(config.output_dir), name, unique=config.run_name is None)
        with run_lock(folder), _convert_memory_errors(folder):
            kind: type[TrainingRun | EnsembleRun] = TrainingRun if config.members == 1 else EnsembleRun
            run = kind.open(
                config, trainer, trained_on, data, folder, tracker, console, watch,
                resume=resume is not None, save_interval=save_every,
            )  # fmt: skip
            console.note(
                f"Training {run.describe(trainer.network)} on {data.name} with {config.optimizer}; results in {folder}"
            )
            return run.execute()


def _load_dataset(config: TrainConfig, resume: Path | None) -> Dataset:
    if config.dataset is None:
        what = f"{resume} was trained on data of your own: pass them again" if resume else "dataset is None: pass data"
        raise ConfigError(f"{what}, as in train(..., data=Dataset.from_arrays(...)).")
    data_dir = Path(config.data_dir) if config.data_dir is not None else None
    return load_dataset(
        config.dataset, seed=config.seed, val_fraction=config.val_fraction, dtype=config.dtype, data_dir=data_dir
    )


@contextmanager
def _convert_memory_errors(folder: Path | None) -> Iterator[None]:
    """Convert a MemoryError of a run that has a journal to an OutOfMemoryError that says how to resume it."""
    try:
        yield
    except (MemoryError, ImportError) as error:
        # The dynamic linker's message if there is no memory for a library that is imported late, such as vl-convert.
        is_memory = isinstance(error, MemoryError) or "failed to map segment" in str(error)
        if not is_memory or isinstance(error, OutOfMemoryError) or folder is None or not (folder / JOURNAL).exists():
            raise
        why = f" ({error})" if str(error) else ""
        converted = OutOfMemoryError(f"Not enough memory{why}. Free some, {describe_resume(folder)}.")
        converted.run_folder = folder
        raise converted from error
