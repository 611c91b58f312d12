"""Charts as Vega-Lite or Vega specifications, and their files.

Files are drawn by vl-convert, pages by the same Vega in the reader's browser. Equal charts give equal files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.charts.chart import BarChart, Chart, ConfusionMatrix, LineChart, ParallelCoordinates
from chainrule.charts.image_specs import build_confusion_spec, build_grid_spec
from chainrule.charts.palette import LIGHT
from chainrule.charts.parallel_spec import build_parallel_spec
from chainrule.charts.theme import WIDTH, make_config
from chainrule.charts.values import VEGA, VEGA_LITE, Spec
from chainrule.charts.xy_specs import build_bar_spec, build_line_spec
from chainrule.core.errors import ConfigError
from chainrule.core.extras import needs_extra
from chainrule.core.files import write_bytes

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["build_panels", "build_spec", "check_renderer", "render_svg", "save_chart", "save_spec"]

_PANEL_MARGIN = 66  # pixels, for the y axis
_SUFFIXES = (".pdf", ".png", ".svg")
_ADDRESS_SPACE = 80 * 2**30  # bytes
_SCALE = 2  # pixels of a PNG file per pixel of the specification

_process = None  # the one that has started the renderer's threads


def build_spec(chart: Chart, *, interactive: bool = False) -> Spec:
    """Build the specification of a chart, which says "no data" if there are none.

    Args:
        chart: the chart.
        interactive: for a page, with tooltips, instead of a file.

    Returns:
        A Vega-Lite or Vega specification without a configuration (see `make_config`).
    """
    if isinstance(chart, LineChart):
        spec = build_line_spec(chart, interactive=interactive)
    elif isinstance(chart, BarChart):
        spec = build_bar_spec(chart)
    elif isinstance(chart, ParallelCoordinates):
        spec = build_parallel_spec(chart)
    elif isinstance(chart, ConfusionMatrix):
        spec = build_confusion_spec(chart, interactive=interactive)
    else:
        spec = build_grid_spec(chart)
    if spec is None:
        mark = {"type": "text", "text": "no data", "style": "value"}
        spec = {"height": 60, "data": {"values": [{}]}, "mark": mark, "usermeta": {"empty": True}}
    if not {"hconcat", "width"} & set(spec):
        # `resize`: a legend may need more rows at the final width.
        spec = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding", "resize": True}, **spec}
    return {"$schema": VEGA_LITE, **spec}


def build_panels(charts: Sequence[Chart]) -> Spec:
    """Build the specification of charts side by side."""
    width = WIDTH / len(charts) - _PANEL_MARGIN
    panels = [{**build_spec(chart), "width": width, "autosize": None} for chart in charts]
    # Of each panel: expressions in the charts refer to it.
    shared = {"params": [{"name": "width", "value": width}], "resolve": {"scale": {"color": "independent"}}}
    return {"$schema": VEGA_LITE, **shared, "hconcat": panels}


def save_chart(chart: Chart, file: Path) -> None:
    """Draw a chart into a file (see `save_spec`)."""
    save_spec(build_spec(chart), file)


def render_svg(chart: Chart) -> str:
    """Draw a chart as SVG, for example for `IPython.display.SVG`."""
    return _render_svg(build_spec(chart))


@needs_extra("Figures", "train")
def save_spec(spec: Spec, file: Path) -> None:
    """Draw a specification into a file, which is replaced atomically.

    Args:
        spec: a Vega-Lite or Vega specification.
        file: a path that ends in .pdf, .svg or .png, in an existing folder.

    Raises:
        ConfigError: see `check_renderer`.
        ValueError: the path ends in something else.
        OSError: the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"The file of a chart must end in one of {sorted(_SUFFIXES)}, got {file.name!r}.")
    svg = _render_svg(spec)
    import vl_convert

    if suffix == ".png":
        content = vl_convert.svg_to_png(svg, scale=_SCALE)
    else:
        content = svg.encode("utf-8") if suffix == ".svg" else _sort_resources(vl_convert.svg_to_pdf(svg))
    write_bytes(file, content)


def _render_svg(spec: Spec) -> str:
    vl_convert = check_renderer()
    draw = vl_convert.vega_to_svg if spec["$schema"] == VEGA else vl_convert.vegalite_to_svg
    svg = draw({**spec, "config": make_config(LIGHT)})
    # Vega numbers the clipping paths of all charts of a process.
    numbers: dict[str, int] = {}
    return re.sub(
        r'(<clipPath id="clip|clip-path="url\(#clip)(\d+)',
        lambda found: f"{found[1]}{numbers.setdefault(found[2], len(numbers))}",
        svg,
    )


def _sort_resources(pdf: bytes) -> bytes:
    """Sort the resources of pages, which svg2pdf writes in random order. No byte outside of these lists moves."""
    return re.sub(rb"(?m)(^ +/\w+ \d+ 0 R\n)+", lambda found: b"".join(sorted(found[0].splitlines(keepends=True))), pdf)


def check_renderer() -> ModuleType:
    """Import the renderer, and check that this process can run it.

    Raises:
        ConfigError: it is not installed, the address space is limited, or the process was forked from one that may
            have drawn charts.
    """
    global _process
    if sys.platform != "win32":
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        # Its JavaScript engine would end the process.
        if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
            raise ConfigError(
                f"Figures need {_ADDRESS_SPACE >> 30} GiB of address space (not of memory), but this process may have "
                f"only {limit / 2**30:.1f} GiB. Raise the limit: ulimit -v unlimited"
            )
    if _process not in (None, os.getpid()):
        raise ConfigError(
            "Figures cannot be drawn in a process forked from one that has drawn some: the renderer's threads are "
            "missing. Start processes with the method 'spawn' or 'forkserver'."
        )
    with needs_extra("Figures", "train"):
        import vl_convert
    _process = os.getpid()
    return vl_convert
