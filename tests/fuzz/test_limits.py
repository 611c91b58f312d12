"""Files made to harm: those that claim or unpack to far more than they hold, and those that are no files."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz.mutations import join_safetensors, split_safetensors
from fuzz.readers import READERS, small_trainer
from fuzz.samples import Odd, write
from safetensors.numpy import load_file

from chainrule.core.errors import ChainruleError, CheckpointError, ConfigError, DivergenceError
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.nn.model_file import _FORMAT as MODEL
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import list_runs
from chainrule.training.checkpoint import _FORMAT as CHECKPOINT
from chainrule.training.checkpoint import FILES, Checkpoints, _digest, save_checkpoint
from chainrule.training.history import EpochRecord, History

TERABYTES = 2**43
CHILD = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from fuzz.mutations import join_safetensors, split_safetensors
from fuzz.readers import READERS, small_trainer
from fuzz.samples import write
reader, folder = READERS[sys.argv[1]], Path(sys.argv[2])
reader.read(write(reader.seeds()[0], folder / "seed") or folder / "seed")
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, size + 2**26))
try:
    reader.read(folder / "bad")
except Exception as error:
    print(type(error).__name__, error)
else:
    print("accepted")
"""


def read_in_64_mib(name: str, sample: dict[str, bytes], folder: Path) -> str:
    """What a reader says of some files where it can allocate 64 MiB and no more: the kind of error, and its words."""
    write(sample, folder / "bad")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, name, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def safetensors(header: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def claiming(size: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}


def model(header: dict[str, object], sizes: list[int], data: bytes = b"") -> bytes:
    return safetensors({"__metadata__": {MODEL: json.dumps({"sizes": sizes})}, **header}, data)


BOMB = gzip.compress(bytes(300_000_000), mtime=0)
EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("idx", BOMB, "DataError file is not an IDX file"),
        (
            "idx",
            b"\0\0\x08\x03" + b"\xff" * 12,
            "DataError file is truncated or corrupt: its header declares 4294967295",
        ),
        (
            "idx",
            b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x",
            "DataError file is not an IDX file of unsigned bytes: expected it to start with",
        ),
        ("idx", b"\0\0\x08\x04" + b"\xff" * 12 + bytes(4), "DataError file is corrupt: its header declares 4294967295"),
        ("gzip", BOMB, "DataError file is not the expected t10k-labels-idx1-ubyte: expected 28 bytes (unpacked), got"),
        ("gzip", gzip.compress(b"", mtime=0) * 100_000, "DataError file is not the expected t10k-labels"),
        ("model", model({"a": claiming(TERABYTES)}, [3, 2]), "ModelFileError Cannot read the model"),
        ("model", (2**62).to_bytes(8, "little") + b"{}", "ModelFileError Cannot read the model"),
        ("model", (90_000_000).to_bytes(8, "little") + b"{}", "ModelFileError Cannot read the model"),
        ("model", model({"a": EMPTY}, [10**6, 10**6]), "holds arrays of shapes {'a': (0,)}, and describes"),
        ("model", model({"a": EMPTY}, [2] * 40_000), "holds arrays of shapes {'a': (0,)}, and describes"),
        (
            "model",
            model({"layer1.weights": {**EMPTY, "shape": [2**40, 0]}, "layer1.biases": EMPTY}, [2**40, 0]),
            "ModelFileError Cannot read the model",
        ),
        (
            "checkpoint",
            safetensors({"__metadata__": {CHECKPOINT: "{}"}, "losses": claiming(TERABYTES)}),
            "CheckpointError Cannot read the checkpoint",
        ),
        ("checkpoint", (2**63).to_bytes(8, "little") + b"{}", "CheckpointError Cannot read the checkpoint"),
        ("configuration", b"a: 1\n" * 30_000, "it has 150,000 bytes, the limit is 100,000"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 15 else "",
)
def test_what_claims_or_unpacks_to_too_much_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert message in read_in_64_mib(name, {next(iter(READERS[name].seeds()[0])): content}, tmp_path)


def test_the_limit_of_memory_above_is_one(tmp_path: Path) -> None:
    """A file of twice its size cannot be read."""
    assert "MemoryError" in read_in_64_mib("idx", {"file": bytes(2**27)}, tmp_path)


def test_files_larger_than_any_disk_are_not_read(tmp_path: Path) -> None:
    write({**READERS["run folder"].seeds()[0]}, tmp_path / "runs")
    for name in ("run.json", "metrics.json", "history.jsonl", "config.json"):
        os.truncate(tmp_path / "runs" / "a" / name, TERABYTES)
    (run,) = list_runs(tmp_path / "runs")
    assert (run.status, run.epochs, run.test_accuracy) == ("damaged", 0, None)
    with pytest.raises(ConfigError, match="missing or damaged"):
        run.read_config()


def test_merges_of_merges_that_stand_for_a_billion_values(tmp_path: Path) -> None:
    lines = ["- &a0 {x: 1, y: 2}", *(f"- &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12))]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="too many values"):
        read_mapping(tmp_path / "c.yaml")


def test_only_some_of_a_million_errors_are_reported() -> None:
    with pytest.raises(ConfigError, match=r"(?s)20 .* or more:\n.*'epochs0'") as caught:
        TrainConfig({f"epochs{i}": 1 for i in range(10**6)})
    assert len(str(caught.value).splitlines()) == 21


# --- what is no file

NAMES = ("run.json", "metrics.json", "history.jsonl", "config.json", "checkpoints", "checkpoints/lock")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("odd", Odd)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_folder_with_something_that_is_no_file(tmp_path: Path, name: str, odd: Odd) -> None:
    good, begun, _ = READERS["run folder"].seeds()
    bad = {path: content for path, content in begun.items() if not path.startswith(f"b/{name}/")}
    write({**good, **bad, f"b/{name}": odd}, tmp_path / "runs")
    runs = {run.path.name: run for run in list_runs(tmp_path / "runs")}
    assert runs["a"].status == "finished"
    if "b" in runs:
        assert runs["b"].status in ("interrupted", "damaged")
        try:
            runs["b"].read_config()
        except ConfigError as error:
            message = str(error)
        else:
            message = ""
        assert bool(message) == (name == "config.json")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("odd", Odd)
@pytest.mark.parametrize("name", READERS)
def test_something_that_is_no_file_is_refused_by_every_reader(tmp_path: Path, name: str, odd: Odd) -> None:
    seed = READERS[name].seeds()[0]
    write(dict.fromkeys(seed, odd), tmp_path / "bad")
    if name == "history":  # its reader takes a text
        return
    with pytest.raises(ChainruleError):
        READERS[name].read(tmp_path / "bad")


def test_links_that_lead_elsewhere_do_no_harm_there(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "runs" / "b"
    write({".profile": b"mine", "lock": b"also mine"}, home)
    write(
        {path: text for path, text in READERS["run folder"].seeds()[1].items() if "lock" not in path}, tmp_path / "runs"
    )
    (run / "checkpoints").symlink_to(home)
    assert list_runs(tmp_path / "runs")[0].status == "interrupted"
    Checkpoints(run / "checkpoints", {}, "float32")
    (home / "lock").unlink()
    (home / "lock").symlink_to(home / ".profile")
    assert list_runs(tmp_path / "runs")[0].status == "interrupted"
    assert (home / ".profile").read_bytes() == b"mine"


def test_only_its_own_leftovers_are_removed_from_a_folder_of_checkpoints(tmp_path: Path) -> None:
    write({".a.safetensors.x1": b"", f".{FILES[1]}.x2.safetensors": b"", ".bashrc": b"", ".a": b""}, tmp_path / "c")
    Checkpoints(tmp_path / "c", {}, "float32")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [".a", ".bashrc"]


# --- checkpoints with the right checksum over the wrong things


@pytest.mark.parametrize("last", [1e308, 1.7e308])
def test_losses_whose_sum_is_too_large_end_training_as_any_divergence_does(tmp_path: Path, last: float) -> None:
    run = small_trainer()
    checkpoint = replace(
        run.checkpoint({}),
        arrays={**run.checkpoint({}).arrays, "losses": np.array([last / 3, last / 3, last / 2])},
        position=8,
    )
    save_checkpoint(checkpoint, tmp_path / FILES[0])
    run.restore(Checkpoints(tmp_path, run.checkpoint_shapes(), "float32").newest)
    with pytest.raises(DivergenceError, match="the loss is inf in epoch 1"):
        list(run.run(1))
    assert next(run.run(1)).epoch == 1


@pytest.mark.parametrize(
    "change",
    [
        {"step": "3"},
        {"step": -1},
        {"step": True},
        {"optimizer_step": 10**400},
        {"position": 1.0},
        {"score_sum": None},
        {"scalars": {"previous_loss": "0x1p99999"}},
        {"scalars": []},
        {"shuffle_state": 3},
        {"history": [{}]},
        {"history": [[1, 2, 0.5, 0.5, None, None]]},
        {"history": 3},
        {"fingerprint": "x"},
    ],
    ids=str,
)
def test_a_description_of_the_wrong_form_is_a_damaged_checkpoint(tmp_path: Path, change: dict[str, object]) -> None:
    header, data = split_safetensors(READERS["checkpoint"].seeds()[0][FILES[0]])
    content = json.loads(header["__metadata__"][CHECKPOINT])
    description = content["description"] | change
    (tmp_path / FILES[0]).write_bytes(join_safetensors(header, data))
    arrays = load_file(tmp_path / FILES[0])
    header["__metadata__"][CHECKPOINT] = json.dumps(
        {"description": description, "sha256": _digest(description, arrays)}
    )
    (tmp_path / FILES[0]).write_bytes(join_safetensors(header, data))
    found = Checkpoints(tmp_path, small_trainer().checkpoint_shapes(), "float32")
    assert found.newest is None
    assert FILES[0] in found.problems[0]


@pytest.mark.parametrize(
    "change",
    [
        {
            "shuffle_state": {
                "bit_generator": "PCG64",
                "state": {"state": 10**60, "inc": -1},
                "has_uint32": 0,
                "uinteger": 0,
            }
        },
        {"shuffle_state": {"bit_generator": "PCG64", "state": None}},
        {"shuffle_state": {}},
        {"position": 2},
        {"position": 9},
        {"score_sum": 1.0},
        {"history": History([EpochRecord(2, 10, 0.5, 0.5, None, None)])},
    ],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_of_this_run_changes_nothing(change: dict[str, object]) -> None:
    run = small_trainer()
    before = run.network.parameters.flat.tobytes()
    with pytest.raises(CheckpointError):
        run.restore(replace(run.checkpoint({}), **change))
    assert run.network.parameters.flat.tobytes() == before
    assert next(run.run(1)).epoch == 1
