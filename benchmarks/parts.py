"""The cost of each part of training: the time of a compiled step with it, as a ratio to the time of a plain step.

    python benchmarks/parts.py                        # what is not stored yet; everything takes about four minutes
    python benchmarks/parts.py --again                # measure everything again
    python benchmarks/parts.py --quick                # rough: 3 short rounds, not stored
    python benchmarks/parts.py --parts dropout,clip_norm --threads 1

The network is the one that chainrule trains by default, 784-256-256-10, on Fashion-MNIST at batch 64 with Adam in
float32. The plain step and the step with the part take turns in one process, the plain one first in every other round.
The result is the median over the rounds of their ratio, with a bootstrap 95 % interval of that median. Each part is
stored in benchmarks/results/parts.json as soon as it is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from machine import read_stored, save
from paired import bootstrap_interval
from problem import Order, Problem, initial_parameters
from training_parts import NETWORK, SCHEDULE_STEPS

from chainrule import ENGINES, Adam, Augmentation, Dataset, NeuralNetwork, load_dataset
from chainrule.engine import Engine
from chainrule.nn.augmentation import Augmenter
from chainrule.nn.losses import CrossEntropy

__all__ = ["PARTS", "Part", "main"]

BATCH = 64
THREADS = (1, 2)
_REST = 0.02  # seconds between two measurements, in which spinning threads fall asleep


@dataclass(frozen=True)
class Part:
    """What is added to the plain step.

    Attributes:
        label: its name in the table.
        network: arguments of `NeuralNetwork`.
        optimizer: arguments of `Adam`.
        label_smoothing: of the loss.
        augmentation: arguments of `Augmentation`.
        limit: the ratio that it must not exceed, if there is one.
    """

    label: str
    network: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    augmentation: dict[str, Any] = field(default_factory=dict)
    limit: float | None = None


_COSINE = {"schedule": "cosine", "warmup": 0.001}
_DECAY = {"weight_decay": 0.01, "decay_type": "decoupled"}
_TOGETHER = {**_COSINE, **_DECAY, "clip_norm": 1.0, "ema_decay": 0.999}
PARTS: dict[str, Part] = {
    "nothing": Part("nothing: two plain steps"),
    "dropout": Part("dropout 0.2", network={"dropout": 0.2}),
    "input_dropout": Part("dropout 0.1 of the inputs", network={"input_dropout": 0.1}),
    "schedule": Part("cosine schedule with warm-up", optimizer=_COSINE),
    "clip_value": Part("clipping by value", optimizer={"clip_value": 0.1}),
    "clip_norm": Part("clipping by norm", optimizer={"clip_norm": 1.0}),
    "ema": Part("moving average of the weights", optimizer={"ema_decay": 0.999}),
    "weight_decay": Part("decoupled weight decay (AdamW)", optimizer=_DECAY),
    "label_smoothing": Part("label smoothing 0.1", label_smoothing=0.1),
    "together": Part(
        "dropout, schedule, clipping by norm, moving average, AdamW and label smoothing together",
        network={"dropout": 0.2},
        optimizer=_TOGETHER,
        label_smoothing=0.1,
        limit=1.15,
    ),
    "batch_norm": Part("batch normalization", network={"batch_norm": True}, limit=1.25),
    "together_batch_norm": Part(
        "all of these together, with batch normalization",
        network={"dropout": 0.2, "batch_norm": True},
        optimizer=_TOGETHER,
        label_smoothing=0.1,
    ),
    "shift_flip": Part("augmentation: shift and flip", augmentation={"shift": 2, "flip": True}),
    "elastic": Part(
        "augmentation: rotation, zoom and elastic distortion",
        augmentation={"rotation": 10.0, "zoom": 0.1, "elastic": 2.0},
    ),
}


class Stepper:
    """The compiled engine with one part.

    Args:
        part: added to the plain step.
        data: its training samples.
        threads: number of threads.
    """

    def __init__(self, part: Part, data: Dataset, threads: int) -> None:
        sizes = Problem(NETWORK, BATCH).sizes
        loss = CrossEntropy(label_smoothing=part.label_smoothing)
        network = NeuralNetwork(sizes, loss=loss, seed=0, **part.network)
        for number, (weights, _) in enumerate(initial_parameters(sizes), start=1):
            network.parameters[f"layer{number}.weights"] = weights
        optimizer = Adam(**part.optimizer)
        optimizer.schedule_span = (0, SCHEDULE_STEPS)
        augmentation = Augmentation(**part.augmentation)
        augmenter = Augmenter(augmentation, data.image_shape, sizes[0]) if part.augmentation else None
        # Fails where a part cannot be compiled, while `make_engine` would use the reference engine.
        self._engine: Engine = ENGINES["compiled"](network, optimizer, BATCH, threads, 0, augmenter)
        self._data, self._order = data, Order(len(data.y_train))

    def measure(self, steps: int) -> float:
        """Measure the seconds per step."""
        order = self._order.batches(steps, BATCH).ravel()
        start = time.perf_counter()
        self._engine.train(self._data.x_train, self._data.y_train, order)
        return (time.perf_counter() - start) / steps


def measure_part(plain: Stepper, changed: Stepper, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure a part and the plain step in turns."""
    for stepper in (plain, changed):
        stepper.measure(20)
    steps = max(1, round(seconds / plain.measure(100)))
    times: dict[str, list[float]] = {"plain": [], "changed": []}
    turns = [("plain", plain), ("changed", changed)]
    for number in range(rounds):
        for side, stepper in turns if number % 2 == 0 else turns[::-1]:
            time.sleep(_REST)
            times[side].append(stepper.measure(steps))
    ratios = [changed / plain for plain, changed in zip(times["plain"], times["changed"], strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "interval": bootstrap_interval(ratios),
        "microseconds": {side: round(1e6 * statistics.median(values), 2) for side, values in times.items()},
        "ratios": [round(ratio, 4) for ratio in ratios],
        "steps": steps,
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--threads", default=",".join(map(str, THREADS)), help="numbers of threads (1,2)")
    parser.add_argument("--rounds", type=int, help="measurements of each side (21)")
    parser.add_argument("--seconds", type=float, help="length of a measurement of the plain step (0.15)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.05 seconds, not stored")
    parser.add_argument("--again", action="store_true", help="also measure what is stored")
    parser.add_argument("--no-save", action="store_true", help="print only, and ignore what is stored")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 21)
    arguments.no_save |= arguments.quick
    arguments.seconds = arguments.seconds or (0.05 if arguments.quick else 0.15)
    arguments.parts, arguments.threads = arguments.parts.split(","), [int(n) for n in arguments.threads.split(",")]
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    """Measure, print and store."""
    arguments = _parse_arguments()
    settings = {"network": NETWORK, "batch": BATCH, "rounds": arguments.rounds, "seconds": arguments.seconds}
    content = {} if arguments.no_save else read_stored("parts", settings)
    results: list[dict[str, Any]] = content.get("results", [])
    stored = {(entry["part"], entry["threads"]) for entry in results}
    wanted = [(name, threads) for threads in arguments.threads for name in arguments.parts]
    missing = [case for case in wanted if arguments.again or case not in stored]
    print(f"{len(missing)} of {len(wanted)} measurements to do.", flush=True)
    if not missing:
        return
    data = load_dataset("fashion_mnist", seed=0)
    plain = {threads: Stepper(PARTS["nothing"], data, threads) for threads in arguments.threads}
    for name, threads in missing:
        changed = Stepper(PARTS[name], data, threads)
        result = measure_part(plain[threads], changed, arguments.rounds, arguments.seconds)
        results = [entry for entry in results if (entry["part"], entry["threads"]) != (name, threads)]
        results.append({"part": name, "threads": threads, **result})
        low, high = result["interval"]
        limit = PARTS[name].limit
        verdict = "" if limit is None else f"  limit {limit:.2f}: {'kept' if result['ratio'] <= limit else 'EXCEEDED'}"
        print(
            f"threads {threads}  {name:20} {result['ratio']:.3f} ({low:.3f} to {high:.3f})  "
            f"{result['microseconds']['plain']:.0f} -> {result['microseconds']['changed']:.0f} us{verdict}",
            flush=True,
        )
        if not arguments.no_save:
            save("parts", settings, {"results": results})


if __name__ == "__main__":
    main()
