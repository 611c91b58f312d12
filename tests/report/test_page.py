"""The HTML page in a real browser: interaction, narrow and dark screens, hostile names."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from chainrule.core.errors import ConfigError
from chainrule.report.html.page import write_page
from chainrule.report.section import Report, Section

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLASSES = ["Shirt", "Coat", "Bag"]
PICTURE = encode_png(np.eye(8))
MISSING = "\N{EN DASH}"
OTHER = encode_png(np.ones((8, 8)))


def charts(name: str = "name") -> dict[str, Chart]:
    """A chart of each kind, with `name` in each text."""
    return {
        "lines": LineChart(
            name,
            name,
            [
                Series(name, [1, 2, 3], [1.0, float("nan"), 2.0], low=[0, 1, 1], high=[2, 2, 3], notes=[name] * 3),
                Series(f"{name} 2", [1, 2], [1, 2], "points", low=[0, 1], high=[2, 3], notes=[name] * 2),
            ],
        ),
        "bars": BarChart(name, [name, f"{name} 2"], [Series(name, [], [1.0, 2.0], notes=[name] * 2)], reference=1.5),
        "points": BarChart(name, [name, "b"], [Series(name, [], [1, 2], low=[0, 1], high=[2, 3])], mark="points"),
        "parallel": ParallelCoordinates(
            [Axis(name, [0, 1, 0, 1], [name, "b"]), Axis(f"{name} 2", [0.1, 0.2, 0.3, 0.4])],
            ["run-0", "run-1", "run-2", "run-3"],
        ),
        "confusion": ConfusionMatrix(
            [name, *CLASSES[1:]],
            [[90, 8, 2], [12, 88, 0], [0, 1, 99]],
            {"0,1": [PICTURE], "1,0": [PICTURE, OTHER, OTHER]},
        ),
        "images": ImageGrid([PICTURE] * 2, [name] * 2, 2, [[0.2, 0.8, 0], [1, 0, float("nan")]], [name, *CLASSES[1:]]),
    }


RUNS: list[dict[str, Any]] = [
    {"run": "run-0", "optimizer": "adam", "epochs": 5, "accuracy": 0.88, "note": None},
    {"run": "run-1", "optimizer": "sgd", "epochs": 10, "accuracy": 0.8, "note": "a b"},
    {"run": "run-2", "optimizer": "adam", "epochs": 9, "accuracy": None, "note": "a=b"},
    {"run": "run-3", "optimizer": "nadam", "epochs": 1, "accuracy": 0.9, "note": None},
]


def sample(name: str = "name", runs: Any = RUNS) -> Report:
    drawn = charts(name)
    text = "\n\n".join(f"Before {name}.\n\n![Caption {name}](chart:{key})" for key in drawn)
    return Report(name, name, [Section(name, text, drawn)], runs)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield found
        found.close()


class Visit:
    """A page in the browser, with its errors and requests."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.page = browser.new_page(**settings)
        self.page.set_default_timeout(15_000)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(dialog.message), dialog.dismiss()))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def draw_all(self) -> None:
        """Draw also the charts below the viewport."""
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.page.wait_for_function(
            "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg.marks'))"
        )

    def first_column(self) -> list[str]:
        return list(self.page.locator("#table tbody td:first-child").all_text_contents())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(sample(), path)
    return path


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Visit]:
    """The sample report; after each test there must be no errors and no requests."""
    visit = Visit(browser, file)
    yield visit
    visit.page.close()
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith(("data:", "blob:"))] == [file.as_uri()]


def test_every_chart_is_drawn(visit: Visit) -> None:
    visit.draw_all()
    assert visit.page.locator(".plot").count() == 5
    # Lines and texts, not only empty drawings.
    for plot in visit.page.locator(".plot").all():
        assert plot.locator("svg text").count() > 0
        assert plot.locator("svg path[d*=L], svg path[aria-roledescription]").count() > 0
    assert visit.page.locator(".image img").count() == 2
    assert visit.page.locator(".image .largest").all_text_contents() == ["Coat", "", "80 %", "name", "", "100 %"]
    # No link that would send the data to somebody.
    links = visit.page.locator(".plot details a").all_text_contents()
    assert set(links) == {"Save as SVG", "Save as PNG"}
    loaded = "[...document.images].every((image) => image.complete && image.naturalWidth === 8)"
    assert visit.page.evaluate(loaded)


def test_the_point_nearest_to_the_pointer_is_described(visit: Visit) -> None:
    visit.draw_all()
    visit.page.locator(".LineChart .plot").hover()
    tooltip = visit.page.locator("#vg-tooltip-element.visible")
    keys, values = (tooltip.locator(f"td.{part}").all_text_contents() for part in ("key", "value"))
    assert [key.strip() for key in keys] == ["series", "name", "name", "note"]
    assert values == ["name 2", "2", "2", "name"]


