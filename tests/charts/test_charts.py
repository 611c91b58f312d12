"""Drawn charts: everything is drawn, nothing is cut off, text is literal, equal charts give equal files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from PIL import Image

from chainrule.charts import renderer
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
from chainrule.charts.palette import DARK, LIGHT
from chainrule.charts.renderer import build_panels, build_spec, render_svg, save_chart, save_spec
from chainrule.charts.theme import make_config
from chainrule.core.errors import ConfigError

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
    "long legend": BarChart("%", ["a"], [line("the mean of the seeds, with its 95 % interval", 1), line("b", 2)]),
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


SVG = "{http://www.w3.org/2000/svg}"


def texts(chart: Chart) -> list[tuple[str, float, float]]:
    """The texts of a drawn chart with their positions."""

    def walk(element: ElementTree.Element, x: float, y: float) -> Iterator[tuple[str, float, float]]:
        moved = re.match(r"translate\(([^,]+),([^)]+)\)", element.get("transform", ""))
        if moved:
            x, y = x + float(moved[1]), y + float(moved[2])
        if element.tag == f"{SVG}text":
            yield " ".join(" ".join(element.itertext()).split()), x, y
        for child in element:
            yield from walk(child, x, y)

    return list(walk(ElementTree.fromstring(render_svg(chart)), 0, 0))


def shown(chart: Chart) -> list[str]:
    return [text for text, _, _ in texts(chart)]


@pytest.mark.parametrize("name", CHARTS)
def test_everything_is_drawn_and_nothing_is_cut_off(name: str, tmp_path: Path) -> None:
    save_chart(CHARTS[name], tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        pixels = np.array(image.convert("L"))
    height, width = pixels.shape
    assert width <= 2 * 660
    assert 60 < height < 2 * 900
    assert (pixels < 200).any()
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()
    assert shown(CHARTS[name])


def test_a_chart_without_data_says_so() -> None:
    empty = {
        "no series",
        "empty series",
        "no bars",
        "bars without values",
        "no runs",
        "no axes",
        "no classes",
        "no images",
    }
    assert {name for name, chart in CHARTS.items() if shown(chart) == ["no data"]} == empty


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("interactive", [False, True])
def test_specifications_are_valid(name: str, interactive: bool, capfd: pytest.CaptureFixture[str]) -> None:
    spec = build_spec(CHARTS[name], interactive=interactive)
    json.dumps(spec, allow_nan=False)
    if "/vega/" in spec["$schema"]:
        for palette in (LIGHT, DARK):
            vl_convert.vega_to_svg({**spec, "config": make_config(palette)})
    else:
        vl_convert.vegalite_to_svg(spec, config=make_config(DARK), show_warnings=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_equal_charts_are_equal_files(suffix: str, tmp_path: Path) -> None:
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    for name, chart in CHARTS.items():
        save_chart(chart, one)
        save_chart(chart, other)
        assert one.read_bytes() == other.read_bytes(), name


def test_threads_draw_the_same() -> None:
    expected = render_svg(CHARTS["band"])
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(render_svg, [CHARTS["band"]] * 8)) == {expected}


def test_a_pdf_holds_its_font_and_only_pictures_are_pixels(tmp_path: Path) -> None:
    for name in ("lines", "bars", "parallel", "forty classes", "images"):
        save_chart(CHARTS[name], tmp_path / "chart.pdf")
        content = (tmp_path / "chart.pdf").read_bytes()
        assert content.startswith(b"%PDF")
        assert b"LiberationSans" in content
        assert b"Date" not in content
        assert content.count(b"/Subtype /Image") == (len(PICTURES) if name == "images" else 0), name


def test_texts_of_users_are_shown_as_they_are() -> None:
    for name in ("error bars", "bars", "dots", "step"):
        assert HOSTILE in shown(CHARTS[name]), name
    for name in ("images", "parallel", "probabilities"):  # in lines, or shortened
        assert "$x" in " ".join(shown(CHARTS[name])), name
    assert any("$a_$" in text for text in shown(CHARTS["confusion"]))


def test_unusual_letters_are_drawn() -> None:
    assert "a\U0001f389b µ ?" in shown(BarChart("a\U0001f389b\n µ \udc80", ["x"], [line("", 1)]))


def test_a_huge_name_is_shortened() -> None:
    chart = BarChart("x" * 1000, ["y" * 1000, "two words " * 100], [line("z" * 1000, 1, 2), line("", 1, 2)])
    assert max(map(len, shown(chart))) < 100


def test_a_legend_is_above_the_axes() -> None:
    for name, entry in {"step": "b", "dots": "y"}.items():
        heights = {text: y for text, _, y in texts(CHARTS[name])}
        assert heights.pop(entry) < min(y for text, y in heights.items() if text not in ("a", "x"))


def test_of_too_many_lines_there_is_no_legend() -> None:
    assert not [text for text in shown(CHARTS["many lines"]) if "quite a long name" in text]


def test_few_lines_that_end_apart_have_their_names_there() -> None:
    found = {text: x for text, x, _ in texts(CHARTS["lines"])}
    assert found["a"] == found["b"] > 500
    assert "role-legend" not in render_svg(CHARTS["lines"])
    together = LineChart("x", "y", [line("a", 3, 2, 1), line("b", 4, 3, 1.001)])
    assert "role-legend" in render_svg(together)


def test_equal_colors_are_told_apart_by_dashes_in_the_legend_too() -> None:
    lines = LineChart("x", "y", [line(f"line {i}", i, i + 1) for i in range(8)])
    dashed = [mark for mark in re.findall("<path [^>]*>", render_svg(lines)) if 'stroke-dasharray="6,3"' in mark]
    assert all(LIGHT.series[0] in mark for mark in dashed)
    assert sum("aria-label" in mark for mark in dashed) == 3  # the line and its two points
    assert sum("aria-label" not in mark for mark in dashed) == 1  # the legend


def test_a_line_through_few_points_shows_them() -> None:
    assert 'aria-roledescription="point"' in render_svg(CHARTS["one point"])


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    drawn = render_svg(LineChart("x", "y", [line("", *range(10), NAN, float("inf"), *range(10), 3, 4)]))
    (path,) = re.findall(r'aria-roledescription="line mark"[^>]* d="([^"]*)"', drawn)
    assert path.count("M") == 2
    assert "NaN" not in drawn


@pytest.mark.parametrize(("values", "kind"), [((1e-5, 0.1), "log"), ((0.1, 1), None), ((0, 1000), None)])
def test_an_axis_across_decades_is_logarithmic(values: tuple[float, float], kind: str | None) -> None:
    spec = build_spec(LineChart("x", "y", [Series("", [1, 2], values)]))
    assert spec["encoding"]["y"]["scale"].get("type") == kind
    spec = build_spec(LineChart("x", "y", [Series("", values, [1, 2])]))
    assert spec["encoding"]["x"]["scale"].get("type") == kind


def test_the_first_bar_is_on_top() -> None:
    heights = {text: y for text, _, y in texts(CHARTS["bars"])}
    assert heights["first"] < heights[HOSTILE] < heights["third"]


def test_the_reference_is_a_dashed_line() -> None:
    chart = CHARTS["dots"]
    assert isinstance(chart, BarChart)
    assert "stroke-dasharray" in render_svg(chart)
    assert "stroke-dasharray" not in render_svg(replace(chart, reference=None))


@pytest.mark.parametrize(("metric", "best"), [("val_accuracy", 80.0), ("val_loss", 0.5)])
def test_the_best_run_lies_on_top(metric: str, best: float) -> None:
    values = [40.0, best, NAN, 20.0]
    runs = build_spec(ParallelCoordinates([Axis("a", [1, 2, 3, 4]), Axis(metric, values)]))["data"][0]["values"]
    assert (runs[0]["run"], runs[-1]["run"]) == (2, 1)


def count_lines(chart: Chart) -> int:
    drawn = re.search("mark-path .*?</g>", render_svg(chart))
    assert drawn is not None
    return len(re.findall("<path [^>]*stroke-opacity", drawn[0]))


def test_all_runs_are_lines() -> None:
    assert count_lines(CHARTS["parallel"]) == 300
    assert count_lines(CHARTS["one run"]) == 1


def test_a_failed_run_does_not_squeeze_the_others() -> None:
    accuracy = [0.1, *np.linspace(0.8, 0.9, 21)]
    spec = build_spec(ParallelCoordinates([Axis("accuracy", accuracy)]))
    heights = {run["run"]: run["h"][0] for run in spec["data"][0]["values"]}
    assert heights[0] == 0
    assert 0.2 < heights[1] < 0.7
    assert heights[21] == 1
    assert any(text.startswith("1 of 22 runs") for text in shown(ParallelCoordinates([Axis("accuracy", accuracy)])))


def test_lines_of_a_category_are_spread_and_stay_near_it() -> None:
    axis = Axis("optimizer", [0, 1] * 50, ["sgd", "adam"])
    spec = build_spec(ParallelCoordinates([axis, Axis("a", range(100))]))
    heights = {run["run"]: run["h"][0] for run in spec["data"][0]["values"]}
    ticks = [tick["h"] for tick in spec["data"][1]["values"] if tick["axis"] == 0]
    assert len(set(heights.values())) == 100
    assert all(abs(heights[run] - ticks[run % 2]) < (ticks[1] - ticks[0]) / 4 for run in range(100))


def test_a_learning_rate_has_a_logarithmic_axis() -> None:
    rates = Axis("learning_rate", [1e-4, 1e-3, 1e-2])
    spec = build_spec(ParallelCoordinates([rates, Axis("accuracy", [1, 2, 3])]))
    assert [run["h"][0] for run in spec["data"][0]["values"]] == [0, 0.5, 1]


def test_counts_are_written_where_there_is_room() -> None:
    found = shown(CHARTS["confusion"])
    assert {"90", "7", "80", "9", "8", "70"} <= set(found)
    assert "0" not in found
    assert not any(text.isdigit() for text in shown(CHARTS["forty classes"]))


def test_one_per_cent_and_ten_per_cent_of_errors_look_different() -> None:
    confusion = ConfusionMatrix(["a", "b", "c"], [[89, 1, 10], [0, 100, 0], [0, 0, 0]], {})
    spec = build_spec(confusion)
    shades = {(cell["i"], cell["j"]): cell["shade"] for cell in spec["data"]["values"]}
    largest = spec["layer"][1]["encoding"]["color"]["scale"]["domain"][-1]
    assert shades[0, 0] == 0.89
    assert shades[0, 1] / largest > 0.3
    assert shades[0, 2] / largest == pytest.approx(1)


def test_the_largest_confusions_have_examples() -> None:
    words = " ".join(shown(CHARTS["confusion"]))
    positions = [
        words.index(part)
        for part in ("b predicted as c: 9 times", "c predicted as $a_$: 8 times", "$a_$ predicted as b: 7 times")
    ]
    assert positions == sorted(positions)
    assert render_svg(CHARTS["confusion"]).count("<image") == 3 + 1 + 1


def test_pictures_keep_their_pixels(tmp_path: Path) -> None:
    picture = encode_png(np.array([[1.0, 0.0], [0.0, 1.0]]))
    save_chart(ImageGrid([picture], [""], 1), tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        pixels = np.array(image.convert("L"))
    assert ((pixels == 0) | (pixels == 255)).mean() > 0.99  # not interpolated


def test_of_many_classes_the_likeliest_have_bars() -> None:
    values = [0.001] * 39 + [0.9]
    found = shown(ImageGrid(PICTURES[:1], ["a"], 2, [values], [f"class {i}" for i in range(40)]))
    assert "class 39" in found
    assert "90 %" in found
    assert sum(text.startswith("class") for text in found) == 10


def test_panels_stand_side_by_side(tmp_path: Path) -> None:
    save_spec(build_panels([CHARTS["lines"], CHARTS["band"]]), tmp_path / "panels.png")
    with Image.open(tmp_path / "panels.png") as image:
        width, height = image.size
    assert width > 1.5 * height
    save_spec(build_panels([CHARTS["lines"], CHARTS["band"]]), tmp_path / "panels.svg")
    drawn = (tmp_path / "panels.svg").read_text()
    assert drawn.count(">3</text>") >= 2  # the epochs
    assert "mean" in drawn
    assert width < 2 * 700


def test_save_refuses_what_it_cannot_write_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"\.pdf.*'chart\.gif'"):
        save_chart(CHARTS["lines"], tmp_path / "chart.gif")
    old = tmp_path / "chart.pdf"
    old.write_text("old")
    monkeypatch.setattr(Path, "write_bytes", lambda *_: os.close(-1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        save_chart(CHARTS["lines"], old)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


LIMITED = """
import resource
from chainrule.charts.chart import LineChart
from chainrule.charts.renderer import render_svg
from chainrule.core.errors import ConfigError

resource.setrlimit(resource.RLIMIT_AS, (20 * 2**30,) * 2)
try:
    render_svg(LineChart("x", "y", []))
except ConfigError as error:
    print(error)
"""
FORKED = """
import os
from chainrule.charts.chart import LineChart
from chainrule.charts.renderer import render_svg
from chainrule.core.errors import ConfigError

render_svg(LineChart("x", "y", []))
if os.fork():
    os.wait()
else:
    try:
        render_svg(LineChart("x", "y", []))
    except ConfigError as error:
        print(error)
"""


@pytest.mark.parametrize(("code", "facts"), [(LIMITED, ("20.0 GiB", "ulimit -v")), (FORKED, ("fork", "'spawn'"))])
def test_what_would_end_or_block_the_process_is_an_error(code: str, facts: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(fact in done.stdout for fact in facts)


def test_a_missing_renderer_is_reported_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match=r"vl_convert.*pip install 'chainrule\[train\]'"):
        renderer.check_renderer()
