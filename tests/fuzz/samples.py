"""One input of the fuzz: a folder with some files, and sometimes with things in it that only look like files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from random import Random

from fuzz.mutations import PLAIN, Mutation

__all__ = ["Odd", "Sample", "mutate", "pack", "unpack", "write"]


class Odd(Enum):
    """What can lie where a reader expects a file."""

    PIPE = "a pipe that nobody writes to"
    FOLDER = "a folder"
    LOOP = "a symbolic link to itself"
    ENDLESS = "a symbolic link to a device that never ends"
    NOWHERE = "a symbolic link to nothing"
    ABSENT = "nothing"


Sample = Mapping[str, bytes | Odd]

_NAMES = (
    *("\x1b[31mred", "<script>alert(1)</script>", "-rf", "a b", "$(id)", "\u202egnp", "é" * 100, "a" * 255, "\udcff"),
    *("new\nline", "~", "con", "[bold]", "%s", "..."),
)


def mutate(random: Random, sample: Sample, other: Sample, mutations: Sequence[Mutation]) -> Sample:
    """A damaged copy of a sample.

    Args:
        random: decides everything.
        sample: what is damaged.
        other: another one, parts of which may get in.
        mutations: those that know the format.
    """
    damaged = dict(sample)
    name = random.choice(list(damaged))
    if random.random() < 0.02:
        damaged[name] = random.choice(list(Odd))
        return damaged
    if "/" in name and random.random() < 0.03:
        folder, new = name.split("/")[0], random.choice(_NAMES)
        return {
            f"{new}/{path.split('/', 1)[1]}" if path.split("/")[0] == folder else path: damaged[path]
            for path in damaged
        }
    content = damaged[name]
    if isinstance(content, Odd):
        return damaged
    partner = other.get(name, b"")
    if isinstance(partner, bytes) and random.random() < 0.05:
        content = content[: random.randrange(len(content) + 1)] + partner[random.randrange(len(partner) + 1) :]
    # What knows the format comes first: it can make nothing of a file that is damaged already.
    for _ in range(random.choice((0, 1, 1, 1, 2, 3)) if mutations else 0):
        content = random.choice(mutations)(random, content)
    for _ in range(random.choice((0, 0, 0, 1, 2)) if content != damaged[name] else random.choice((1, 1, 2, 4))):
        content = random.choice(PLAIN)(random, content)
    damaged[name] = content
    return damaged


def write(sample: Sample, folder: Path) -> None:
    """Make the folder hold the sample and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in sample.items():
        path = folder / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case bytes():
                path.write_bytes(content)
            case Odd.PIPE:
                os.mkfifo(path)
            case Odd.FOLDER:
                path.mkdir()
            case Odd.LOOP:
                path.symlink_to(path.name)
            case Odd.ENDLESS:
                path.symlink_to("/dev/zero")
            case Odd.NOWHERE:
                path.symlink_to("nowhere/at/all")


def pack(sample: Sample) -> bytes:
    """The files of a sample in one row of bytes, as coverage-guided tools want it. What is no file is left out."""
    parts = []
    for name, content in sample.items():
        if isinstance(content, bytes):
            encoded = os.fsencode(name)
            parts += [len(encoded).to_bytes(2, "big"), encoded, len(content).to_bytes(4, "big"), content]
    return b"".join(parts)


def unpack(packed: bytes) -> Sample:
    """What `pack` packed, or as much of it as can be made out."""
    sample: dict[str, bytes | Odd] = {}
    while len(packed) > 1:
        length = 2 + int.from_bytes(packed[:2], "big")
        name, packed = os.fsdecode(packed[2:length]), packed[length:]
        size = int.from_bytes(packed[:4], "big")
        sample[name], packed = packed[4 : 4 + size], packed[4 + size :]
    return sample
