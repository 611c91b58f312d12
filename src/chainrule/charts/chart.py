"""Charts as data, independent of how they are drawn.

A chart is computed once and can be stored as JSON. Vega draws it, on an HTML page and in PDF, SVG and PNG files (see
`renderer`).
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

__all__ = [
    "Axis",
    "BarChart",
    "Chart",
    "ConfusionMatrix",
    "ImageGrid",
    "LineChart",
    "ParallelCoordinates",
    "Series",
    "chart_from_dict",
    "chart_to_dict",
    "encode_png",
]


@dataclass(frozen=True)
class Series:
    """Points, or a line through them.

    Attributes:
        name: name in the legend; "" for no entry.
        x: n numbers.
        y: n numbers.
        mark: "line", "step" (constant until the next point), or "points".
        low: n numbers, the lower edge of a band around the line, or of the points' error bars; empty for none.
        high: n numbers, the upper edge.
        notes: n texts, shown on a page when the pointer is over a point; empty for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: str = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    notes: Sequence[str] = ()

    @property
    def has_interval(self) -> bool:
        """Whether there is a band, or error bars."""
        return len(self.low) > 0 and len(self.high) > 0


@dataclass(frozen=True)
class LineChart:
    """Lines and points over two numeric axes.

    Attributes:
        x_label: name and unit of the x axis.
        y_label: name and unit of the y axis.
        series: the series, the first at the bottom.
        y_range: limits of the y axis; () for automatic limits.
    """

    x_label: str
    y_label: str
    series: Sequence[Series]
    y_range: Sequence[float] = ()


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars, or points with error bars, for named groups.

    Attributes:
        x_label: name and unit of the x axis.
        names: names of the n groups, from top to bottom.
        series: their `y` holds n values, one per group; `x` is unused. `low` and `high` are error bars.
        mark: "bars", or "points" if 0 is no natural origin.
        reference: a value marked by a dashed line, such as a published one; None for none.
    """

    x_label: str
    names: Sequence[str]
    series: Sequence[Series]
    mark: str = "bars"
    reference: float | None = None


@dataclass(frozen=True)
class Axis:
    """One axis of parallel coordinates.

    Attributes:
        name: name of the hyperparameter or metric.
        values: n numbers; with `labels`, indices into them.
        labels: the categories, or the sorted values of a numeric hyperparameter with few; empty for a numeric scale.
    """

    name: str
    values: Sequence[float]
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class ParallelCoordinates:
    """Parallel coordinates: one line per run, one axis per hyperparameter.

    Attributes:
        axes: axes with n values each. The last is the metric, which also colors the lines.
        runs: names of the n runs.
    """

    axes: Sequence[Axis]
    runs: Sequence[str] = ()


@dataclass(frozen=True)
class ConfusionMatrix:
    """A confusion matrix.

    Attributes:
        classes: names of the k classes.
        counts: (k, k): entry i, j is the number of samples of class i that were predicted as class j.
        examples: some of these samples by "i,j", as base64-encoded PNG files.
    """

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    examples: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ImageGrid:
    """Small images in rows, each with a title and optionally with bars of class probabilities.

    Attributes:
        images: n base64-encoded PNG files.
        titles: n texts.
        columns: images per row.
        probabilities: (n, k), drawn as bars beside each image; empty for none.
        classes: names of the k classes.
    """

    images: Sequence[str]
    titles: Sequence[str]
    columns: int = 5
    probabilities: Sequence[Sequence[float]] = ()
    classes: Sequence[str] = ()


Chart = LineChart | BarChart | ParallelCoordinates | ConfusionMatrix | ImageGrid


def chart_to_dict(chart: Chart) -> dict[str, Any]:
    """Convert a chart to JSON types, with the name of its class as `kind`."""
    return {"kind": type(chart).__name__, **asdict(chart)}


def chart_from_dict(content: Mapping[str, Any]) -> Chart:
    """Convert the result of `chart_to_dict` back to a chart.

    Raises:
        DataError: it is not the content of a chart.
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
        raise DataError(f"This is not a chart ({error}): {str(content)[:200]}") from error


def encode_png(pixels: NDArray[Any]) -> str:
    """Encode a grayscale image as a base64-encoded PNG file.

    Args:
        pixels: (height, width), from 0 (white) to 1 (black).
    """
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(np.rint(255 * (1 - np.clip(pixels, 0, 1))).astype(np.uint8))
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