def test_the_security_policy_blocks_requests_and_scripts(browser: Any, file: Path) -> None:
    visit = Visit(browser, file)
    visit.page.evaluate("new Image().src = 'http://127.0.0.1:9/x.png'")
    visit.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))")
    visit.page.wait_for_timeout(100)
    visit.page.close()
    assert len(visit.errors) == 2
    assert all("Content Security Policy" in complaint for complaint in visit.errors)


FILTERS = {
    "": "0123",
    "adam": "023",
    "ADAM run-2": "2",
    "optimizer=adam": "02",
    "optimizer!=adam": "13",
    "accuracy>0.85": "03",
    "accuracy >= 0.88  epochs<=5": "03",
    "epochs<9": "03",  # as texts, "10" < "9"
    "Epochs=10": "1",
    "accuracy=none": "2",
    'note="a b"': "1",
    '"a=b"': "2",
    "nothing": "",
}


def test_the_filter(visit: Visit) -> None:
    for text, expected in FILTERS.items():
        visit.page.fill("#filter", text)
        assert visit.first_column() == [f"run-{i}" for i in expected], text
        assert visit.page.inner_text("#shown") == f"{len(expected)} of 4 runs"
        assert visit.page.is_hidden("#filter-error"), text
    for text, problem in {
        "lr>1": "No column is named “lr”. The columns are: run, optimizer, epochs, accuracy, note.",
        "accuracy>": "“accuracy>” needs a value",
        "accuracy>high": "“high” is not a number",
    }.items():
        visit.page.fill("#filter", text)
        assert problem in visit.page.inner_text("#filter-error")
        assert len(visit.first_column()) == 4


def test_a_click_on_a_heading_sorts(visit: Visit) -> None:
    def sorted_by(name: str) -> str:
        visit.page.click(f"#table th button:text-is('{name}')")
        return "".join(cell[-1] for cell in visit.first_column())

    assert sorted_by("epochs") == "3021"
    assert visit.page.locator("#table th[aria-sort=ascending]").all_text_contents() == ["epochs"]
    assert sorted_by("epochs") == "1203"
    assert visit.page.locator("#table th[aria-sort=descending]").all_text_contents() == ["epochs"]
    assert sorted_by("accuracy") == "1032"  # what is missing comes last ...
    assert sorted_by("accuracy") == "3012"  # ... in both directions
    assert visit.page.locator("#table tbody td:nth-child(4)").all_text_contents() == ["0.90", "0.88", "0.80", MISSING]


def test_a_long_table_shows_its_first_rows_and_finds_the_others(browser: Any, tmp_path: Path) -> None:
    write_page(sample(runs=[{"run": f"run-{i}", "value": i / 7} for i in range(3000)]), tmp_path / "long.html")
    visit = Visit(browser, tmp_path / "long.html")
    assert len(visit.first_column()) == 200
    visit.page.fill("#filter", "run-2999")
    assert visit.first_column() == ["run-2999"]
    visit.page.fill("#filter", "")
    visit.page.click("#more")
    assert len(visit.first_column()) == 3000
    visit.page.close()


def test_brushing_an_axis_limits_the_table(visit: Visit) -> None:
    visit.draw_all()
    plot = visit.page.locator(".ParallelCoordinates .plot")
    plot.scroll_into_view_if_needed()
    # The axes are 300 pixels high; the values 0.2 and 0.3 lie at a third and two thirds of the second one.
    axes = [line.bounding_box() for line in plot.locator(".mark-rule line").all()]
    assert [axis["height"] for axis in axes] == pytest.approx([300, 300], abs=2)

    def drag(axis: dict[str, float], start: float, end: float) -> None:
        visit.page.mouse.move(axis["x"], axis["y"] + start)
        visit.page.mouse.down()
        visit.page.mouse.move(axis["x"] + 30, axis["y"] + end, steps=3)
        visit.page.mouse.up()

    drag(axes[1], 60, 240)
    assert visit.first_column() == ["run-1", "run-2"]
    drag(axes[0], 150, 310)  # also beyond its end
    assert visit.first_column() == ["run-2"]
    visit.page.mouse.click(axes[0]["x"], axes[0]["y"] + 150)  # a click removes the range
    assert visit.first_column() == ["run-1", "run-2"]
    visit.page.click("#theme")  # drawing anew keeps the brush
    visit.page.fill("#filter", "adam")
    assert visit.first_column() == ["run-2"]
    visit.page.click("#clear-brush")
    assert visit.first_column() == ["run-0", "run-2", "run-3"]
    assert visit.page.is_hidden("#clear-brush")


