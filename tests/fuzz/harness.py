"""Feeds a reader with damaged files in a process of its own, which may neither grow nor stand still."""

from __future__ import annotations

import faulthandler
import json
import mmap
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from fuzz.readers import Reader
from fuzz.samples import Sample, mutate, write

from chainrule.core.errors import ChainruleError

__all__ = ["Failure", "Report", "fuzz", "make_input", "problem", "work"]

_SECONDS = 10.0  # that a reader may take for one input, of a few kilobytes
_ROOM = 256 * 2**20  # bytes that it may allocate
_LONGEST_MESSAGE = 5000  # characters
_MOST_FAILURES = 20


@dataclass(frozen=True)
class Failure:
    """An input that a reader could not take.

    Attributes:
        number: of the input, which is a function of reader, seed and this.
        problem: what happened, the place last.
        folder: where the input is kept.
    """

    number: int
    problem: str
    folder: str


@dataclass
class Report:
    """What became of the inputs to one reader."""

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def make_input(reader: Reader, seed: int, number: int) -> Sample:
    """Input number `number`: the seeds as they are first, damaged ones from there on."""
    seeds = reader.seeds()
    if number < len(seeds):
        return seeds[number]
    random = Random(f"{seed} {reader.name} {number}")
    return mutate(random, random.choice(seeds), random.choice(seeds), reader.mutations)


def problem(reader: Reader, folder: Path) -> tuple[bool, str]:
    """Let a reader read a folder: whether it was accepted, and what went wrong, in words, or nothing."""
    try:
        reader.read(folder)
    except ChainruleError as error:
        text = str(error)
        if not text or not all(line.isprintable() for line in text.split("\n")) or len(text) > _LONGEST_MESSAGE:
            return False, f"an error that is empty, too long or not printable: {text[:300]!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return False, "".join(traceback.format_exception(error, limit=-4))[:4000]
    else:
        return True, ""
    return False, ""


def work(reader: Reader, seed: int, inputs: int, counter: Path, kept: Path) -> Report:
    """The child's part. Writes the number of the input at hand to `counter`, so that it survives the process."""
    report, seen = Report(reader.name), set[str]()
    with tempfile.TemporaryDirectory() as place, counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as current:
        folder = Path(place, "input")
        for number in range(len(reader.seeds())):
            write(make_input(reader, seed, number), folder)
            accepted, words = problem(reader, folder)
            assert accepted, f"{reader.name} refuses seed {number}: {words}"
        _limit()
        before, began = _peak(), time.monotonic()
        for number in range(inputs):
            current[:] = number.to_bytes(8, "big")
            sample = make_input(reader, seed, number)
            write(sample, folder)
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
            accepted, words = problem(reader, folder)
            signal.setitimer(signal.ITIMER_REAL, 0)
            report.inputs += 1
            report.accepted += accepted
            report.refused += not accepted and not words
            # One defect makes many failures, which end in the same place.
            place_of_it = "".join(re.findall(r'File ".*?", line \d+', words)[-1:]) or words[:60]
            if words and place_of_it not in seen:
                seen.add(place_of_it)
                report.failures.append(Failure(number, words, str(_keep(sample, kept, reader, seed, number))))
                if len(report.failures) >= _MOST_FAILURES:
                    break
        report.seconds, report.peak_mib = time.monotonic() - began, (_peak() - before) / 1024
    return report


def fuzz(name: str, inputs: int, seed: int, kept: Path, also: tuple[str, ...] = ()) -> Report:
    """Feed a reader in a child process.

    Args:
        name: of the reader.
        inputs: how many.
        seed: of the damage.
        kept: folder for the inputs that failed.
        also: Python files that register more readers.
    """
    with tempfile.NamedTemporaryFile() as counter:
        counter.write(bytes(8))
        counter.flush()
        command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), "--reader", name, "--inputs", str(inputs)]
        command += ["--seed", str(seed), "--kept", str(kept), "--counter", counter.name]
        command += [word for file in also for word in ("--also", file)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        number = int.from_bytes(Path(counter.name).read_bytes(), "big")
    if done.returncode == 0:
        content = json.loads(done.stdout.splitlines()[-1])
        return Report(**{**content, "failures": [Failure(**failure) for failure in content["failures"]]})
    if done.returncode > 0:  # the harness itself is at fault
        raise RuntimeError(f"The fuzz of {name} failed: {done.stderr}")
    cause = signal.Signals(-done.returncode)
    what = f"took more than {_SECONDS:g} s" if cause is signal.SIGALRM else f"ended the process with {cause.name}"
    return Report(
        name, inputs=number + 1, failures=[Failure(number, f"It {what}.\n{done.stderr[-4000:]}", "see --replay")]
    )


def to_json(report: Report) -> str:
    return json.dumps(asdict(report))


def _limit() -> None:
    """From here on the process can grow by `_ROOM`, and is ended, with a traceback, where an alarm rings."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _ROOM, size + _ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.register(signal.SIGALRM, chain=True)


def _peak() -> int:
    """KiB that the process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _keep(sample: Sample, kept: Path, reader: Reader, seed: int, number: int) -> Path:
    folder = kept / f"{reader.name.replace(' ', '-')}-{seed}-{number}"
    kept.mkdir(parents=True, exist_ok=True)
    write(sample, folder)
    return folder
