"""A share of the fuzz that `make fuzz` runs at length; and that it finds what is broken."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import yaml
from fuzz.harness import Report, fuzz, make_input
from fuzz.readers import READERS
from fuzz.samples import Odd, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import ChainruleError, DataError
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.runs.config import TrainConfig
from chainrule.training.history import EpochRecord, History, record_names


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_accepted_or_refused_in_a_clear_way(name: str, tmp_path: Path) -> None:
    report = fuzz(name, 1000, seed=0, kept=tmp_path)
    assert report.failures == []
    assert report.inputs == 1000
    assert report.accepted + report.refused == 1000
    assert min(report.accepted, report.refused) >= 10  # or the damage is too little, or too much, to test anything


def test_inputs_are_a_function_of_seed_and_number() -> None:
    for reader in READERS.values():
        first = [make_input(reader, 3, number) for number in range(60)]
        assert first == [make_input(reader, 3, number) for number in range(60)]
        assert first[-20:] != [make_input(reader, 4, number) for number in range(40, 60)]
        assert len({repr(sample) for sample in first}) > 40


BROKEN = """
import signal, sys, time
from fuzz.readers import register
from chainrule.core.errors import DataError

@register("broken", lambda: [{"file": b"seven 7"}])
def read(folder):
    content = (folder / "file").read_bytes() if (folder / "file").is_file() else b"7"
    if b"7" not in content:
        BREAK
    if content[:1] != b"s":
        raise DataError("it must start with s")
"""


def of_broken(folder: Path, line: str, inputs: int = 400) -> Report:
    (folder / "broken.py").write_text(BROKEN.replace("BREAK", line))
    return fuzz("broken", inputs, seed=1, kept=folder / "kept", also=(str(folder / "broken.py"),))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("assert False, 'wrong'", "AssertionError: wrong"),
        ("raise DataError('\\x1b[31m')", ""),
        ("raise DataError('')", "an error that is empty"),
        ("raise DataError('x' * 10_000)", "too long"),
        ("bytearray(10**12)", "MemoryError"),
        ("bytearray(400 * 2**20)", "MemoryError"),
        ("open(folder / 'file').fileno(); signal.raise_signal(signal.SIGSEGV)", "ended the process with SIGSEGV"),
        ("signal.raise_signal(signal.SIGALRM)", "It took more than 10 s"),
        ("pass", ""),
    ],
)
def test_a_broken_reader_is_found(tmp_path: Path, line: str, words: str) -> None:
    report = of_broken(tmp_path, line)
    assert bool(report.failures) == bool(words)
    if words:
        failure = report.failures[0]
        assert words in failure.problem
        assert b"7" not in make_input_of_broken(failure.number)
        if "kept" in failure.folder:
            assert Path(failure.folder, "file").read_bytes() == make_input_of_broken(failure.number)


def make_input_of_broken(number: int) -> bytes:
    """The same input, made here: what was found can be found again."""
    from fuzz.readers import Reader

    content = make_input(Reader("broken", print, lambda: [{"file": b"seven 7"}], ()), 1, number)["file"]
    assert isinstance(content, bytes)
    return content


def test_a_reader_that_refuses_a_valid_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN.replace("seven 7", "even 7").replace("BREAK", "pass"))
    with pytest.raises(RuntimeError, match="broken refuses seed 0"):
        fuzz("broken", 10, seed=1, kept=tmp_path, also=(str(tmp_path / "broken.py"),))


@given(st.dictionaries(st.text(string.ascii_letters + "/.", min_size=1, max_size=9), st.binary(), max_size=4))
def test_a_packed_sample_can_be_unpacked(sample: dict[str, bytes]) -> None:
    assert unpack(pack(sample)) == sample
    assert unpack(pack({**sample, "odd": Odd.PIPE})) == {name: sample[name] for name in sample if name != "odd"}


@given(st.binary(max_size=60))
def test_any_bytes_can_be_unpacked(content: bytes) -> None:
    assert isinstance(unpack(content), dict)


# --- what is written is read, and anything else refused

shares = st.floats(0, 1)
losses = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(1, 2**63 - 1)
records = st.builds(EpochRecord, counts, counts, losses, shares, st.none() | losses, st.none() | shares)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(records, max_size=5))
def test_a_history_that_is_written_is_read(history: list[EpochRecord]) -> None:
    assert History.from_jsonl(History(history).to_jsonl()) == History(history)


@given(st.text())
def test_any_text_is_a_history_or_a_clear_error(text: str) -> None:
    try:
        history = History.from_jsonl(text)
    except DataError as error:
        message = str(error)
    else:
        assert len(history) == len(text.splitlines())
        return
    assert message.startswith("Line ")


@given(records, st.sampled_from(record_names()), json_values)
def test_a_record_with_another_value_is_a_record_or_refused(record: EpochRecord, name: str, value: object) -> None:
    try:
        changed = EpochRecord.from_json({**record.as_dict(), name: value})
    except DataError as error:
        message = str(error)
    else:
        assert History.from_jsonl(History([changed]).to_jsonl()) == History([changed])
        return
    assert message.startswith(f"{name} must be ")


@given(
    settings=st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 10**9),
            "seed": st.integers(0, 2**63 - 1),
            "hidden_size": st.integers(1, 10**6) | st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
            "learning_rate": st.floats(1e-300, 1e3),
            "val_fraction": st.floats(0, 0.99),
            "run_name": st.text(string.printable[:62] + " _-äЖ<>&", min_size=1, max_size=30),
            "plugin": st.lists(st.text(string.ascii_letters + "/.:#", min_size=1), max_size=3),
            "quiet": st.booleans(),
        },
    )
)
def test_settings_that_are_written_as_yaml_are_read(settings: dict[str, object], tmp_path_factory) -> None:
    config = TrainConfig(settings)
    path = tmp_path_factory.getbasetemp() / "c.yaml"
    path.write_text(yaml.safe_dump(config.to_dict()), encoding="utf-8")
    assert TrainConfig(read_mapping(path)).to_dict() == config.to_dict()


@given(st.dictionaries(st.sampled_from([*TrainConfig.fields(), "learning_rate", "x"]), json_values, max_size=4))
def test_any_values_are_settings_or_a_clear_error(given: dict[str, object]) -> None:
    try:
        config = TrainConfig(given)
    except ChainruleError as error:
        message = str(error)
    else:
        assert TrainConfig(config.to_dict()).to_dict() == config.to_dict()
        return
    assert all(line.isprintable() for line in message.split("\n"))
