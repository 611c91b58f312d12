"""Tables: what parts of training cost (parts.py, peer_parts.py), and of runs on real tables (tabular.py)."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from machine import read_results
from parts import PARTS as COSTS
from parts import THREADS
from peer_parts import BATCHES
from problem import Problem
from speed import best
from systems import PART_SYSTEMS
from training_parts import COMPARED, NETWORK

__all__ = ["PARTS"]

_PEERS = {
    "": "Adam alone",
    "regularized": "regularized",
    "batch norm": "batch normalization",
    "regularized, batch norm": "both",
}


def format_part_costs() -> str:
    """Compare a step with each part with a plain step: the ratio of times, with its 95 % interval."""
    content = read_results("parts")
    found = {(entry["part"], entry["threads"]): entry for entry in content["results"]}
    names = [f"{threads} thread{'s' if threads > 1 else ''}" for threads in THREADS]
    rows = [f"| part | {' | '.join(names)} | limit |", "| --- |" + " ---: |" * (len(names) + 1)]
    for name, part in COSTS.items():
        entries = [found.get((name, threads)) for threads in THREADS]
        if any(entries):
            cells = ["-" if entry is None else _format_interval(entry) for entry in entries]
            limit = "" if part.limit is None else f"{part.limit:.2f}"
            rows.append(f"| {part.label} | {' | '.join(cells)} | {limit} |")
    plain = [found[key]["microseconds"]["plain"] for key in found if key[0] == "nothing"]
    steps = f" A plain step took {' and '.join(f'{value:,.0f}' for value in plain)} us." if plain else ""
    return "\n".join([*rows, "", f"Measured on {content['date']}; {content['settings']['rounds']} rounds.{steps}"])


def _format_interval(entry: dict[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{entry['ratio']:.3f} ({low:.3f} to {high:.3f})"


def format_peer_parts() -> str:
    """Compare microseconds per step with parts, and their ratio to chainrule: a row per system, a column per batch."""
    content = read_results("peer_parts")
    results = content["results"]
    rows = [
        "| microseconds per step | with | " + " | ".join(f"batch {batch}" for batch in BATCHES) + " |",
        "| --- | --- |" + " ---: |" * len(BATCHES),
    ]
    for parts in COMPARED:
        for name, system in PART_SYSTEMS.items():
            cells = []
            for batch in BATCHES:
                problem = Problem(NETWORK, batch, "adam", parts)
                entry = best(results, name, problem, PART_SYSTEMS)
                own = best(results, "compiled", problem, PART_SYSTEMS)
                if entry is None or own is None:
                    cells.append("-")
                elif name == "compiled":
                    cells.append(f"**{entry['median']:,.0f}**")
                else:
                    cells.append(f"{entry['median']:,.0f} ({entry['median'] / own['median']:.2f}x)")
            if set(cells) != {"-"}:
                rows.append(f"| {system.label} | {_PEERS[parts]} | {' | '.join(cells)} |")
    largest = max((check["difference"] for check in content["checks"]), default=0.0)
    versions = ", ".join(f"{PART_SYSTEMS[name].label} {version}" for name, version in content["versions"].items())
    return "\n".join(
        [
            *rows,
            "",
            f"Measured on {content['date']} ({versions}). After {content['settings']['checked_steps']} steps from "
            f"equal weights on equal batches, without dropout, 99 % of the parameters of every system differ from "
            f"chainrule's by at most {largest:.0e} of the distance that these steps moved them.",
        ]
    )


def format_regression() -> str:
    """Format R2 and error of the regression runs of tabular.py, with those of the mean as the answer."""
    rows = [
        "| predicted | inputs | samples | R2 of logarithm | RMSE of logarithm | R2 in dollars | RMSE in dollars |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for _, entry in _read_tasks("squared_error"):
        cells = [_format_mean(entry, "r2_log", 4), _format_mean(entry, "rmse_log", 4)]
        cells += [_format_mean(entry, "r2", 4), _format_mean(entry, "rmse", 0)]
        rows.append(
            f"| {entry['title']} | {entry['inputs']} | {sum(entry['samples'].values()):,} | {' | '.join(cells)} |"
        )
        base = entry["baseline"]
        without = [f"{base['r2_log']:.4f}", f"{base['rmse_log']:.4f}", f"{base['r2']:.4f}", f"{base['rmse']:,.0f}"]
        rows.append(f"| the mean of the training targets | | | {' | '.join(without)} |")
    return "\n".join([*rows, "", *_list_settings("squared_error")])


def format_labels() -> str:
    """Format the accuracies of the runs of tabular.py with labels, with those of the most frequent values."""
    rows = [
        "| predicted | inputs | samples | all labels right | each label right | most frequent combination | "
        "most frequent value of each |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for _, entry in _read_tasks("binary_cross_entropy"):
        base = entry["baseline"]
        each = [f"label{number}" for number in range(entry["outputs"])] if entry["outputs"] > 1 else []
        parts = (
            f" ({', '.join(_format_mean(entry, name, 1, percent=True, spread=False) for name in each)})" if each else ""
        )
        rows.append(
            f"| {entry['title']} | {entry['inputs']} | {sum(entry['samples'].values()):,} | "
            f"{_format_mean(entry, 'all_right', 2, percent=True)} | "
            f"{_format_mean(entry, 'each_right', 2, percent=True)}{parts} | "
            f"{100 * base['all_right']:.2f} % | {100 * base['each_right']:.2f} % |"
        )
    return "\n".join([*rows, "", *_list_settings("binary_cross_entropy")])


def _read_tasks(loss: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name, entry in read_results("tabular")["results"].items() if entry["loss"] == loss]


def _format_mean(entry: dict[str, Any], name: str, digits: int, *, percent: bool = False, spread: bool = True) -> str:
    """Format mean and standard deviation over the seeds."""
    values = [run[name] * (100 if percent else 1) for run in entry["runs"]]
    mean = f"{statistics.mean(values):,.{digits}f}{' %' if percent else ''}"
    return f"{mean} ± {statistics.stdev(values):,.{digits}f}" if spread else mean


def _list_settings(loss: str) -> list[str]:
    """List the hyperparameters that validation chose."""
    lines = []
    for name, entry in _read_tasks(loss):
        chosen = entry["chosen"]
        widths = " x ".join(map(str, chosen["hidden"]))
        lines.append(
            f"- {name}: {widths} hidden neurons, {chosen['epochs']} epochs, "
            f"learning rate {chosen['learning_rate']:g}, weight decay {chosen['weight_decay']:g}, "
            f"dropout {chosen['dropout']:g}"
        )
    return lines


PARTS: dict[str, Callable[[], str]] = {
    "part-costs": format_part_costs,
    "peer-parts": format_peer_parts,
    "regression": format_regression,
    "labels": format_labels,
}
