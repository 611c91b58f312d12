"""Feed everything that reads a file from outside with damaged files, and see that it refuses them in a clear way.

    python tests/fuzz/fuzz.py                                   # a million inputs over all readers
    python tests/fuzz/fuzz.py --reader checkpoint --inputs 5000 --seed 3
    python tests/fuzz/fuzz.py --reader checkpoint --seed 3 --only 4711      # one input again, with its traceback

An input must be accepted or refused with a ChainruleError whose message can be printed, in bounded time and memory.
Prints a table, and the inputs that failed; exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# In place of this folder, in which this file would hide the package of the same name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from fuzz.harness import Report, fuzz, make_input, problem, to_json, work  # noqa: E402
from fuzz.readers import READERS  # noqa: E402
from fuzz.samples import write  # noqa: E402


def main() -> int:
    """Fuzz as the words say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="over all readers (1,000,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (0)")
    parser.add_argument("--reader", help="only this one, which then gets all inputs")
    parser.add_argument("--only", type=int, help="this input of the reader alone, and what becomes of it")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir(), "chainrule-fuzz"), help="for failures")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="readers at a time")
    parser.add_argument("--also", action="append", default=[], help="Python file that registers more readers")
    parser.add_argument("--counter", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for file in arguments.also:
        spec = importlib.util.spec_from_file_location("also", file)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    if arguments.reader and arguments.reader not in READERS:
        parser.error(f"there is no reader {arguments.reader!r}, but {', '.join(READERS)}")
    names = [arguments.reader] if arguments.reader else list(READERS)
    if arguments.counter:
        warnings.simplefilter("ignore")
        report = work(READERS[names[0]], arguments.seed, arguments.inputs, arguments.counter, arguments.kept)
        print(to_json(report))
        return 0
    if arguments.only is not None:
        return _again(names[0], arguments.seed, arguments.only, arguments.kept)
    share = -(-arguments.inputs // len(names))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        work_on = [pool.submit(fuzz, n, share, arguments.seed, arguments.kept, tuple(arguments.also)) for n in names]
        reports = [future.result() for future in work_on]
    _print(reports, arguments.seed)
    return int(any(report.failures for report in reports))


def _again(name: str, seed: int, number: int, kept: Path) -> int:
    """Read one input in this process."""
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / "again"
    write(make_input(READERS[name], seed, number), folder)
    accepted, words = problem(READERS[name], folder)
    print(f"{folder}: {words or ('accepted' if accepted else 'refused')}")
    return int(bool(words))


def _print(reports: list[Report], seed: int) -> None:
    print(f"{'reader':16}{'inputs':>10}{'accepted':>10}{'refused':>10}{'seconds':>9}{'MiB more':>10}{'failures':>10}")
    for r in reports:
        counts = f"{r.inputs:10,}{r.accepted:10,}{r.refused:10,}{r.seconds:9.0f}{r.peak_mib:10.1f}{len(r.failures):10}"
        print(f"{r.reader:16}{counts}")
    print(f"{'all':16}{sum(report.inputs for report in reports):10,}")
    for report in reports:
        for failure in report.failures:
            print(
                f"\n{report.reader}, seed {seed}, input {failure.number}, kept in {failure.folder}:\n{failure.problem}"
            )


if __name__ == "__main__":
    sys.exit(main())
