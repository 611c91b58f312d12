"""Shares of variance, on synthetic results whose shares are known."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chainrule.report.overview import build_overview
from chainrule.report.run_records import RunRecord
from chainrule.report.variance import compute_variance_shares
from chainrule.training.history import History

SIZES = {"optimizer": 6, "activation": 3, "init": 2, "rate": 2, "width": 3, "depth": 3, "batch": 3, "epochs": 2}


def record(score: float, config: dict) -> RunRecord:
    return RunRecord("r", Path("none"), "", "finished", config, {"val_accuracy": score}, History(), None, 1.0)


def sample(n: int, sizes: dict[str, int], seed: int = 0) -> tuple[dict[str, np.ndarray], np.random.Generator]:
    """A random design: an index of a category per hyperparameter and run."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(size, size=n) for name, size in sizes.items()}, rng


def make_records(design: dict[str, np.ndarray], scores: np.ndarray) -> list[RunRecord]:
    configs = [{name: f"v{column[i]}" for name, column in design.items()} for i in range(len(scores))]
    return [record(float(score), config) for score, config in zip(scores, configs, strict=True)]


def standardize(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def test_an_additive_response_without_noise_is_all_additive_and_ranked_right() -> None:
    design, _ = sample(210, SIZES)
    weights = {"depth": 0.5, "optimizer": 0.3, "init": 0.15, "rate": 0.05}
    scores = sum(w**0.5 * standardize(design[name].astype(float)) for name, w in weights.items())
    shares = compute_variance_shares(make_records(design, np.asarray(scores)), "val_accuracy")
    assert shares.reason == ""
    assert shares.additive is not None
    assert shares.additive.value == pytest.approx(1, abs=1e-6)
    assert shares.interaction is not None
    assert shares.interaction.value == pytest.approx(0, abs=1e-6)
    assert list(shares.hyperparameters)[:4] == ["depth", "optimizer", "init", "rate"]
    for name, share in shares.hyperparameters.items():
        # The columns of a random design correlate a little.
        assert share.value == pytest.approx(weights.get(name, 0), abs=0.06)


def test_a_pure_interaction_is_all_interaction() -> None:
    design, _ = sample(210, SIZES)
    exclusive_or = (design["init"] != design["rate"]).astype(float)
    shares = compute_variance_shares(make_records(design, exclusive_or), "val_accuracy")
    assert shares.additive is not None
    assert shares.additive.high < 0.1
    assert shares.pairwise is not None
    assert shares.pairwise.value == pytest.approx(1, abs=1e-6)
    assert shares.interaction is not None
    assert shares.interaction.low > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_noise_explains_nothing(seed: int) -> None:
    design, rng = sample(210, SIZES, seed)
    shares = compute_variance_shares(make_records(design, rng.normal(size=210)), "val_accuracy")
    assert shares.additive is not None
    assert shares.interaction is not None
    for share in (shares.additive, shares.interaction, *shares.hyperparameters.values()):
        assert share.value < 0.06
        assert share.low < 0.01


@pytest.mark.parametrize(("additive", "interaction"), [(0.6, 0.2), (0.3, 0.4)])
def test_a_mixture_has_its_shares_and_intervals_that_hold_them(additive: float, interaction: float) -> None:
    found, inside = [], 0
    for seed in range(20):
        design, rng = sample(300, SIZES, seed)
        main = standardize(design["depth"].astype(float))
        both = standardize((design["init"] * 2.0 - 1) * (design["rate"] * 2.0 - 1))
        noise = standardize(rng.normal(size=300))
        scores = additive**0.5 * main + interaction**0.5 * both + (1 - additive - interaction) ** 0.5 * noise
        shares = compute_variance_shares(make_records(design, scores), "val_accuracy")
        assert shares.additive is not None
        assert shares.interaction is not None
        found.append((shares.additive.value, shares.interaction.value))
        inside += shares.interaction.low <= interaction <= shares.interaction.high
    assert np.mean(found, axis=0) == pytest.approx([additive, interaction], abs=0.05)
    assert inside >= 16


def test_an_unbalanced_design_does_not_credit_one_hyperparameter_with_what_another_does() -> None:
    rng = np.random.default_rng(0)
    good = rng.random(300) < 0.9
    # A search that found the good optimizer early tries it mostly with one rate.
    rate = np.where(rng.random(300) < 0.8, good, rng.random(300) < 0.5)
    design = {"optimizer": good.astype(int), "rate": rate.astype(int), "batch": rng.integers(3, size=300)}
    scores = good + rng.normal(scale=0.05, size=300)
    shares = compute_variance_shares(make_records(design, scores), "val_accuracy")
    assert next(iter(shares.hyperparameters)) == "optimizer"
    assert shares.hyperparameters["rate"].value < 0.01
    assert shares.hyperparameters["batch"].value < 0.01
    assert shares.additive is not None
    assert shares.additive.value > 0.95


def test_continuous_hyperparameters_are_splines_on_the_scale_of_their_range() -> None:
    rng = np.random.default_rng(0)
    rates, dropouts = 10 ** rng.uniform(-5, -1, size=200), rng.uniform(0, 0.5, size=200)
    scores = -((np.log10(rates) + 3) ** 2) + rng.normal(scale=0.1, size=200)
    records = [
        record(score, {"learning_rate": rate, "dropout": dropout, "width": int(width)})
        for score, rate, dropout, width in zip(scores, rates, dropouts, rng.choice([32, 64], 200), strict=True)
    ]
    shares = compute_variance_shares(records, "val_accuracy")
    assert shares.continuous == ["learning_rate", "dropout"]
    assert shares.hyperparameters["learning_rate"].value > 0.9
    assert abs(shares.hyperparameters["dropout"].value) < 0.02
    # Without noise, what is linear in the logarithm is explained completely.
    straight = [record(float(np.log10(one.config["learning_rate"])), dict(one.config)) for one in records]
    explained = compute_variance_shares(straight, "val_accuracy").additive
    assert explained is not None
    assert explained.value == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "facts"),
    [(19, ("19 runs", "too few", "20")), (86, ("Interaction is withheld", "87 coefficients", "86 runs")), (87, ())],
)
def test_shares_are_withheld_with_the_reason_where_runs_are_few(n: int, facts: tuple[str, ...]) -> None:
    sizes = {"a": 5, "b": 5, "c": 4, "d": 4} if n > 20 else {"a": 2, "b": 2}
    design, rng = sample(n, sizes)
    for name, size in sizes.items():
        design[name][:size] = range(size)
    shares = compute_variance_shares(make_records(design, rng.normal(size=n)), "val_accuracy")
    assert all(fact in shares.reason for fact in facts)
    assert bool(shares.reason) == bool(facts)
    assert (shares.additive is None) == (n == 19)
    assert (shares.interaction is None) == (n < 87)
    assert bool(shares.hyperparameters) == (n > 19)


