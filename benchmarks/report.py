"""Format tables of the stored results, and plot them.

    python benchmarks/report.py            # print the tables, and draw docs/images/speed-*.svg

`PARTS` maps the names of generated parts, `<!-- generated: NAME -->`, to the functions that format them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import read_results
from parts_report import PARTS as COSTS_OF_PARTS
from problem import BATCHES, NETWORKS, OPTIMIZER_NAMES, Problem
from speed import best
from systems import SYSTEMS

from chainrule.charts.chart import LineChart, Series
from chainrule.charts.renderer import save_chart

__all__ = ["PARTS", "draw_plots", "main"]

PLOTS = Path(__file__).resolve().parents[1] / "docs" / "images"
_RANGE = (20, 50_000)  # microseconds
_DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_OWN = "compiled"


def format_machine() -> str:
    """Describe the machine and the versions that the times were measured with."""
    content = read_results("speed")
    found = content["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    absent = "".join(f" {SYSTEMS[name].label} was absent: {reason}." for name, reason in content["absent"].items())
    return (
        f"Measured on {content['date']}: {found['processor']}; {found['cores']} cores, {found['memory_gib']} GiB; "
        f"{found['system']}; Python {found['python']}, {libraries}; {', '.join(found['blas'])}.{absent}"
    )


def format_speed(network: str, systems: Mapping[str, Sequence[str]] | None = None) -> str:
    """Compare microseconds per step, and their ratio to the compiled engine: a row per system, a column per batch size.

    Args:
        network: one of NETWORKS.
        systems: the systems to show, with the optimizers of each; all if None.
    """
    results = read_results("speed")["results"]
    rows = [
        "| microseconds per step | " + " | ".join(f"batch {batch}" for batch in BATCHES) + " |",
        "| --- |" + " ---: |" * len(BATCHES),
    ]
    for name, system in SYSTEMS.items():
        for optimizer in system.optimizers if systems is None else systems.get(name, ()):
            cells = [_format_cell(results, name, Problem(network, batch, optimizer)) for batch in BATCHES]
            if any(cells):
                rows.append(f"| {_format_label(name, optimizer)} | " + " | ".join(cell or "-" for cell in cells) + " |")
    return "\n".join(rows)


def _format_cell(results: list[dict[str, Any]], system: str, problem: Problem) -> str:
    """Format a median and its ratio, such as "1,068 (5.3x)"; "" if not measured. Adam is compared with Adam."""
    entry, own = best(results, system, problem), best(results, _OWN, problem)
    if entry is None:
        return ""
    ratio = f" ({_format_ratio(entry['median'] / own['median'])})" if own and system != _OWN else ""
    median = f"{entry['median']:,.0f}"
    return f"**{median}**" if system == _OWN else median + ratio


def _format_ratio(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 2 else f"{ratio:.1f}x"


def format_threads() -> str:
    """Compare the number of threads that the compiled engine chooses with one thread and all cores, in us per step."""
    content = read_results("speed")
    rows = ["| network | batch | automatic | 1 thread | all cores |", "| --- | ---: | ---: | ---: | ---: |"]
    found = {
        (entry["network"], entry["batch"], entry["threads"]): entry["median"]
        for entry in content["results"]
        if entry["system"] == _OWN and entry["optimizer"] == "rmsprop" and "median" in entry
    }
    for network in NETWORKS:
        for batch in BATCHES:
            values = [found.get((network, batch, setting)) for setting in ("own", "1", "all")]
            if any(values):
                cells = ["-" if value is None else f"{value:,.0f}" for value in values]
                rows.append(f"| {network} | {batch} | {' | '.join(cells)} |")
    return "\n".join(rows)


def format_paired() -> str:
    """Compare this version with 0.1.0, measured in turns (paired.py): the ratio of times, with its 95 % interval."""
    content = read_results("paired")
    rows = ["| network, batch | optimizer | 1 thread | 2 threads |", "| --- | --- | --- | --- |"]
    cells: dict[tuple[str, int, str], dict[int, str]] = {}
    for entry in content["results"]:
        low, high = entry["interval"]
        cell = f"{entry['ratio']:.3f} ({low:.3f} to {high:.3f})"
        cells.setdefault((entry["network"], entry["batch"], entry["optimizer"]), {})[entry["threads"]] = cell
    for (network, batch, optimizer), found in cells.items():
        if optimizer:
            rows.append(f"| {network}, {batch} | {optimizer} | {found.get(1, '-')} | {found.get(2, '-')} |")
        else:
            rows.append(f"| {network}, predict {batch:,} rows | | {found[0]} | |")
    ratios = [entry["ratio"] for entry in content["results"]]
    mean = statistics.geometric_mean(ratios)
    same = sum(entry["same_bits"] for entry in content["results"])
    rounds = content["settings"]["rounds"]
    rows.append(
        f"\n{rounds} rounds. Geometric mean {mean:.3f}. Equal results to the bit in {same} of {len(ratios)} cases."
    )
    return "\n".join(rows)


def format_losses() -> str:
    """Format the mean loss of each system after a few hundred steps from the same initial weights."""
    rows = ["| | steps | loss before | loss after |", "| --- | ---: | ---: | ---: |"]
    for entry in read_results("speed")["losses"]:
        label = f"{SYSTEMS[entry['system']].label} ({OPTIMIZER_NAMES[entry['optimizer']]})"
        rows.append(f"| {label} | {entry['steps']:.0f} | {entry['before']:.3f} | {entry['after']:.3f} |")
    return "\n".join(rows)


def format_accuracy_time() -> str:
    """Format the seconds to a test accuracy, for each system with its best configuration."""
    results = read_results("accuracy_time")["results"]
    rows = [
        "| target | system | seconds, median (minimum to maximum) | ratio | epochs | configuration |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    medians = {(e["dataset"], e["target"]): e["median"] for e in results if e["system"] == _OWN}
    for entry in sorted(results, key=lambda e: (list(_DATASETS).index(e["dataset"]), e["target"])):
        own = medians.get((entry["dataset"], entry["target"]))
        arrived = [seconds for seconds in entry["seconds"] if seconds is not None]
        spread = f" ({min(arrived):.2f} to {max(arrived):.2f})" if arrived else ""
        missing = len(entry["seconds"]) - len(arrived)
        spread += f", {missing} of {len(entry['seconds'])} never" if missing else ""
        epochs = sorted(count for count in entry["epochs"] if count is not None)
        setting = entry["setting"]
        chosen = "-".join(map(str, setting["widths"])) + f" hidden, batch {setting['batch']}, "
        chosen += f"learning rate {setting['learning_rate']:g}, threads: {entry['threads']}"
        rows.append(
            f"| {100 * entry['target']:g} % on {_DATASETS[entry['dataset']]} | {SYSTEMS[entry['system']].label} | "
            f"{'never' if entry['median'] is None else format(entry['median'], '.2f')}{spread} | "
            f"{_format_ratio(entry['median'] / own) if own and entry['median'] else '-'} | "
            f"{epochs[len(epochs) // 2] if epochs else '-'} | {chosen} |"
        )
    return "\n".join(rows)


def format_footprint() -> str:
    """Format memory, prediction speed, import time and size: one column per system."""
    results = read_results("footprint")["results"]
    lines: tuple[tuple[str, str, str], ...] = (
        ("peak memory of a default run, MB", "peak_megabytes", ",.0f"),
        ("predictions, images per second", "images_per_second", ",.0f"),
        ("prediction of a single image, us", "single_microseconds", ",.0f"),
        ("import, seconds", "import_seconds", ".2f"),
        ("installed alone, MB", "installed_megabytes", ",.1f"),
        ("installed with all that it requires, MB", "installed_megabytes_with_requirements", ",.0f"),
    )
    names = {"compiled": "chainrule", "torch": "PyTorch", "sklearn": "scikit-learn"}
    head = " | ".join(f"{names[entry['system']]} {entry['version']}" for entry in results)
    rows = [f"| | {head} |", "| --- |" + " ---: |" * len(results)]
    for label, key, form in lines:
        rows.append(f"| {label} | " + " | ".join(format(entry[key], form) for entry in results) + " |")
    return "\n".join(rows)


def draw_plots(folder: Path = PLOTS) -> list[Path]:
    """Plot the time per step over the batch size: one file per network, with equal logarithmic axes."""
    results = read_results("speed")["results"]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for network in NETWORKS:
        series = []
        for name, system in SYSTEMS.items():
            optimizer = system.optimizers[0]
            found = [(batch, best(results, name, Problem(network, batch, optimizer))) for batch in BATCHES]
            points = [(batch, entry["median"]) for batch, entry in found if entry]
            if points:
                x, y = zip(*points, strict=True)
                series.append(Series(_format_label(name, optimizer), x, y))
        chart = LineChart("batch size", f"microseconds per step, {network}", series, y_range=_RANGE)
        files.append(folder / f"speed-{network}.svg")
        save_chart(chart, files[-1])
    return files


def _format_label(system: str, optimizer: str) -> str:
    return SYSTEMS[system].label + ("" if optimizer == "rmsprop" else f" ({OPTIMIZER_NAMES[optimizer]})")


def format_plots() -> str:
    """Link to the plots, for a page in docs/."""
    read_results("speed")  # without results there are none
    return "\n\n".join(f"![Time per training step of {name}](images/speed-{name}.svg)" for name in NETWORKS)


def format_sweeps() -> str:
    """Compare trials per hour with those of other tools, and summarize the other measurements of sweeps."""
    content = read_results("sweeps")
    found, library = content["peers"], content["machine"]["libraries"]
    seconds = {name: statistics.median(times) for name, times in found["seconds"].items()}
    per_hour = {name: 3600 * found["trials"] / time for name, time in seconds.items()}
    rows = [
        f"| {found['trials']} trials of {found['epochs']} epochs, two at a time | trials per hour | chainrule |",
        "| --- | ---: | ---: |",
        f"| chainrule | **{per_hour['chainrule']:,.0f}** | |",
    ]
    for name, label, own in (
        ("a process for each trial", "the same `train.py`, a process for each trial, W&B offline", "chainrule"),
        ("Optuna and PyTorch", f"Optuna and PyTorch {library.get('torch', '')}", "chainrule"),
        (
            "Optuna and scikit-learn",
            f"Optuna and scikit-learn {library.get('scikit-learn', '')} (sgd, momentum, nag and adam)",
            "chainrule, rules of scikit-learn",
        ),
    ):
        rows.append(f"| {label} | {per_hour[name]:,.0f} | {_format_ratio(seconds[name] / seconds[own])} |")
    workers, search, overhead = content["workers"], content["search"], content["overhead"]
    costs = "; ".join(f"{100 * entry['overhead']:.1f} % ({name})" for name, entry in overhead.items())
    counts = ", ".join(f"{number} {status}" for status, number in search["statuses"].items())
    minutes = search["seconds"] / 60
    return "\n".join(
        [
            *rows,
            "",
            f"Measured on {content['date']} on {content['machine']['cores']} cores; medians of "
            f"{len(found['seconds']['chainrule'])} alternating rounds. Two workers train {workers['ratio']:.2f} "
            f"times as many trials as one. Scheduling, tracking and saving cost, in a trial of five epochs: {costs}. "
            f"`sweeps/fashion_mnist.yaml` took {minutes:.0f} minutes ({counts}); the best trial has a validation "
            f"accuracy of {100 * float(search['best']['val_accuracy']):.2f} %.",
        ]
    )


# The rows of the README's table.
_SUMMARY = {"compiled": ("rmsprop",), "jax": ("rmsprop",), **dict.fromkeys(("torch", "torch_compile"), ("rmsprop",))}
_SUMMARY["sklearn"] = ("adam",)

PARTS: dict[str, Callable[[], str]] = {
    "sweeps": format_sweeps,
    "machine": format_machine,
    "plots": format_plots,
    "speed-summary": lambda: format_speed("784-128x4-10", _SUMMARY),
    "speed-small": lambda: format_speed("784-128-10"),
    "speed-default": lambda: format_speed("784-128x4-10"),
    "speed-wide": lambda: format_speed("784-512x3-10"),
    "threads": format_threads,
    "paired": format_paired,
    "losses": format_losses,
    "accuracy-time": format_accuracy_time,
    "footprint": format_footprint,
    **COSTS_OF_PARTS,
}


def main() -> None:
    """Print every part that has results, and draw the plots."""
    for name, make in PARTS.items():
        try:
            print(f"{name}\n\n{make()}\n")
        except FileNotFoundError as error:
            print(f"{name}: no results yet ({Path(error.filename).name})\n")
    print(f"Drawn: {', '.join(file.name for file in draw_plots())}")


if __name__ == "__main__":
    main()
