"""Charts as data: what is to be seen, and nothing of how it is drawn.

A chart is made once, from stored results, and can be kept as JSON. `interactive.py` draws it on a page, `static.py` on
paper; so both show the same numbers.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError

__all__ = ["Axis", "Bars", "Chart", "Confusion", "Images", "Lines", "Parallel", "Series", "from_dict", "png", "to_dict"]


@dataclass(frozen=True)
class Series:
    """Points, or a line through them.

    Attributes:
        name: for the legend; "" leaves it out of it.
        x: n numbers.
        y: n numbers.
        look: "line", "step" (a line that stays until the next point), or "points".
        low: n numbers, the lower edge of a band around the line, or of a point's interval; empty for none.
        high: n numbers, the upper edge.
        notes: n texts, shown where a point is touched on a page; empty for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: str = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Lines:
    """Lines and points over two axes of numbers.

    Attributes:
        x_label: name and unit of the x axis.
        y_label: name and unit of the y axis.
        series: what is drawn, the first below.
        y_range: the part of the y axis to show; () for all.
    """

    x_label: str
    y_label: str
    series: Sequence[Series]
    y_range: Sequence[float] = ()


@dataclass(frozen=True)
class Bars:
    """Horizontal bars beside names, or points with intervals.

    Attributes:
        x_label: name and unit of the x axis.
        names: of the n groups, from top to bottom.
        series: their `y` holds n values, one for each group; `x` is not used. `low` and `high` are intervals.
        look: "bars", or "points" where 0 is no natural beginning.
        reference: a value with a line of its own, such as a published one; None for none.
    """

    x_label: str
    names: Sequence[str]
    series: Sequence[Series]
    look: str = "bars"
    reference: float | None = None


@dataclass(frozen=True)
class Axis:
    """One axis of parallel coordinates.

    Attributes:
        name: of the setting or metric.
        values: n numbers; where `labels` are given, positions in them.
        labels: the names of categories, or the ordered values of a setting with few; empty for a scale of numbers.
    """

    name: str
    values: Sequence[float]
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates: a line a run, an axis a setting.

    Attributes:
        axes: each with n values. The last is the metric; it colours the lines.
        runs: n names of runs.
    """

    axes: Sequence[Axis]
    runs: Sequence[str] = ()


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix.

    Attributes:
        classes: k names.
        counts: k rows of k counts: row i, column j counts samples of class i that were taken for class j.
        examples: some of the samples as PNG files in base64, by "i,j".
    """

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    examples: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Images:
    """Small pictures in rows, each with a title and perhaps bars of probabilities.

    Attributes:
        pictures: n PNG files in base64.
        titles: n texts.
        columns: pictures in a row.
        probabilities: n rows of k probabilities, drawn as bars beside each picture; empty for none.
        classes: names of the k bars.
    """

    pictures: Sequence[str]
    titles: Sequence[str]
    columns: int = 5
    probabilities: Sequence[Sequence[float]] = ()
    classes: Sequence[str] = ()


Chart = Lines | Bars | Parallel | Confusion | Images


def to_dict(chart: Chart) -> dict[str, Any]:
    """A chart as JSON can hold it, with its class as `kind`."""
    return {"kind": type(chart).__name__, **asdict(chart)}


def from_dict(content: Mapping[str, Any]) -> Chart:
    """The chart that `to_dict` made this of.

    Raises:
        DataError: it made no such thing.
    """
    kinds: dict[str, Callable[..., Chart]] = {kind.__name__: kind for kind in get_args(Chart)}
    parts: dict[str, Callable[..., Any]] = {"series": Series, "axes": Axis}
    try:
        values = {name: value for name, value in content.items() if name != "kind"}
        for name, part in parts.items():
            if name in values:
                values[name] = [part(**one) for one in values[name]]
        return kinds[content["kind"]](**values)
    except (KeyError, TypeError) as error:
        raise DataError(f"This is no chart ({error}): {str(content)[:200]}") from error


def png(pixels: NDArray[Any]) -> str:
    """A grey picture as a PNG file in base64.

    Args:
        pixels: (height, width), from 0 (white) to 1 (black).
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * (1 - np.clip(pixels, 0, 1))).astype(np.uint8)).save(
        buffer, format="PNG", optimize=True
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii")
