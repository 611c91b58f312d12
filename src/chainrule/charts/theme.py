"""The look of all charts: a Vega configuration for each palette."""

from __future__ import annotations

from typing import Any

from chainrule.charts.palette import Palette

__all__ = ["FONT", "WIDTH", "make_config"]

WIDTH = 624  # pixels: 6.5 inches, the text width of a page

# Fonts of equal metrics: the renderer carries the first one, so text takes the same room in files and on pages.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


def make_config(palette: Palette) -> dict[str, Any]:
    """Build the Vega configuration of a palette."""
    return {
        "background": palette.paper,
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None, "continuousWidth": WIDTH},
        "range": {
            "category": list(palette.series),
            **{name: [color for _, color in getattr(palette, name)] for name in ("correct", "wrong", "metric")},
        },
        "axis": {
            **{f"{part}Color": palette.soft for part in ("domain", "tick")},
            **{f"{part}Color": palette.ink for part in ("label", "title")},
            **{"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8},
            **{"gridColor": palette.grid, "labelOverlap": "greedy"},
        },
        "axisBand": {"grid": False, "ticks": False, "domain": False, "labelPadding": 6, "labelLimit": 0},
        "legend": {
            **{"title": None, "orient": "top", "direction": "horizontal", "columnPadding": 16},
            **{"labelColor": palette.ink, "labelFontSize": 11, "labelLimit": 320},
            **{"symbolStrokeWidth": 2.5, "symbolOpacity": 1, "symbolSize": 70},
        },
        "title": {"color": palette.soft, "fontSize": 11, "fontWeight": "normal"},
        "line": {"strokeWidth": 2},
        "bar": {"cornerRadiusEnd": 2},
        "text": {"color": palette.ink, "font": FONT, "fontSize": 11},
        "rule": {"strokeWidth": 1.5},
        "style": {
            "interval": {"color": palette.ink},
            "reference": {"color": palette.ink, "strokeDash": [5, 4]},
            "value": {"color": palette.soft},
            "cell": {"stroke": palette.paper, "strokeWidth": 1},
            "outline": {"filled": False, "color": palette.ink, "strokeWidth": 2},
            # Of parallel coordinates, whose specification is Vega.
            "axis-line": {"stroke": palette.ink, "strokeWidth": 1},
            "axis-name": {"fill": palette.ink},
            "tick": {"fill": palette.ink, "fontSize": 10},
            "halo": {"stroke": palette.paper, "strokeWidth": 3, "opacity": 0.85, "fontSize": 10},
            "brush": {"fill": palette.series[0], "opacity": 0.5},
        },
    }