def test_a_cell_of_the_confusion_matrix_shows_its_examples(visit: Visit) -> None:
    visit.draw_all()
    description, images = visit.page.locator(".panel p").first, visit.page.locator(".panel img")
    assert description.inner_text() == "true Coat, predicted as name: 12 (12.0 %)"  # the largest confusion
    assert images.count() == 3
    plot = visit.page.locator(".ConfusionMatrix .plot")
    plot.scroll_into_view_if_needed()
    plot.locator(".mark-rect path").nth(3).wait_for()
    visit.page.get_by_text("8", exact=True).click()
    assert description.inner_text() == "true name, predicted as Coat: 8 (8.0 %)"
    assert images.count() == 1
    plot.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        visit.page.keyboard.press(key)
    assert description.inner_text() == "true Coat, predicted as Bag: 0 (0.0 %)"
    assert "No examples" in visit.page.inner_text(".panel")


def colors(page: Any) -> list[int]:
    """How light the page, its text, and a chart's text are, from 0 to 255."""
    return [
        sum(map(int, text.split("(")[1].rstrip(")").split(",")[:3])) // 3
        for text in page.evaluate(
            """() => {
                const [body, label] = [document.body, document.querySelector(".plot .role-axis-label text")].map(
                    (element) => getComputedStyle(element));
                return [body.backgroundColor, body.color, label.fill];
            }"""
        )
    ]


def test_light_and_dark(visit: Visit) -> None:
    visit.draw_all()
    # The system's choice, a change of it while the page is open, and the button, which has the last word.
    for act, dark in (
        (lambda: visit.page.emulate_media(color_scheme="dark"), True),
        (lambda: visit.page.emulate_media(color_scheme="light"), False),
        (lambda: visit.page.click("#theme"), True),
        (lambda: visit.page.emulate_media(color_scheme="dark"), True),
        (lambda: visit.page.click("#theme"), False),
    ):
        act()
        visit.page.wait_for_timeout(300)
        paper, ink, label = colors(visit.page)
        assert (paper < 60, ink > 200, label > 200) == (dark,) * 3
        assert (paper > 200, ink < 60, label < 60) == (not dark,) * 3
        assert visit.page.inner_text("#theme") == ("Light" if dark else "Dark")


def test_a_legend_is_complete_at_every_width(browser: Any, tmp_path: Path) -> None:
    names = ["finished", "pruned", "the best so far"]
    chart = LineChart("x", "y", [Series(name, [1, 2], [2, 1], mark="points") for name in names])
    write_page(Report("r", "", [Section("s", "![c](chart:c)", {"c": chart})]), tmp_path / "page.html")
    visit = Visit(browser, tmp_path / "page.html", viewport={"width": 1200, "height": 800})
    visit.draw_all()
    for width in (1200, 300, 1200):
        visit.page.set_viewport_size({"width": width, "height": 800})
        visit.page.wait_for_function(
            """width => {
              const box = document.querySelector(".plot svg").getBoundingClientRect();
              const labels = [...document.querySelectorAll(".plot .role-legend-label text")];
              return labels.length === 3 && (width === 1200) === (box.width > 600)
                && labels.every((label) => label.getBoundingClientRect().top >= box.top);
            }""",
            arg=width,
        )
    assert visit.errors == []
    visit.page.close()


def test_a_phone_scrolls_no_page_sideways(browser: Any, tmp_path: Path) -> None:
    long = "a_name_without_any_place_to_break_it_that_goes_on_and_on_and_on_and_on"
    runs = [{f"{long}_{i}": long for i in range(12)}]
    report = sample(long, runs)
    table = "| a | b |\n|---|---|\n" + f"| {long} | {long} |\n\n`{long}`\n\n    {long} {long}"
    write_page(
        Report(report.title, report.about, [*report.sections, Section(long, table)], runs), tmp_path / "phone.html"
    )
    visit = Visit(browser, tmp_path / "phone.html", viewport={"width": 380, "height": 800})
    visit.draw_all()
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 380
    visit.page.close()


HOSTILE = [
    "</script ><script>alert(1)</script>",  # ends a script even where each ">" is written otherwise
    "<img src=x onerror=alert(2)>",
    """'"><b onclick=alert(3)>{{ 7 * 7 }}</b> %{x} &lt; <!--""",
    "__proto__",
    "constructor",
]


