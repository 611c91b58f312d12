"""Everything of chainrule that reads a file from outside, one entry each: the call, what it reads, what must hold.

A reader that is added to chainrule joins with one function here:

    @register("name", seeds, mutations)
    def read_it(folder: Path) -> None:
        ...

which reads the files in the folder with the public function, and asserts what must hold of the result. It may raise a
ChainruleError, and nothing else. The seeds are valid folders, written by our own writers.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from data.tiny_dataset import make_contents, make_spec
from fuzz import mutations as m
from fuzz.samples import Sample

from chainrule import Ensemble, NeuralNetwork, load_model, save_model
from chainrule.cli.runs import run as print_runs
from chainrule.core.errors import CheckpointError, ConfigError, DataError, DivergenceError
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.data import Dataset
from chainrule.data.idx import read_idx, unpack
from chainrule.data.sources import find_files
from chainrule.data.specs import verify
from chainrule.nn.model_file import _ENSEMBLE_FORMAT as ENSEMBLE
from chainrule.nn.model_file import _FORMAT as MODEL
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import RunFolder, find_run, list_runs
from chainrule.training.checkpoint import _FORMAT as CHECKPOINT
from chainrule.training.checkpoint import FILES, Checkpoints, _digest, save_checkpoint
from chainrule.training.history import EpochRecord, History
from chainrule.training.trainer import Trainer

__all__ = ["READERS", "Reader", "register", "small_trainer"]


@dataclass(frozen=True)
class Reader:
    """A reader and what the fuzz needs to know of it.

    Attributes:
        name: what it reads.
        read: reads a folder; raises a ChainruleError where it refuses it.
        seeds: makes folders that it must accept.
        mutations: of a file's bytes, those that know the format. Others are always tried too.
    """

    name: str
    read: Callable[[Path], None]
    seeds: Callable[[], list[Sample]]
    mutations: tuple[m.Mutation, ...]


READERS: dict[str, Reader] = {}


def register(
    name: str, seeds: Callable[[], list[Sample]], mutations: Sequence[m.Mutation] = ()
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """A decorator that adds a reader to the fuzz."""

    def add(read: Callable[[Path], None]) -> Callable[[Path], None]:
        READERS[name] = Reader(name, read, cache(seeds), tuple(mutations))
        return read

    return add


# --- datasets

_CONTENTS = make_contents(0)
_SPEC = make_spec("tiny", _CONTENTS)
_LABELS = _SPEC.files[3]
_PACKED = {name: gzip.compress(content, mtime=0) for name, content in _CONTENTS.items()}


def _idx_seeds() -> list[Sample]:
    return [{"file": content} for content in (*_CONTENTS.values(), *_PACKED.values())]


@register("idx", _idx_seeds, [m.set_number, m.inside_gzip])
def _read_idx(folder: Path) -> None:
    content = (folder / "file").read_bytes() if (folder / "file").is_file() else b""
    array = read_idx(unpack(content[:10_000], limit=10_000, name="file"), name="file")
    assert array.dtype == np.uint8
    assert array.size <= 10_000


@register("gzip", lambda: [{"file": gzip.compress(_CONTENTS[_LABELS.name], mtime=0)}], [m.inside_gzip])
def _read_gzip(folder: Path) -> None:
    content = (folder / "file").read_bytes() if (folder / "file").is_file() else b""
    assert verify(content, _LABELS, origin="file") == _CONTENTS[_LABELS.name]


@register(
    "data folder", lambda: [_PACKED, _CONTENTS, {f"tiny/{name}": _PACKED[name] for name in _PACKED}], [m.inside_gzip]
)
def _read_data_folder(folder: Path) -> None:
    found = find_files(_SPEC, folder)
    if not found:
        raise DataError("nothing there")
    assert found == _CONTENTS


# --- models


def _written(write: Callable[[Path], object]) -> bytes:
    """The bytes that one of our writers writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write(path)
        return path.read_bytes()


def _network(dtype: str = "float32") -> NeuralNetwork:
    return NeuralNetwork([3, 2, 2], "tanh", seed=1, dtype=dtype)


def _model_seeds() -> list[Sample]:
    ensemble = Ensemble([_network(), NeuralNetwork([3, 2], seed=3)])
    networks = (_network(), _network("float64"), NeuralNetwork([4, 2], seed=2), ensemble)
    return [{"model": _written(lambda path, n=network: save_model(n, path, ("a", "b")))} for network in networks]  # type: ignore[misc]


