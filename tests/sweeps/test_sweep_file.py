"""Which sweep files are accepted, which are refused and how; and the result of W&B's validator on the same files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import CHECKER
from sweeps.sweep_files import CASES

from chainrule.core.errors import ConfigError
from chainrule.sweeps.space.sweep_file import read_sweep

ROOT = Path(__file__).parents[2]
_CHECK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from sweeps.config import schema_violations_from_proposed_config
def refused(config):
    try:
        return bool(schema_violations_from_proposed_config(config))
    except Exception:
        return True
print(json.dumps({name: refused(config) for name, config in json.load(sys.stdin).items()}))
"""


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_accepted_or_refused(tmp_path: Path, name: str) -> None:
    text, refusal, _ = CASES[name]
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    if not refusal:
        sweep = read_sweep(file)
        assert sweep.name in ("sweep", "a sweep")
        for u in (0.0, 0.5, 0.999999):
            for distribution in sweep.parameters.values():
                stored = distribution.storage_value(u)
                assert distribution.decode(stored) == distribution.ppf(u)
                assert distribution.to_optuna()._contains(distribution.to_optuna().to_internal_repr(stored))
        return
    with pytest.raises(ConfigError) as caught:
        read_sweep(file)
    assert refusal in str(caught.value)
    assert f"{file} has a problem:\n  line " in str(caught.value)


@pytest.mark.checker
def test_the_checker_of_wandb_agrees() -> None:
    files = {name: yaml.safe_load(text) for name, (text, _, _) in CASES.items()}
    own = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "sweeps").glob("*.yaml")}
    files |= own
    asked = subprocess.run(
        [CHECKER, "-c", _CHECK],
        input=json.dumps(files, default=str),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    refused = json.loads(asked.stdout)
    assert not any(refused.pop(name) for name in own)
    assert {name: not wrong for name, wrong in refused.items()} == {
        name: taken for name, (_, _, taken) in CASES.items()
    }
    # Nothing is accepted here that W&B refuses: such a sweep would not run there.
    assert not [name for name, (_, refusal, _) in CASES.items() if not refusal and refused[name]]


def test_all_problems_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "method: random\nparameters:\n  learning_rat:\n    value: 1\n  epochs:\n    values:\n      - 1\n      - 0\n"
        "run_cap: no\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_sweep(file)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{file} has 3 problems:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  line 3", "  line 5", "  line 9"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a sweep"),
        ("- 1\n", "must hold a sweep"),
        ("method: [grid\n", "is not valid YAML"),
        ("method: grid\nmethod: random\n", "line 2: 'method' is given a second time"),
        ("method: 2024-13-45\n", "line 1: method has a value that YAML cannot read"),
        ("? [a]\n: b\n", "line 1: a key must be a text"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: a has the tag"),
        ("a: !!python/name:os.system ''\n", "line 1: a has a value that YAML cannot read"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
        ), "too many values"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("#" + "x" * 200_000, "has 200,001 bytes"),
        ("\0", "is not valid YAML"),
        ("method: \xe4".encode("latin-1"), "is not valid YAML"),
    ],
)  # fmt: skip
def test_contents_that_are_no_sweep(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_sweep(file)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("pipe.yaml", "."):
        with pytest.raises(ConfigError, match="not a regular file"):
            read_sweep(tmp_path / name)


def test_what_may_change_in_the_file_of_a_started_sweep(tmp_path: Path) -> None:
    text = CASES["run_cap"][0]
    digests = []
    for number, changed in enumerate(
        [
            text,
            text.replace("run_cap: 5", "run_cap: 9  # more\ndescription: |\n  two\n  lines"),
            "# hello\n\n" + text,
            text.replace("0.01", "0.02"),
        ]
    ):
        file = tmp_path / f"{number}.yaml"
        file.write_text(changed)
        digests.append(read_sweep(file).digest)
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_the_flags_of_a_command_hold_for_all_trials(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(CASES["command with flags"][0])
    assert read_sweep(file).fixed == {"batch_size": "64"}


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_files_that_come_along(file: Path) -> None:
    assert read_sweep(file).name == file.stem