def test_equal_results_and_a_single_hyperparameter_have_a_reason() -> None:
    design, _ = sample(60, {"a": 3, "b": 2})
    assert "same in all runs" in compute_variance_shares(make_records(design, np.ones(60)), "val_accuracy").reason
    alone = compute_variance_shares(make_records({"a": design["a"]}, design["a"] * 1.0), "val_accuracy")
    assert alone.additive is not None
    assert alone.additive.value == pytest.approx(1)
    assert alone.hyperparameters["a"].value == pytest.approx(1, abs=0.1)
    assert "only one hyperparameter" in alone.reason
    assert compute_variance_shares([], "val_accuracy").reason


def test_interaction_of_very_many_coefficients_is_withheld() -> None:
    design, rng = sample(700, dict.fromkeys("abcd", 12))
    shares = compute_variance_shares(make_records(design, rng.normal(size=700)), "val_accuracy")
    assert shares.additive is not None
    assert shares.interaction is None
    assert all(fact in shares.reason for fact in ("770 coefficients", "600", "700 runs"))


def measure_seconds(compute: Callable[[], object]) -> float:
    start = time.process_time()
    compute()
    return time.process_time() - start


@pytest.mark.parametrize(("n", "limit"), [(210, 2), (2000, 20)])
def test_shares_of_many_runs_are_fast(n: int, limit: float) -> None:
    design, rng = sample(n, SIZES)
    records = make_records(design, design["depth"] * design["init"] + rng.normal(size=n))
    assert measure_seconds(lambda: compute_variance_shares(records, "val_accuracy")) < limit


def test_the_report_states_shares_or_why_there_are_none() -> None:
    design, rng = sample(150, {"a": 3, "b": 2})
    scores = design["a"] + rng.normal(scale=0.1, size=150)
    full = build_overview(make_records(design, scores), "Full").sections[1]
    assert "shares" in full.charts
    assert all(word in full.text for word in ("add up", "95 % interval", "interaction", "150 runs"))
    few = build_overview(make_records({k: v[:10] for k, v in design.items()}, scores[:10]), "Few").sections[1]
    assert "shares" not in few.charts
    assert "10 runs are too few" in few.text
