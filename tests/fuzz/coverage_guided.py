"""Let Atheris look for inputs that reach code which no input has reached yet, in one reader after another.

    pip install atheris
    python tests/fuzz/coverage_guided.py --reader "run folder" --seconds 600

The readers and their seeds are those of fuzz.py, and so are the mutations, which know the formats; Atheris tells, by
the lines of code that are reached, which of the damaged files are worth more damage. It ends with an error at the first
input that a reader neither accepts nor refuses in a clear way, and keeps that input.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

# In place of this folder, in which fuzz.py would hide the package of the same name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from fuzz.samples import mutate, pack, unpack, write  # noqa: E402

if TYPE_CHECKING:
    from fuzz.readers import Reader


def main() -> None:
    """Fuzz until the time is up."""
    # Here, so that this file can be looked at without Atheris; and what it watches must not have been imported before.
    import atheris

    with atheris.instrument_imports(include=["chainrule", "yaml", "gzip"]):
        from fuzz.readers import READERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", required=True, choices=list(READERS), help="what is fed")
    parser.add_argument("--seconds", type=int, default=600, help="for how long (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the damage (1)")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir(), "chainrule-fuzz"), help="for failures")
    arguments = parser.parse_args()
    reader = READERS[arguments.reader]
    arguments.kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(reader.seeds()):
            (corpus / str(number)).write_bytes(pack(seed))
        options = [
            f"-max_total_time={arguments.seconds}",
            f"-seed={arguments.seed}",
            "-timeout=10",
            "-rss_limit_mb=2048",
        ]
        options += [
            "-max_len=50000",
            f"-artifact_prefix={arguments.kept}/{reader.name.replace(' ', '-')}-",
            str(corpus),
        ]
        atheris.Setup(
            [sys.argv[0], *options],
            lambda packed: _read(reader, packed, Path(place, "input")),
            custom_mutator=lambda packed, most, seed: _damage(reader, packed, most, seed),
        )
        atheris.Fuzz()


def _read(reader: Reader, packed: bytes, folder: Path) -> None:
    """Let the reader read one input."""
    names = {name for seed in reader.seeds() for name in seed}
    write({name: content for name, content in unpack(packed).items() if name in names}, folder)
    from fuzz.harness import problem

    _, words = problem(reader, folder)
    if words:
        raise RuntimeError(words)


def _damage(reader: Reader, packed: bytes, most: int, seed: int) -> bytes:
    """The mutation that Atheris asks for."""
    random = Random(seed)
    sample = unpack(packed) or random.choice(reader.seeds())
    return pack(mutate(random, sample, random.choice(reader.seeds()), reader.mutations))[:most]


if __name__ == "__main__":
    main()
