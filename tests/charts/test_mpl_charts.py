"""Charts drawn by matplotlib: everything is drawn, nothing overlaps, text is literal, equal charts give equal files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from chainrule.charts.chart import (
    Axis,
    BarChart,
    Chart,
    ConfusionMatrix,
    ImageGrid,
    LineChart,
    ParallelCoordinates,
    Series,
    encode_png,
)
from chainrule.charts.mpl_charts import draw_chart, save_chart

NAN = float("nan")
HOSTILE = r"_a $x_1$ 100% \frac12 {b} ^~#&é"
RANDOM = np.random.default_rng(5)
PICTURES = [encode_png(RANDOM.random((8, 8))) for _ in range(12)]


def line(name: str, *y: float, **more: Any) -> Series:
    return Series(name, list(range(1, len(y) + 1)), list(y), **more)


def parallel(runs: int) -> ParallelCoordinates:
    kinds = ["sgd", "momentum", HOSTILE]
    return ParallelCoordinates(
        [
            Axis("optimizer", list(RANDOM.integers(0, 3, runs)), kinds),
            Axis("learning_rate", list(10 ** RANDOM.uniform(-5, -1, runs))),
            Axis(HOSTILE, list(RANDOM.integers(0, 2, runs)), ["one", "two"]),
            Axis("val_accuracy (%)", list(RANDOM.uniform(10, 90, runs))),
        ],
        [f"run {i}" for i in range(runs)],
    )


def confusion(k: int) -> ConfusionMatrix:
    counts = RANDOM.integers(1, 9, (k, k)) + 50 * np.eye(k, dtype=int)
    return ConfusionMatrix([f"class {i}" for i in range(k)], counts.tolist(), {})


WORST = [[90, 7, 0], [1, 80, 9], [8, 2, 70]]
CHARTS: dict[str, Chart] = {
    "lines": LineChart("epoch", "loss", [line("a", 3, 2, 1), line("b", 4, 3, 3)], y_range=(0, 5)),
    "band": LineChart("epoch", "loss", [line("mean", 3, 2, low=[2, 1], high=[4, 3]), line("", 1, NAN)]),
    "step": LineChart(
        "minutes", HOSTILE, [line("a", *RANDOM.random(300), mark="points"), line("b", 0, 1, mark="step")]
    ),
    "error bars": LineChart("x", "y", [line(HOSTILE, 1, 2, NAN, mark="points", low=[0, 1, 2], high=[2, 2.5, 3])]),
    "many lines": LineChart("epoch", "loss", [line(f"a run with quite a long name {i}", i, i / 2) for i in range(40)]),
    "one point": LineChart("x", "y", [line("only", 1)]),
    "infinite": LineChart("x", "y", [line("worse", 1, float("inf"), 3), line("gone", NAN, NAN)]),
    "no series": LineChart("x", "y", []),
    "empty series": LineChart("x", "y", [line("nothing")]),
    "bars": BarChart("%", ["first", HOSTILE, "third"], [line("", 1, -2, NAN)]),
    "dots": BarChart(
        HOSTILE, ["a", "b"], [line("x", 1, 2, low=[0, 1], high=[2, 3]), line("y", 2, 3)], mark="points", reference=1.5
    ),
    "many bars": BarChart("%", [f"a name that is longer than fits, {i}" for i in range(70)], [line("", *range(70))]),
    "no bars": BarChart("%", [], [line("")]),
    "bars without values": BarChart("%", ["a"], [line("", NAN)]),
    "parallel": parallel(300),
    "one run": parallel(1),
    "no runs": parallel(0),
    "no axes": ParallelCoordinates([]),
    "constant": ParallelCoordinates([Axis("a", [1, 1]), Axis("b", [NAN, NAN]), Axis("loss", [2, NAN])]),
    "confusion": ConfusionMatrix(
        ["$a_$", "b", "c"], WORST, {"1,2": PICTURES[:5], "2,0": PICTURES[:1], "0,1": PICTURES[1:2]}
    ),
    "one class": confusion(1),
    "forty classes": confusion(40),
    "no classes": ConfusionMatrix([], [], {}),
    "images": ImageGrid(PICTURES, [f"{HOSTILE}\nand a second line" for _ in PICTURES]),
    "probabilities": ImageGrid(PICTURES[:3], ["a", "b", HOSTILE], 5, [[0.1, 0.9], [1, 0], [NAN, 1]], ["x", HOSTILE]),
    "many classes": ImageGrid(PICTURES[:1], ["a"], 5, [list(np.full(40, 1 / 40))], [f"class {i}" for i in range(40)]),
    "no images": ImageGrid([], []),
}  # fmt: skip


def texts(figure: Figure) -> list[Text]:
    """All visible texts, after layout."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def shown(figure: Figure) -> str:
    """The visible texts, without escapes."""
    found = [text.get_text() for text in texts(figure)]
    assert not any(map(is_math_text, found))
    return "\n".join(text.replace(r"\$", "$") for text in found)


@pytest.mark.parametrize("name", CHARTS)
def test_everything_is_drawn_within_the_figure(name: str) -> None:
    figure = draw_chart(CHARTS[name])
    width, height = figure.get_size_inches()
    assert width == 6.5
    assert 0.5 < height < 9
    found = texts(figure)
    assert found
    for text in found:
        box = text.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        # Ticks beyond the limits of an axis are not drawn.
        inside = box.x0 > -0.05 and box.x1 < width + 0.05 and box.y0 > -0.05 and box.y1 < height + 0.05
        assert inside or not figure.axes or text.get_text() in unseen_ticks(figure), (text.get_text(), box)


