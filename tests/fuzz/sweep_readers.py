"""The readers of sweeps, for the fuzz (see readers.py): sweep files, and the folders that sweeps leave behind."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from fuzz import mutations as m
from fuzz.readers import register
from fuzz.samples import Sample
from sweeps.sweep_files import CASES, parameters

from chainrule.cli.sweep import run as sweep_command
from chainrule.sweeps.folder import create_or_check_folder
from chainrule.sweeps.search import propose
from chainrule.sweeps.space.sweep_file import Sweep, read_sweep
from chainrule.sweeps.trials import Trials

_WORDS = tuple(
    word.encode()
    for word in (
        *("method", "metric", "parameters", "values", "value", "probabilities", "distribution", "min", "max", "q"),
        *(
            "mu",
            "sigma",
            "run_cap",
            "early_terminate",
            "hyperband",
            "min_iter",
            "eta",
            "command",
            "grid",
            "bayes",
            "goal",
        ),
        *("log_uniform_values", "q_normal", "beta", "int_uniform", "null", ".inf", ".nan", "1e400", "[]", "{}", "&a"),
        "*a",
    )
)


def _file_seeds() -> list[Sample]:
    return [{"s.yaml": text.encode()} for text, refusal, _ in CASES.values() if not refusal]


@register("sweep file", _file_seeds, [m.words_of(*_WORDS), m.words_of(*_WORDS), m.replace_number])
def _read_sweep_file(folder: Path) -> None:
    sweep = read_sweep(folder / "s.yaml")
    assert sweep.size is None or sweep.size >= 1
    assert sweep.name.isprintable()
    for number in {0, min((sweep.size or 9) - 1, 10**6)}:
        stored = propose(sweep, 0, number, [])
        assert set(stored) == set(sweep.parameters)
        assert all(value is None or isinstance(value, str | int | float) for value in stored.values())


def _folder_seeds() -> list[Sample]:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        (folder / "s.yaml").write_text(parameters("{epochs: {values: [1, 2]}, learning_rate: {min: 0.1, max: 0.2}}"))
        sweep: Sweep = read_sweep(folder / "s.yaml", "a")
        create_or_check_folder(folder, sweep, 0)
        trials = Trials(folder, sweep)
        for number in range(3):
            trial = trials.create(propose(sweep, 0, number, trials), f"run{number}")
            trials.report(trial, [0.5, 0.25])
            if number:
                trials.finish(trial, "finished", 0.25, "", 1.5)
        trials.close()
        files = ("sweep.yaml", "sweep.json", "trials.db")
        return [{f"a/{name}": (folder / name).read_bytes() for name in files}]


@register("sweep folder", _folder_seeds, [m.change_json, m.replace_number, m.words_of(*_WORDS)])
def _read_sweep_folder(folder: Path) -> None:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            sweep_command(["list", "--output_dir", str(folder)], "chainrule sweep")
            for name in (path.name for path in folder.iterdir()):
                sweep_command(["status", name, "--output_dir", str(folder)], "chainrule sweep")
                sweep_command(["best", name, "--output_dir", str(folder)], "chainrule sweep")
    finally:
        assert all(line.isprintable() for line in printed.getvalue().split("\n"))
