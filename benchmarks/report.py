"""Tables and a plot of the stored results.

    python benchmarks/report.py            # prints the tables, and draws docs/images/speed.png

`PARTS` maps the names of generated parts, `<!-- generated: NAME -->`, to the functions that write them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import RESULTS
from problem import BATCHES, NETWORKS, RULE_NAMES, Problem
from speed import best
from systems import SYSTEMS

__all__ = [
    "PARTS",
    "accuracy_time",
    "draw",
    "footprint",
    "losses",
    "machine",
    "main",
    "plot",
    "speed",
    "sweeps",
    "threads",
]

PLOT = Path(__file__).resolve().parents[1] / "docs" / "images" / "speed.png"
_DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_OWN = "compiled"


def stored(name: str) -> dict[str, Any]:
    """What results/<name>.json holds."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def machine() -> str:
    """What the times were measured on."""
    content = stored("speed")
    found = content["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    absent = "".join(f" {SYSTEMS[name].label} was absent: {reason}." for name, reason in content["absent"].items())
    return (
        f"Measured on {content['date']}: {found['processor']}; {found['cores']} cores, {found['memory_gib']} GiB; "
        f"{found['system']}; Python {found['python']}, {libraries}; {', '.join(found['blas'])}.{absent}"
    )


def speed(network: str) -> str:
    """Microseconds a step and the ratio to the compiled engine: a row a system, a column a batch size."""
    results = stored("speed")["results"]
    rows = ["| | " + " | ".join(f"batch {batch}" for batch in BATCHES) + " |", "| --- |" + " ---: |" * len(BATCHES)]
    for name, system in SYSTEMS.items():
        for rule in system.rules:
            cells = [_cell(results, name, Problem(network, batch, rule)) for batch in BATCHES]
            if any(cells):
                label = system.label + ("" if rule == "rmsprop" else f" ({RULE_NAMES[rule]})")
                rows.append(f"| {label} | " + " | ".join(cell or "-" for cell in cells) + " |")
    return "\n".join(rows)


def _cell(results: list[dict[str, Any]], system: str, problem: Problem) -> str:
    """Such as "1,068 (5.3x)"; empty where nothing was measured. Adam is compared with Adam."""
    entry, own = best(results, system, problem), best(results, _OWN, problem)
    if entry is None:
        return ""
    ratio = f" ({_times(entry['median'] / own['median'])})" if own and system != _OWN else ""
    median = f"{entry['median']:,.0f}"
    return f"**{median}**" if system == _OWN else median + ratio


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 2 else f"{ratio:.1f}x"


def threads() -> str:
    """The compiled engine's own choice of threads against one thread and all cores, in microseconds a step."""
    content = stored("speed")
    rows = ["| network | batch | own choice | 1 thread | all cores |", "| --- | ---: | ---: | ---: | ---: |"]
    found = {
        (entry["network"], entry["batch"], entry["threads"]): entry["median"]
        for entry in content["results"]
        if entry["system"] == _OWN and entry["rule"] == "rmsprop" and "median" in entry
    }
    for network in NETWORKS:
        for batch in BATCHES:
            values = [found.get((network, batch, setting)) for setting in ("own", "1", "all")]
            if any(values):
                cells = ["-" if value is None else f"{value:,.0f}" for value in values]
                rows.append(f"| {network} | {batch} | {' | '.join(cells)} |")
    return "\n".join(rows)


def losses() -> str:
    """The mean loss of each system after the same number of steps from the same weights."""
    rows = ["| | steps | loss before | loss after |", "| --- | ---: | ---: | ---: |"]
    for entry in stored("speed")["losses"]:
        label = f"{SYSTEMS[entry['system']].label} ({RULE_NAMES[entry['rule']]})"
        rows.append(f"| {label} | {entry['steps']:.0f} | {entry['before']:.3f} | {entry['after']:.3f} |")
    return "\n".join(rows)


def accuracy_time() -> str:
    """Seconds until a test accuracy, for each system with the setting that served it best."""
    results = stored("accuracy_time")["results"]
    rows = [
        "| target | system | seconds, median (least to most) | ratio | epochs | its setting |",
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
            f"{_times(entry['median'] / own) if own and entry['median'] else '-'} | "
            f"{epochs[len(epochs) // 2] if epochs else '-'} | {chosen} |"
        )
    return "\n".join(rows)


def footprint() -> str:
    """Memory, prediction, import time and size: a column a system."""
    results = stored("footprint")["results"]
    lines: tuple[tuple[str, str, str], ...] = (
        ("peak memory of a default run, MB", "peak_megabytes", ",.0f"),
        ("predictions, images a second", "images_per_second", ",.0f"),
        ("prediction of a single image, microseconds", "single_microseconds", ",.0f"),
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


def draw(file: Path = PLOT) -> Path:
    """Time a step over the batch size, a panel a network, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    results = stored("speed")["results"]
    figure, panels = plt.subplots(1, len(NETWORKS), figsize=(13, 4.6), sharey=True, layout="constrained")
    colours = plt.get_cmap("tab10")
    for panel, network in zip(panels, NETWORKS, strict=True):
        for number, (name, system) in enumerate(SYSTEMS.items()):
            rule = system.rules[0]
            found = [(batch, best(results, name, Problem(network, batch, rule))) for batch in BATCHES]
            points = [(batch, entry["median"]) for batch, entry in found if entry]
            if not points:
                continue
            label = system.label + ("" if rule == "rmsprop" else f" ({RULE_NAMES[rule]})")
            style: dict[str, Any] = {"color": colours(number), "marker": "o", "markersize": 4, "linewidth": 1.5}
            if name == _OWN:
                style |= {"color": "black", "linewidth": 3, "markersize": 6, "zorder": 3}
            elif name == "floor":
                style |= {"color": "grey", "linestyle": ":", "marker": ""}
            panel.plot(*zip(*points, strict=True), label=label, **style)
        panel.set(title=network, xlabel="batch size", xscale="log", yscale="log", xticks=BATCHES, xlim=(0.8, 1300))
        panel.set_xticklabels([str(batch) for batch in BATCHES])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("microseconds a training step")
    handles, labels = max((panel.get_legend_handles_labels() for panel in panels), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib in it, the same results give the same file.
    figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return file


def plot() -> str:
    """The picture that `draw` makes, for a page in docs/."""
    stored("speed")  # without results there is none
    return f"![Time of a training step over the batch size]({PLOT.relative_to(PLOT.parents[1])})"


def sweeps() -> str:
    """Trials an hour against those of others, and what else was measured of sweeps."""
    content = stored("sweeps")
    found, library = content["peers"], content["machine"]["libraries"]
    seconds = {name: statistics.median(times) for name, times in found["seconds"].items()}
    an_hour = {name: 3600 * found["trials"] / time for name, time in seconds.items()}
    rows = [
        f"| {found['trials']} trials of {found['epochs']} epochs, two at a time | trials an hour | chainrule |",
        "| --- | ---: | ---: |",
        f"| chainrule | **{an_hour['chainrule']:,.0f}** | |",
    ]
    for name, label, own in (
        ("a process for each trial", "the same `train.py`, a process for each trial, W&B offline", "chainrule"),
        ("Optuna and PyTorch", f"Optuna and PyTorch {library.get('torch', '')}", "chainrule"),
        (
            "Optuna and scikit-learn",
            f"Optuna and scikit-learn {library.get('scikit-learn', '')} (its four rules)",
            "chainrule, rules of scikit-learn",
        ),
    ):
        rows.append(f"| {label} | {an_hour[name]:,.0f} | {_times(seconds[name] / seconds[own])} |")
    workers, search, overhead = content["workers"], content["search"], content["overhead"]
    costs = "; ".join(f"{100 * entry['overhead']:.1f} % ({name})" for name, entry in overhead.items())
    counts = ", ".join(f"{number} {status}" for status, number in search["statuses"].items())
    minutes = search["seconds"] / 60
    return "\n".join(
        [
            *rows,
            "",
            f"Measured on {content['date']} on {content['machine']['cores']} cores; medians of "
            f"{len(found['seconds']['chainrule'])} rounds in turns. Two workers train {workers['ratio']:.2f} times the "
            f"trials of one. Scheduling, tracking and saving cost, in a trial of five epochs: {costs}. "
            f"`sweeps/fashion_mnist.yaml` took {minutes:.0f} minutes ({counts}); the best trial has a validation "
            f"accuracy of {100 * float(search['best']['val_accuracy']):.2f} %.",
        ]
    )


PARTS: dict[str, Callable[[], str]] = {
    "sweeps": sweeps,
    "machine": machine,
    "plot": plot,
    "speed-small": lambda: speed("784-128-10"),
    "speed-default": lambda: speed("784-128x4-10"),
    "speed-wide": lambda: speed("784-512x3-10"),
    "threads": threads,
    "losses": losses,
    "accuracy-time": accuracy_time,
    "footprint": footprint,
}


def main() -> None:
    """Print every part that has results, and draw the plot."""
    for name, make in PARTS.items():
        try:
            print(f"{name}\n\n{make()}\n")
        except FileNotFoundError as error:
            print(f"{name}: no results yet ({Path(error.filename).name})\n")
    print(f"Drawn: {draw().relative_to(PLOT.parents[2])}")


if __name__ == "__main__":
    main()