def unseen_ticks(figure: Figure) -> set[str]:
    """Labels of ticks beyond the limits of their axis, which matplotlib creates and does not draw."""
    found = set()
    for axes in figure.findobj(matplotlib.axes.Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found |= {tick.label1.get_text() for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return found


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("band", ".pdf"), ("parallel", ".pdf"), ("probabilities", ".pdf"), ("confusion", ".svg"), ("dots", ".png")],
)
def test_equal_charts_are_equal_files(name: str, suffix: str, tmp_path: Path) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    save_chart(CHARTS[name], one)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none", "pdf.fonttype": 3}):
        save_chart(CHARTS[name], other)
        assert matplotlib.rcParams["font.size"] == 30
    assert one.read_bytes() == other.read_bytes()
    assert b"Date" not in one.read_bytes()


def test_fonts_are_truetype_and_only_pictures_are_pixels(tmp_path: Path) -> None:
    for name in ("lines", "bars", "parallel", "forty classes", "images"):
        save_chart(CHARTS[name], tmp_path / "chart.pdf")
        content = (tmp_path / "chart.pdf").read_bytes()
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert content.count(b"/Subtype /Image") == (len(PICTURES) if name == "images" else 0), name


def test_texts_of_users_are_shown_as_they_are() -> None:
    for name in ("error bars", "bars", "dots", "step"):
        assert HOSTILE in shown(draw_chart(CHARTS[name])), name
    for name in ("images", "parallel", "probabilities"):  # in lines, or shortened
        assert "$x" in shown(draw_chart(CHARTS[name])).replace("\n", " "), name
    assert "$a_$" in shown(draw_chart(CHARTS["confusion"]))


def test_a_letter_that_the_font_lacks_is_a_question_mark() -> None:
    assert "a?b µ" in shown(draw_chart(BarChart("a\U0001f389b µ", ["x"], [line("", 1)])))


def test_a_legend_covers_no_axes() -> None:
    for name in ("step", "many lines", "dots"):
        figure = draw_chart(CHARTS[name])
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert legend.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1


def test_few_lines_that_end_apart_have_their_names_there() -> None:
    apart = draw_chart(CHARTS["lines"])
    assert not apart.legends
    assert {text.get_text() for text in apart.axes[0].texts} == {"a", "b"}
    together = draw_chart(LineChart("x", "y", [line("a", 3, 2, 1), line("b", 4, 3, 1.001)]))
    assert together.legends
    assert not together.axes[0].texts


def test_a_line_through_few_points_shows_them() -> None:
    (drawn,) = draw_chart(CHARTS["one point"]).axes[0].lines
    assert drawn.get_marker() == "o"


def test_the_first_bar_is_on_top() -> None:
    figure = draw_chart(CHARTS["bars"])
    first, _, third = figure.axes[0].get_yticklabels()
    figure.draw_without_rendering()
    assert first.get_text() == "first"
    assert first.get_window_extent().y0 > third.get_window_extent().y1


def test_the_reference_is_a_dashed_line() -> None:
    chart = CHARTS["dots"]
    assert isinstance(chart, BarChart)

    def dashed(chart: BarChart) -> list[float]:
        return [drawn.get_xdata()[0] for drawn in draw_chart(chart).axes[0].lines if drawn.get_linestyle() == "--"]

    assert dashed(chart) == [1.5]
    assert dashed(replace(chart, reference=None)) == []


@pytest.mark.parametrize(("metric", "best"), [("val_accuracy", 80.0), ("val_loss", 0.5)])
def test_the_best_run_lies_on_top(metric: str, best: float) -> None:
    values = [40.0, best, NAN, 20.0]
    figure = draw_chart(ParallelCoordinates([Axis("a", [1, 2, 3, 4]), Axis(metric, values)]))
    (lines,) = figure.findobj(LineCollection)[:1]
    heights = [path.vertices[0, 1] for path in lines.get_paths()]
    assert heights[-1] == pytest.approx(1 / 3)  # the second run's
    assert heights[0] == pytest.approx(2 / 3)  # the one without a result


def test_all_runs_are_lines() -> None:
    lines = draw_chart(CHARTS["parallel"]).findobj(LineCollection)
    assert max(len(found.get_paths()) for found in lines) == 300


def test_counts_are_written_where_there_is_room() -> None:
    found = shown(draw_chart(CHARTS["confusion"])).split("\n")
    assert {"90", "7", "80", "9", "8", "70"} <= set(found)
    assert "0" not in found
    assert not any(text.isdigit() for text in shown(draw_chart(CHARTS["forty classes"])).split("\n"))


def test_the_largest_confusions_have_examples() -> None:
    words = " ".join(shown(draw_chart(CHARTS["confusion"])).split())
    positions = [
        words.index(part)
        for part in ("b predicted as c: 9 times", "c predicted as $a_$: 8 times", "$a_$ predicted as b: 7 times")
    ]
    assert positions == sorted(positions)
    figure = draw_chart(CHARTS["confusion"])
    assert sum(len(axes.images) for axes in figure.findobj(matplotlib.axes.Axes)) == 3 + 1 + 1


def test_of_many_classes_the_likeliest_have_bars() -> None:
    values = [0.001] * 39 + [0.9]
    figure = draw_chart(ImageGrid(PICTURES[:1], ["a"], 5, [values], [f"class {i}" for i in range(40)]))
    found = shown(figure)
    assert "class 39" in found
    assert "90 %" in found
    assert found.count("class") == 10


def test_save_refuses_what_it_cannot_write_and_keeps_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.pdf.*'chart\.gif'"):
        save_chart(CHARTS["lines"], tmp_path / "chart.gif")
    old = tmp_path / "chart.pdf"
    old.write_text("old")
    with pytest.raises(Exception, match="cannot identify"):
        save_chart(ImageGrid(["aGVsbG8="], ["no picture"]), old)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]