def test_hostile_names_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    reports = [sample(name) for name in HOSTILE]
    runs = [dict.fromkeys(HOSTILE, name) for name in HOSTILE]
    sections = [section for report in reports for section in report.sections]
    write_page(Report("".join(HOSTILE), "".join(HOSTILE), sections, runs), tmp_path / "hostile.html")
    visit = Visit(browser, tmp_path / "hostile.html")
    visit.draw_all()
    page = visit.page
    assert [page.title(), page.text_content("h1"), page.text_content(".about")] == ["".join(HOSTILE)] * 3
    assert page.locator("nav a").all_text_contents() == [*HOSTILE, "Runs"]
    assert page.locator("#table th").all_text_contents() == HOSTILE
    assert page.locator("#table td:first-child").all_text_contents() == HOSTILE
    for name, section in zip(HOSTILE, page.locator("main section").all(), strict=False):
        assert section.locator("h2").text_content() == name
        assert section.locator("dt").first.text_content() == name
        assert section.locator(".image p").first.text_content() == name
        assert section.locator(".image img").first.get_attribute("alt") == name
        assert section.locator(".panel p").first.text_content() == f"true Coat, predicted as {name}: 12 (12.0 %)"
        for plot in section.locator(".plot").all():
            # Long labels are shortened, or stand on several lines, so without their spaces.
            shown = "".join("".join(plot.locator("svg text").all_text_contents()).split())
            assert "".join(name.split())[:15] in shown.replace("\N{ZERO WIDTH SPACE}", "")
        section.locator(".bars, .BarChart .mark-rect path").first.hover()
        assert (
            page.locator("#vg-tooltip-element.visible td.value").first.text_content().rstrip("\N{ZERO WIDTH SPACE}")
            == name
        )
    assert page.locator("main b, main img[src=x], main script, main a[href^=javascript]").count() == 0
    page.close()
    assert visit.errors == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [(tmp_path / "hostile.html").as_uri()]


def test_little_or_nothing_to_show(browser: Any, tmp_path: Path) -> None:
    nothing: dict[str, Chart] = {
        "a": LineChart("x", "y", []),
        "b": LineChart("x", "y", [Series("empty", [], [])]),
        "c": BarChart("x", [], []),
        "d": ParallelCoordinates([]),
        "e": ParallelCoordinates([Axis("a", [float("nan")])], ["run"]),
        "f": ConfusionMatrix([], [], {}),
        "g": ImageGrid([], []),
        "l": BarChart("x", ["a"], [Series("", [], [float("nan")])]),
    }
    little: dict[str, Chart] = {
        "h": LineChart("x", "y", [Series("", [1], [2.0])]),
        "i": ParallelCoordinates([Axis("a", [1.0]), Axis("b", [np.float32(2)])]),
        "j": ConfusionMatrix(["only"], [[0]], {}),
        "k": BarChart("x", ["a"], [Series("", [], [0.0])]),
    }
    text = "\n\n".join(f"![](chart:{key})" for key in nothing | little)
    runs = [{"run": "one", "value": float("inf"), "sizes": (64, np.int64(32)), "flag": True}]
    report = Report("Little", "", [Section("One", text, nothing | little), Section("Two", "")], runs)
    write_page(report, tmp_path / "little.html")
    write_page(Report("Nothing", "", []), tmp_path / "nothing.html")
    visit = Visit(browser, tmp_path / "little.html")
    visit.draw_all()
    assert visit.page.locator(".empty").count() == len(nothing)
    assert visit.page.locator(".plot").count() == len(little)
    assert visit.page.locator("#table td").all_text_contents() == ["one", MISSING, "[64, 32]", "true"]
    visit.page.goto((tmp_path / "nothing.html").as_uri())
    assert visit.page.locator("#table").count() == 0
    visit.page.close()
    assert visit.errors == []


def test_a_reference_to_a_missing_chart_is_an_error(tmp_path: Path) -> None:
    report = Report("r", "", [Section("Results", "![c](chart:curve)", {"curves": LineChart("x", "y", [])})])
    with pytest.raises(ValueError, match=r"'curve'.*: 'curves'"):
        write_page(report, tmp_path / "page.html")
    for text in ("- ![c](chart:curves)", "Here: ![c](chart:curves)"):
        with pytest.raises(ValueError, match="needs a paragraph of its own"):
            write_page(Report("r", "", [Section("s", text, report.sections[0].charts)]), tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_external_images_are_replaced_by_their_description(tmp_path: Path) -> None:
    text = "# Head\n\n![their *words* <b>](https://example.org/x.png) <img src='y.png'> [a](javascript:b)"
    write_page(Report("r", "", [Section("s", text)]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<p>their <em>words</em> &lt;b&gt; &lt;img" in page
    assert "<h3>Head</h3>" in page
    assert "x.png" not in page
    assert 'href="javascript' not in page


def test_a_missing_package_is_reported_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vl_convert", "jinja2", "markdown_it"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, name, None)
            with pytest.raises(ConfigError, match=r"pip install 'chainrule\[report\]'"):
                write_page(sample(), tmp_path / "page.html")
