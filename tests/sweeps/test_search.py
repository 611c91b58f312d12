"""What is proposed, when a trial is stopped, and what a sweep's storage remembers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from sweeps.sweep_files import CASES, parameters

from chainrule.sweeps.search import Hyperband, propose
from chainrule.sweeps.space.distributions import DISTRIBUTIONS, Categorical
from chainrule.sweeps.space.sweep_file import Sweep, read_sweep
from chainrule.sweeps.summary import draw_sparkline, format_csv
from chainrule.sweeps.trials import Trials

SPACE = """{learning_rate: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-1}, num_layers: {min: 1, max: 4},
  optimizer: {values: [sgd, adam, nadam]}, hidden_size: {values: [[16, 8], 32]}, weight_decay: {values: [0, 0.5]}}"""


def sweep_of(folder: Path, text: str) -> Sweep:
    (folder / "s.yaml").write_text(text)
    return read_sweep(folder / "s.yaml")


# --- distributions

# SciPy's quantiles, an independent source: the tail u = 0.975 of each.
QUANTILES = [
    ("normal", {"mu": 2, "sigma": 3}, 2 + 3 * 1.959963984540054),
    ("log_normal", {"mu": 0, "sigma": 1}, np.exp(1.959963984540054)),
    ("beta", {"a": 2, "b": 5}, 0.6412345788003656),
    ("uniform", {"min": -1, "max": 3}, 2.9),
    ("log_uniform_values", {"min": 0.01, "max": 100}, 10 ** (-2 + 4 * 0.975)),
    ("inv_log_uniform_values", {"min": 0.01, "max": 100}, 10 ** (-2 + 4 * 0.975)),
    ("q_uniform", {"min": -1, "max": 3, "q": 0.25}, 3.0),
    ("q_normal", {"mu": 2, "sigma": 3, "q": 2}, 8),
    ("q_beta", {"a": 2, "b": 5, "q": 0.1}, 0.6),
    ("q_log_normal", {"mu": 0, "sigma": 1, "q": 1}, 7),
    ("q_log_uniform_values", {"min": 0.01, "max": 100, "q": 1}, 79),
    ("int_uniform", {"min": 1, "max": 40}, 40),
]


@pytest.mark.parametrize(("name", "settings", "value"), QUANTILES)
def test_quantiles(name: str, settings: dict, value: float) -> None:
    distribution = DISTRIBUTIONS[name](**settings)
    assert distribution.ppf(0.975) == pytest.approx(value, rel=1e-6)
    values = [distribution.ppf(u) for u in np.linspace(0, 0.999999, 50)]
    assert values == sorted(values)
    assert all(distribution.decode(distribution.storage_value(u)) == distribution.ppf(u) for u in (0.0, 0.3, 0.999999))


def test_every_distribution_has_its_quantile_checked() -> None:
    assert {name for name, *_ in QUANTILES} == {
        name for name, cls in DISTRIBUTIONS.items() if not issubclass(cls, Categorical)
    }


def test_probabilities_are_shares() -> None:
    choice = Categorical(["a", "b", "c"], [0.5, 0.0, 0.5])
    drawn = [choice.ppf(u) for u in np.linspace(0, 1, 1000, endpoint=False)]
    assert (drawn.count("a"), drawn.count("b"), drawn.count("c")) == (500, 0, 500)
    assert Categorical(["a", "b"], [0.3, 0.7 - 1e-9]).ppf(0.9999999999999) == "b"


# --- search


def test_a_grid_is_the_product_with_the_last_setting_fastest(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path, parameters("{num_layers: {min: 1, max: 3}, hidden_size: {values: [[16, 8], 32]}}", "grid")
    )
    trials = Trials(tmp_path, sweep)
    assert sweep.size == 6
    odd = sweep_of(tmp_path, CASES["grid of steps from elsewhere"][0])
    assert odd.grids[0].values == [1, 3, 5, 7, 9]
    found = [tuple(sweep.decode(propose(sweep, 0, k, trials)).values()) for k in range(6)]
    assert found == list(itertools.product([1, 2, 3], [[16, 8], 32]))
    trials.close()


def test_random_search_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters(SPACE))
    trials = Trials(tmp_path, sweep)
    first = [propose(sweep, 0, k, trials) for k in range(30)]
    for params in first[:3]:
        trial = trials.create(params, "run")
        trials.finish(trial, "finished", 0.5, "", 1.0)
    assert [propose(sweep, 0, k, trials) for k in range(30)] == first
    assert [propose(sweep, 1, k, trials) for k in range(30)] != first
    assert len({params["learning_rate"] for params in first}) == 30
    assert {params["num_layers"] for params in first} == {1, 2, 3, 4}
    trials.close()


def test_bayesian_search_depends_on_results_and_finds_what_is_good(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters(SPACE, "bayes"))
    trials = Trials(tmp_path, sweep)
    proposed = []
    for k in range(60):
        params = propose(sweep, 0, k, trials)
        assert params == propose(sweep, 0, k, list(trials))
        proposed.append(params)
        trial = trials.create(params, "run")
        loss = float(abs(np.log10(params["learning_rate"]) + 2) + (params["optimizer"] != "adam"))
        trials.finish(trial, "finished", loss, "", 1.0)
    early, late = proposed[:20], proposed[40:]
    assert sum(p["optimizer"] == "adam" for p in late) > 1.5 * sum(p["optimizer"] == "adam" for p in early)
    assert np.median([p["learning_rate"] for p in late]) == pytest.approx(1e-2, rel=0.5)
    # Another result, another proposal.
    worse = [trial for trial in trials if trial.number != trials.best.number]
    after = range(60, 70)
    assert [propose(sweep, 0, k, worse) for k in after] != [propose(sweep, 0, k, trials) for k in after]
    trials.close()


def test_bayesian_search_does_not_try_again_what_it_has_tried(tmp_path: Path) -> None:
    space = "{hidden_size: {values: [8, 16, 32, 64]}, num_layers: {values: [1, 2, 3]}, seed: {min: 0, max: 4}}"
    sweep = sweep_of(tmp_path, parameters(space, "bayes"))
    trials = Trials(tmp_path, sweep)
    for k in range(45):
        # Trials that are still running count too.
        trial = trials.create(propose(sweep, 0, k, trials), "run")
        if k != 44:
            trials.finish(trial, "finished", float(trial.params["seed"] + trial.params["num_layers"]), "", 1.0)
    searched = [tuple(trial.params.values()) for trial in trials][20:]
    before = {tuple(trial.params.values()) for trial in trials[:20]}
    assert len(set(searched)) == 25
    assert not before & set(searched)
    trials.close()


def test_a_space_that_is_used_up_is_searched_on(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters("{num_layers: {values: [1, 2]}}", "bayes"))
    trials = Trials(tmp_path, sweep)
    for k in range(23):
        trials.finish(trials.create(propose(sweep, 0, k, trials), "run"), "finished", 0.5, "", 1.0)
    assert len(trials) == 23
    trials.close()


@pytest.mark.parametrize("name", [name for name, (_, refusal, _) in CASES.items() if not refusal])
def test_every_file_can_be_searched_and_params(tmp_path: Path, name: str) -> None:
    sweep = sweep_of(tmp_path, CASES[name][0])
    trials = Trials(tmp_path, sweep)
    created = []
    for k in range(min(sweep.size or 3, 3)):
        params = propose(sweep, 0, k, trials)
        created.append(trials.create(params, f"run{k}"))
    trials.close()
    again = Trials(tmp_path, sweep)
    assert [trial.params for trial in again] == [trial.params for trial in created]
    assert [sweep.decode(trial.params) for trial in again] == [sweep.decode(trial.params) for trial in created]
    again.close()


# --- storage


def test_what_is_written_down_is_there_after_a_crash(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters(SPACE))
    trials = Trials(tmp_path, sweep)
    for k in range(4):
        trials.create(propose(sweep, 0, k, trials), f"run{k}")
    trials.report(trials[0], [0.5, 0.4])
    trials.report(trials[0], [0.5, 0.4, 0.3])
    trials.finish(trials[0], "finished", 0.3, "", 1.5)
    trials.report(trials[1], [0.9])
    trials.finish(trials[1], "pruned", 0.9, "", 1.0)
    trials.finish(trials[2], "failed", None, "it, with a comma, burst", 1.0)
    # Not closed: a killed process does not either.
    again = Trials(tmp_path, sweep)
    assert list(again) == list(trials)
    assert [trial.status for trial in again] == ["finished", "pruned", "failed", "running"]
    assert again[0].curve == [0.5, 0.4, 0.3]
    assert again.best == again[0]
    assert '"it, with a comma, burst"' in format_csv(sweep, again)
    trials.close()
    again.close()


def test_a_result_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters(SPACE))
    trials = Trials(tmp_path, sweep)
    for value in (None, float("nan"), float("inf")):
        trial = trials.create(propose(sweep, 0, 0, trials), "run")
        trials.report(trial, [float("nan"), 0.5])
        trials.finish(trial, "finished", value, "", 1.0)
        assert (trial.status, trial.value) == ("failed", None)
    assert trials.best is None
    trials.close()
    again = Trials(tmp_path, sweep)
    assert [trial.status for trial in again] == ["failed"] * 3
    again.close()


def test_names_that_are_odd_addresses(tmp_path: Path) -> None:
    for name in ("is adam best?", "100 % #1", "a?x", "a?y"):
        folder = tmp_path / name
        folder.mkdir()
        sweep = sweep_of(folder, parameters(SPACE))
        trials = Trials(folder, sweep)
        trials.create(propose(sweep, 0, 0, trials), "run")
        trials.close()
        assert (folder / "trials.db").exists()
        assert len(Trials(folder, sweep, create=False)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100 % #1", "a?x", "a?y", "is adam best?"]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, parameters(SPACE))
    trials = Trials(tmp_path, sweep, create=False)
    assert len(trials) == 0
    trials.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


# --- early termination, with numbers worked out from its definition


def test_the_rungs() -> None:
    assert Hyperband.from_settings({"min_iter": 3}).rungs[:4] == (3, 9, 27, 81)
    assert Hyperband.from_settings({"max_iter": 27, "s": 2, "eta": 3}).rungs == (3, 9)
    assert Hyperband.from_settings({"max_iter": 5, "s": 9, "eta": 2}).rungs == (1, 2)
    assert Hyperband.from_settings({"max_iter": 2, "s": 1, "eta": 3}).rungs == ()


def test_the_best_third_continues() -> None:
    hyperband = Hyperband((2,), 3, strict=True)
    others = [[9, value] for value in (0.1, 0.2, 0.3, 0.4, 0.5)] + [[0.0]]
    # Of six, the one at index 6 / 3 is the threshold: those at 0.3 and below continue.
    assert not hyperband.should_prune([9, 0.25], others)
    assert hyperband.should_prune([9, 0.35], others)
    assert not hyperband.should_prune([9], others)
    assert not hyperband.should_prune([9, 0.35, 0.35], others)
    assert not hyperband.should_prune([9, 0.9], [])
    # Not strict: by its best so far.
    assert not Hyperband((2,), 3, strict=False).should_prune([0.05, 0.35], others)


def test_bars() -> None:
    assert draw_sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert draw_sparkline([0.5, 0.5]) == "▅▅"
    assert draw_sparkline([float("nan")]) == ""