def _change_description(format: str) -> m.Mutation:
    """A mutation of the JSON text that chainrule keeps in the metadata of a safetensors file."""

    def change(random: Random, content: bytes) -> bytes:
        with suppress(ValueError, RecursionError, OverflowError, KeyError, TypeError, AttributeError):
            header, data = m.split_safetensors(content)
            text = header["__metadata__"][format].encode()
            changed = random.choice((m.change_json, m.change_json, m.replace_number, m.replace_word))(random, text)
            header["__metadata__"][format] = changed.decode(errors="replace")
            return m.join_safetensors(header, data)
        return content

    return change


_MODEL_CHANGES = [_change_description(MODEL), _change_description(ENSEMBLE), m.change_header, m.change_header_text]


@register("model", _model_seeds, _MODEL_CHANGES)
def _read_model(folder: Path) -> None:
    network = load_model(folder / "model")
    assert all(np.isfinite(member.parameters.flat).all() for member in _members(network))
    with np.errstate(all="ignore"):
        assert network.predict(np.zeros((2, network.sizes[0]))).shape == (2,)
    save_model(network, folder / "again")
    for again, member in zip(_members(load_model(folder / "again")), _members(network), strict=True):
        assert again.parameters.flat.tobytes() == member.parameters.flat.tobytes()


def _members(network: NeuralNetwork | Ensemble) -> tuple[NeuralNetwork, ...]:
    return network.members if isinstance(network, Ensemble) else (network,)


# --- checkpoints


def _dataset() -> Dataset:
    random = np.random.default_rng(0)
    x, y = random.random((12, 3)).astype(np.float32), np.arange(12) % 2
    return Dataset("tiny", x[:8], y[:8], x[8:10], y[8:10], x[10:], y[10:], ("a", "b"), None, np.arange(8), np.arange(2))


def small_trainer() -> Trainer:
    """That of the run which the checkpoints belong to."""
    optimizer = OPTIMIZERS["eve"](learning_rate=0.01)
    return Trainer(_network(), _dataset(), optimizer, batch_size=3, engine="numpy", seed=1)


def _checkpoint_seeds() -> list[Sample]:
    run, files = small_trainer(), []
    looks = iter((False, False, True, False, False, False, False, False, True))
    run._stretch = 3
    for _ in range(2):
        list(run.run(3, should_stop=lambda: next(looks)))
        files.append(_written(lambda path: save_checkpoint(run.checkpoint({"data": "x"}), path)))
    list(run.run(1))
    files.append(_written(lambda path: save_checkpoint(run.checkpoint({"data": "x"}), path)))
    return [{FILES[0]: files[0]}, {FILES[0]: files[2], FILES[1]: files[1]}]


def _sealed(change: m.Mutation) -> m.Mutation:
    """A mutation of a checkpoint that makes its checksum right again, so that what comes after the sum is reached."""
    from safetensors.numpy import load

    def sealed(random: Random, content: bytes) -> bytes:
        content = change(random, content)
        try:
            header, data = m.split_safetensors(content)
            inner = json.loads(header["__metadata__"][CHECKPOINT])
            inner["sha256"] = _digest(inner["description"], load(content))
            header["__metadata__"][CHECKPOINT] = json.dumps(inner)
            return m.join_safetensors(header, data)
        except Exception:  # not whole enough to have a sum
            return content

    return sealed


def _change_data(random: Random, content: bytes) -> bytes:
    """Damage to the numbers alone."""
    start = 8 + int.from_bytes(content[:8], "little")
    return content[:start] + random.choice((m.flip_bits, m.set_bytes))(random, content[start:])


@register(
    "checkpoint",
    _checkpoint_seeds,
    [*[_sealed(_change_description(CHECKPOINT))] * 3, _sealed(m.change_header), _sealed(_change_data), m.change_header],
)
def _read_checkpoint(folder: Path) -> None:
    trainer = small_trainer()
    checkpoints = Checkpoints(folder, trainer.checkpoint_shapes(), "float32")
    if checkpoints.newest is None:
        raise CheckpointError("; ".join(checkpoints.problems) or "nothing there")
    trainer.restore(checkpoints.newest)
    with np.errstate(all="ignore"), suppress(DivergenceError):
        list(islice(trainer.run(1), 1))
        save_checkpoint(trainer.checkpoint({}), folder / "again")


# --- settings


