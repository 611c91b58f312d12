"""Each claim of the report's texts fails when the stored answers say the opposite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS, TEXTS = ROOT / "report" / "results", ROOT / "report" / "text"

Change = Callable[[dict[str, Any]], None]


def put(path: str, value: object) -> Change:
    """Replace what a path of keys and indices, such as "compared.0.gain", leads to."""

    def change(answers: dict[str, Any]) -> None:
        *keys, last = path.split("/")
        found: Any = answers
        for key in keys:
            found = found[int(key) if isinstance(found, list) else key]
        found[int(last) if isinstance(found, list) else last] = value

    return change


def swap(first: str, second: str) -> Change:
    """Exchange what two paths lead to."""

    def change(answers: dict[str, Any]) -> None:
        found: list[Any] = []
        for path in (first, second):
            value: Any = answers
            for key in path.split("/"):
                value = value[int(key) if isinstance(value, list) else key]
            found.append(value)
        put(first, found[1])(answers)
        put(second, found[0])(answers)

    return change


def reverse_shares(which: str) -> Change:
    """Give the largest share to the last hyperparameter, and so on."""

    def change(answers: dict[str, Any]) -> None:
        shares = answers["question6"]["shares"][which]
        names, values = list(shares["hyperparameters"]), list(shares["hyperparameters"].values())
        shares["hyperparameters"] = dict(zip(names[::-1], values, strict=True))

    return change


def spread_mistakes(answers: dict[str, Any]) -> None:
    """All mistakes alike: those among tops are fewer than half."""
    answers["question7"]["charts"]["confusion"]["counts"] = [[10] * 10 for _ in range(10)]


def effect(first: str, second: str, part: str) -> Change:
    return swap(f"question6/effects/{first}/{part}", f"question6/effects/{second}/{part}")


GAIN = {"mean": 0.01, "std": 0.001, "low": 0.005, "high": 0.015, "values": [0.01]}
CLAIMS: dict[tuple[str, str], Change] = {
    ("question2", "untrained networks guess"): put("question2/networks/0/loss", 0.5),
    ("question3", "the optimizers differ more in the sweep"): lambda answers: answers["question6"]["effects"].update(
        optimizer={"sgd": {"median": 0.8}, "adam": {"median": 0.81}}
    ),
    ("question3", "gradients are right"): put("question3/gradient_errors/tanh, cross_entropy", 1e-7),
    ("question3", "no best rate is at the end of the range"): put("question3/optimizers/eve/learning_rate", 0.00003),
    ("question3", "the optimizers end close together"): put("question3/optimizers/eve/val_accuracy/mean", 0.84),
    ("question3", "sgd needs a larger rate"): swap(
        "question3/optimizers/sgd/learning_rate", "question3/optimizers/adam/learning_rate"
    ),
    ("question4", "the search is better and cheaper"): swap(
        "question4/sweeps/survey/median", "question4/sweeps/fashion_mnist/median"
    ),
    ("question5", "other models are within half a point"): put("question5/others_within_half_a_point", 0),
    ("question6", "weight decay 0.5 never works"): swap("question6/decay/0.5/best", "question6/decay/0.0/best"),
    ("question6", "decay explains most"): reverse_shares("all"),
    ("question6", "no weight decay is better"): swap("question6/decay/0.0/best", "question6/decay/0.0005/best"),
    ("question6", "adaptive optimizers have higher medians"): effect("optimizer/adam", "optimizer/sgd", "median"),
    ("question6", "sigmoid is worst"): effect("activation/sigmoid", "activation/ReLU", "median"),
    ("question6", "Xavier is better"): effect("weight_init/Xavier", "weight_init/random", "median"),
    ("question6", "wider is better"): effect("hidden_size/32", "hidden_size/128", "median"),
    ("question6", "the higher rate is better"): effect("learning_rate/0.001", "learning_rate/0.0001", "median"),
    ("question6", "activation and optimizer matter most"): reverse_shares("mild"),
    ("question6", "the additive model explains more than half"): swap(
        "question6/shares/mild/additive", "question6/shares/mild/interaction"
    ),
    ("question6", "hyperparameters interact with the strong decay"): put("question6/shares/all/interaction/low", -0.01),
    ("question6", "deeper networks are worse on average"): effect("num_layers/3", "num_layers/5", "mean"),
    ("question6", "the best network is deep"): effect("num_layers/3", "num_layers/5", "best"),
    ("question6", "the reasons explain the failures"): put("question6/reasons/5/low", 60),
    ("question6", "width helps a little"): swap(
        "question6/wider/512 units, weight decay 0", "question6/wider/128 units, weight decay 0"
    ),
    ("question6", "there is a gap"): swap(
        "question6/wider/512 units, weight decay 0/train_accuracy",
        "question6/wider/512 units, weight decay 0/val_accuracy",
    ),
    ("question6", "question 3 prefers 0.0003"): put("question3/optimizers/adam/learning_rate", 0.003),
    ("question6", "all hyperparameters are categorical"): put("question6/shares/mild/continuous", ["learning_rate"]),
    ("question7", "the model beats 88 %"): put("question7/test_accuracy/mean", 0.87),
    ("question7", "the interval covers the test images"): put("question7/test_accuracy/low", 0.8816),
    ("question7", "it beats the published configuration"): put("question7/test_accuracy/low", 0.85),
    ("question7", "the model differs in four hyperparameters"): put("question7/settings/optimizer", "rmsprop"),
    ("question7", "no leader uses weight decay"): put("question7/candidates/3/weight_decay", 0.0005),
    ("question7", "the best of many is an optimistic estimate"): swap(
        "question7/best_of_sweep/val_accuracy", "question7/candidates/0/val_accuracy"
    ),
    ("question7", "most mistakes are among tops"): spread_mistakes,
    ("question8", "no chosen rate is at the end of its range"): put(
        "question8/compared/0/settings/mean_squared_error/learning_rate", 0.3
    ),
    ("question8", "no chosen decay is the largest"): put(
        "question8/compared/1/settings/mean_squared_error/weight_decay", 0.001
    ),
    ("question8", "no difference is clear"): put("question8/compared/4/gain", GAIN),
    ("question8", "the pooled differences include 0"): put("question8/pooled/tuned weight decay", GAIN),
    ("question8", "weight decay costs squared error more"): swap(
        "question8/change_by_decay/adam/cross_entropy", "question8/change_by_decay/adam/mean_squared_error"
    ),
    ("question8", "squared error needs larger steps of nag"): swap(
        "question8/compared/0/settings/cross_entropy/learning_rate",
        "question8/compared/0/settings/mean_squared_error/learning_rate",
    ),
    ("question10", "the best reaches 97.7 %"): put("question10/configurations/2/test_accuracy/mean", 0.97),
    ("question10", "the two wide ones are close"): put("question10/configurations/1/test_accuracy/mean", 0.96),
    ("summary", "the losses do not differ"): put("question8/pooled/tuned weight decay", GAIN),
}


@pytest.fixture
def build_section(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.syspath_prepend(str(ROOT / "questions"))
    from sections import build_section

    return build_section


def read_answers() -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in RESULTS.glob("*.json")}


def test_every_claim_has_its_opposite() -> None:
    texts = {file.stem: file.read_text(encoding="utf-8") for file in TEXTS.glob("*.md")}
    claims = {(name, claim) for name, text in texts.items() for claim in re.findall(r'holds\(.*?, "([^"]*)"\)', text)}
    assert claims == set(CLAIMS)
    assert sum(text.count("holds(") for text in texts.values()) == len(CLAIMS)


@pytest.mark.parametrize(("name", "claim"), CLAIMS, ids=lambda part: part)
def test_a_claim_fails_when_the_answers_say_the_opposite(
    name: str, claim: str, build_section: Callable[..., Any], tmp_path: Path
) -> None:
    answers = read_answers()
    CLAIMS[name, claim](answers)
    for stem, answer in answers.items():
        (tmp_path / f"{stem}.json").write_text(json.dumps(answer), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"a claim of {name}: {claim}.")):
        build_section(name, tmp_path)