def _config_seeds() -> list[Sample]:
    texts = (
        "epochs: 3\nseed: 7  # a comment\nrun_name: 'a b'\nlearning_rate: 1e-3\n",
        "hidden_size: [16, 8]\nplugin: []\nquiet: yes\nactivation: tanh\n",
        "num_layers: &n 2\nhidden_size: *n\ndata_dir: ~\nwandb_project: >-\n  a\n  b\n",
        '{"dataset": "digits", "val_fraction": 0.25, "keep": "last"}',
        yaml.safe_dump(TrainConfig().to_dict()),
    )
    return [{"c.yaml": text.encode()} for text in texts]


_YAML = m.words_of(
    *(
        b"!!python/object/apply:os.system ['id']",
        b"!!binary x",
        b"!!set {a}",
        b"!!timestamp 2024-13-45",
        b"!!int x",
        b"&a",
    ),
    *(
        b"*a",
        b"<<: ",
        b"? ",
        b"- ",
        b"- - - ",
        b"---\n",
        b"%YAML 9.9\n",
        b"2001-01-01",
        b"1:30:00",
        b"0o17",
        b"0x_",
        b"|\n ",
    ),
    *(
        b'"\\e[31m"',
        b'"\\0"',
        b"'",
        b"epochs: 2\n",
        b"run_name: ../x\n",
        b"run_name: /x\n",
        b"plugin: [a, b]\n",
        b".inf",
        b"1_000",
    ),
)


def _check_config(config: TrainConfig) -> None:
    """What must hold of every configuration that was accepted."""
    if config.run_name is not None:
        assert (Path("/runs") / config.run_name).resolve().parent == Path("/runs")
        assert config.run_name.isprintable()
    again = TrainConfig(json.loads(json.dumps(config.to_dict(), allow_nan=False)))
    assert again.to_dict() == config.to_dict()


@register("configuration", _config_seeds, [_YAML, m.words_of(*m.WORDS), m.replace_number])
def _read_config(folder: Path) -> None:
    _check_config(TrainConfig(read_mapping(folder / "c.yaml")))


# --- runs

_RECORDS = [EpochRecord(1, 10, 0.5, 0.8, 0.6, 0.75), EpochRecord(2, 20, 1 / 3, 0.9, None, None)]


@register("history", lambda: [{"h": History(_RECORDS).to_jsonl().encode()}, {"h": b""}], [m.change_json_line])
def _read_history(folder: Path) -> None:
    content = (folder / "h").read_bytes() if (folder / "h").is_file() else b""
    history = History.from_jsonl(content.decode(errors="surrogateescape"))
    for record in history:
        assert all(type(value) in (int, float, type(None)) for value in record.as_dict().values())
        assert all(value is None or math.isfinite(value) for value in record.as_dict().values())
    assert History.from_jsonl(history.to_jsonl()) == history
    history.best()


def _run_seeds() -> list[Sample]:
    started = {"name": "a", "started": "2024-05-06T07:08:09+00:00", "seconds": 1.5, "epoch_seconds": [1.0]}
    files: dict[str, Any] = {
        "history.jsonl": History(_RECORDS).to_jsonl().encode(),
        "config.json": json.dumps(TrainConfig(epochs=3).to_dict()).encode(),
    }
    metrics = json.dumps({"test_accuracy": 0.5, "epochs": 2}).encode()
    done = {**files, "run.json": json.dumps({**started, "status": "finished"}).encode(), "metrics.json": metrics}
    begun = {**files, "run.json": json.dumps({**started, "status": "running"}).encode(), "checkpoints/lock": b""}
    return [
        {f"a/{name}": content for name, content in done.items()},
        {f"b/{name}": content for name, content in begun.items()},
        {
            **{f"a/{name}": done[name] for name in done},
            **{f"b/{name}": begun[name] for name in ("run.json", "config.json")},
        },
    ]


@register("run folder", _run_seeds, [m.change_json, m.change_json, m.change_json_line])
def _read_runs(folder: Path) -> None:
    runs = list_runs(folder)
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert print_runs(["--output_dir", str(folder)], "chainrule runs") == 0
    lines = printed.getvalue().split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= len(runs) + 5
    for run in runs:
        assert isinstance(find_run(run.path.name, folder), RunFolder)
        assert all(share is None or 0 <= share <= 1 for share in (run.val_accuracy, run.test_accuracy))
        with suppress(ConfigError):
            _check_config(run.read_config())
    if all(run.status == "damaged" for run in runs):
        raise ConfigError("no run is whole")


# Readers in files of their own, which need `register` from above.
from fuzz import sweep_readers  # noqa: E402, F401
