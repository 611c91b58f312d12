"""The PDF: every construct of Markdown is shown, untrusted text is literal, nothing leaves the page, equal bytes."""
# ruff: noqa: RUF001  (ambiguous characters are the point)

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.charts.chart import BarChart, Chart, ImageGrid, LineChart, Series, encode_png
from chainrule.core.errors import ConfigError, OutputError
from chainrule.report.overview import escape_markdown
from chainrule.report.pdf import document
from chainrule.report.pdf.document import write_pdf
from chainrule.report.section import Report, Section

HOSTILE = '#read("/etc/passwd") #panic() 100% a&b #1 x_y ~ {o} } ] $a$ = b *c* _d_ `e` <i> @f \\u{41} // -- "end'
LINES = LineChart("epoch", "loss", [Series("a", [1, 2], [2, 1])])
BARS = BarChart("%", ["a"], [Series("", [], [1])])


def report(text: str, charts: dict[str, Chart] | None = None, **more: object) -> Report:
    return Report("Title", "about", [Section("Section", text, charts or {})], **more)  # type: ignore[arg-type]


def write(made: Report, folder: Path) -> pypdfium2.PdfDocument:
    write_pdf(made, folder / "Report.pdf")
    return pypdfium2.PdfDocument((folder / "Report.pdf").read_bytes())


def read_pages(pdf: pypdfium2.PdfDocument) -> list[str]:
    """The visible text of each page, with single spaces."""
    return [" ".join(page.get_textpage().get_text_range().split()) for page in pdf]


def read(pdf: pypdfium2.PdfDocument) -> str:
    return " ".join(read_pages(pdf))


def show(text: str, folder: Path, charts: dict[str, Chart] | None = None) -> str:
    """The visible text of a section."""
    return read(write(report(text, charts), folder)).removeprefix("Title about Section ").removesuffix(" 1")


def find_chars(pdf: pypdfium2.PdfDocument, char: str) -> list[tuple[float, float, float, float]]:
    """The boxes (left, bottom, right, top) of a character, in points."""
    found = []
    for page in pdf:
        text = page.get_textpage()
        for i in range(text.count_chars()):
            if text.get_text_range(i, 1) == char:
                found.append(text.get_charbox(i))
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a *b* **c** `d_e`", "a b c d_e"),
        ("- a\n- b\n  - c", "• a • b ‣ c"),
        ("3. a\n4. b", "3. a 4. b"),
        ("- [x] done", "• [x] done"),
        ("> said", "said"),
        ("[a](https://b.org/x_y?a=1&b=%20#c)", "a"),
        ("[a](javascript:alert)", "[a](javascript:alert)"),
        ("<b>x</b> <!-- y --> &amp; &copy;", "<b>x</b> <!-- y --> & ©"),
        ("```\na  b\n\n  c\n```", "a b c"),
        ("    a = 1", "a = 1"),
        ("a\\\nb", "a b"),
        ("a\n\n---\n\nb", "a b"),
        ("![a _b_](picture.png) c", "a b c"),
        (r"\$x\$, $5 and $6, a$b_c$1", "$x$, $5 and $6, a$b_c$1"),
        (r"$\input{x}$ $x_a_b$", r"$\input{x}$ $x_a_b$"),
        ("| a | b |\n|--|--|\n| 1 | *2* |", "a b 1 2"),
        ("é ñ ß ± → ≤ € – “x” 'y' --", "é ñ ß ± → ≤ € – “x” 'y' --"),
    ],
)
def test_every_construct_is_shown(text: str, shown: str, tmp_path: Path) -> None:
    assert show(text, tmp_path) == shown


def test_emphasis_code_and_headings_have_fonts_of_their_own(tmp_path: Path) -> None:
    content = "plain"
    used = {}
    for name, text in {
        "plain": content,
        "em": f"*{content}*",
        "strong": f"**{content}**",
        "code": f"`{content}`",
    }.items():
        page = write(Report("", "", [Section("", text)]), tmp_path)[0]
        fonts = {item.get_font().get_base_name() for item in page.get_objects() if hasattr(item, "get_font")}
        used[name] = " ".join(fonts)
    assert "Italic" in used["em"]
    assert "Bold" in used["strong"]
    assert "Mono" in used["code"]
    assert not any(word in used["plain"] for word in ("Italic", "Mono"))


def test_the_outline_has_sections_and_headings(tmp_path: Path) -> None:
    pdf = write(report("# One\n## Two `x_y` $z$\n### Three", runs=[{"run": "a"}]), tmp_path)
    found = [(item.level, item.get_title()) for item in pdf.get_toc()]
    assert found == [(0, "Section"), (1, "One"), (2, "Two x_y z"), (3, "Three"), (0, "Runs")]
    assert pdf.get_metadata_value("Title") == "Title"


def test_more_than_five_sections_have_a_table_of_contents(tmp_path: Path) -> None:
    for count in (5, 6):
        made = Report("Title", "about", [Section(f"Section {i}", "text") for i in range(count)])
        text = read(write(made, tmp_path))
        assert ("Contents" in text) == (count == 6)
        assert text.count("Section 3") == (2 if count == 6 else 1)


def test_links_lead_to_pages_of_the_web_and_to_sections(tmp_path: Path) -> None:
    links = ["https://b.org/x_y?a=1&b=%20#c", "http://c.org", "mailto:a@b.org", "HTTPS://d.org"]
    refused = ["ftp://e.org", "runs/f.json", "file:///etc/passwd", "#section-0", "#section-3", "#section-1a", "#g"]
    text = " ".join(f"[a](<{link}>)" for link in [*links, *refused, "#section-2"])
    write_pdf(Report("", "", [Section("One", text), Section("Two", "")]), tmp_path / "Report.pdf")
    content = (tmp_path / "Report.pdf").read_bytes()
    assert re.findall(rb"/URI ?\((.*?)\)", content) == [link.encode() for link in links]
    assert content.count(b"/Subtype/Link") == len(links) + 1


def test_formulas_are_set(tmp_path: Path) -> None:
    text = show(
        r"$x_1$ and $$\frac{a}{b} = \sum_{i=1}^n \sqrt{\mathbf{z}_i}$$ $\text{if }\alpha \leq \max_k f$", tmp_path
    )
    shown = unicodedata.normalize("NFKC", text)
    assert "$" not in shown
    assert "\\" not in shown
    assert {"x", "a", "b", "∑", "z", "n", "α", "≤"} <= set(shown)
    assert "if" in shown
    assert "max" in shown


def test_a_displayed_formula_has_a_line_of_its_own(tmp_path: Path) -> None:
    middle = 595.3 / 2
    ((left, _, right, _),) = find_chars(write(report(r"a $$\prod$$ b"), tmp_path), "∏")
    assert left < middle < right
    ((left, *_),) = find_chars(write(report(r"a $\prod$ b"), tmp_path), "∏")
    assert left < 100


def test_charts_are_numbered_figures_where_the_text_refers_to_them(tmp_path: Path) -> None:
    text = "Before.\n\n![The *loss* of 100 %](chart:loss)\n\nAfter.\n\n![Bars](chart:bars)"
    made = report(text, {"bars": BARS, "loss": LINES, "not shown": BARS})
    pdf = write(made, tmp_path)
    shown = read(pdf)
    words = ["Before.", "epoch", "Figure 1: The loss of 100 %", "After.", "Figure 2: Bars"]
    assert [shown.index(word) for word in words] == sorted(shown.index(word) for word in words)
    content = (tmp_path / "Report.pdf").read_bytes()
    assert b"/Alt(The loss of 100 %)" in content.replace(b"/Alt (", b"/Alt(")
    assert show("no chart", tmp_path, {"loss": LINES}) == "no chart"


def test_names_of_charts_cannot_leave_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    save = document.save_chart
    monkeypatch.setattr(document, "save_chart", lambda chart, file: (written.append(file), save(chart, file)))
    names = ["../../x", "/x", 'a"b', "#x", "a b", "é"]
    text = "\n\n".join(f"![{i}](<chart:{name}>)" for i, name in enumerate(names))
    shown = show(text, tmp_path, dict.fromkeys(names, BARS))
    assert all(f"Figure {i + 1}: {i}" in shown for i in range(len(names)))
    assert len({file.name for file in written}) == len(names)
    assert len({file.parent for file in written}) == 1
    assert [file.name for file in tmp_path.rglob("*")] == ["Report.pdf"]
    assert not written[0].parent.exists()  # temporary


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("![a](chart:los)", "'los'.*: 'loss'"),
        ("a ![b](chart:loss)", "paragraph of its own"),
        ("- ![b](chart:loss)", "paragraph of its own"),
        ("| ![b](chart:loss) |\n|--|", "paragraph of its own"),
    ],
)
def test_a_chart_that_cannot_be_shown_is_an_error(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        write_pdf(report(text, {"loss": LINES}), tmp_path / "Report.pdf")
    assert list(tmp_path.iterdir()) == []


def rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "run": f"run-{i:03}-{'x' * 40}-{i:03}",
            "status": "finished" if i % 2 else "failed",
            "val_accuracy": None if i == 0 else float("nan") if i == 1 else i / 1000,
            "optimizer": "adam" if i % 2 else "a_b&c",
            "same": "everywhere",
        }
        for i in range(count)
    ]


def test_the_best_twenty_runs_are_listed(tmp_path: Path) -> None:
    table = read(write(report("", runs=rows(300)), tmp_path)).partition("Runs ")[2]
    assert all(word in table for word in ("best", "20 of 300", "validation accuracy", "HTML page"))
    assert "run val accuracy optimizer" in table
    assert [float(value) for value in re.findall(r" (0\.\d{4}) ", table)] == [i / 1000 for i in range(299, 279, -1)]
    assert "run-299-…" in table
    assert "-299 0.2990 adam" in table
    assert "a_b&c" in table
    assert "everywhere" not in table
    assert "failed" not in table


def test_few_runs_are_all_listed_and_those_without_a_result_come_last(tmp_path: Path) -> None:
    table = read(write(report("", runs=rows(4)), tmp_path))
    assert "All 4 runs" in table
    assert table.index(" 0.0030 ") < table.index(" 0.0020 ") < table.index(" – ")
    assert "Runs" not in read(write(report(""), tmp_path))
    table = read(write(report("", runs=[{"run": f"run {i}", "loss": i} for i in range(30)]), tmp_path))
    assert "20 of 30 runs" in table
    assert "best" not in table
    assert "run 19" in table
    assert "run 20" not in table


def test_hostile_texts_are_shown_as_they_are_in_every_field(tmp_path: Path) -> None:
    fence = "~" * 9
    text = "\n\n".join(
        [
            escape_markdown(HOSTILE),
            f"{fence}\n{HOSTILE}\n{fence}",
            f"``{HOSTILE}``",
            f"| {escape_markdown(HOSTILE)} |\n|--|\n| {escape_markdown(HOSTILE)} |",
            f"# {escape_markdown(HOSTILE)}",
            f"[{escape_markdown(HOSTILE)}](https://a.org/)](#%22%5C)",
            f"![{escape_markdown(HOSTILE)}](chart:a)",
            "".join(f"{'  ' * i}- deep {i}\n" for i in range(9)) + "\n" + "> " * 9 + "quoted",
        ]
    )
    chart = LineChart("x", "y", [Series("a", [1, 2], [1, 2])])
    made = Report(
        HOSTILE,
        HOSTILE,
        [Section(HOSTILE, text, {"a": chart}), *[Section(HOSTILE, "")] * 5],
        [{"run": '#read("a") ] "\\', HOSTILE: i, "optimizer": f"{i} #panic() $x$"} for i in range(3)],
    )
    shown = re.sub(r"\s", "", read(write(made, tmp_path)))
    assert "root:" not in shown
    # Title, about, six sections twice, and eight places in the text.
    assert shown.replace("\ufffe", "").count(re.sub(r"\s", "", HOSTILE)) == 2 + 2 * 6 + 8
    assert shown.count('#read("a")]"\\') == 3
    assert "2#panic()$x$" in shown


# A mark that no font has hides the letter before it.
_CHARACTERS = st.characters(exclude_characters="\r\n", exclude_categories=["Mn", "Mc", "Me"])


@settings(max_examples=50, deadline=None)
@given(st.text(_CHARACTERS, min_size=1, max_size=20))
def test_any_text_compiles_and_its_letters_are_shown(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()

    def count(content: str) -> Counter[str]:
        fence = "~" * 30
        body = f"x {escape_markdown(content)}\n\n{fence}\n{content}\n{fence}\n"
        made = Report(content, content, [Section(content, body)], [{"run": content}])
        shown = read(write(made, folder)).replace("\ufffe", "-")  # PDFium's sign for hyphens at line ends
        return count_ascii(unicodedata.normalize("NFKD", shown))

    def count_ascii(content: str) -> Counter[str]:
        return Counter(c for c in content if "!" <= c <= "~")

    shown = count(text)
    shown.subtract(count(" "))
    # Glyphs of other letters may contain ASCII: a ligature, a letter with an accent.
    assert +shown >= Counter({c: 6 * n for c, n in count_ascii(text).items()})


@pytest.mark.parametrize(
    "text", ["\x00\x1b[0m", "\ud800", "\ufffe", "\u202e", "漢字", "\U0001f389", "e\u0301", "مرحبا"]
)
def test_characters_without_a_glyph_are_no_error(text: str, tmp_path: Path) -> None:
    made = Report(f"a{text}z", text, [Section(text, f"{text} `{text}` $x{text}$")], [{"run": text, text: 1}])
    shown = read(write(made, tmp_path))
    assert shown.startswith("a")
    assert "z" in shown
    assert "\x1b" not in shown


def test_nothing_leaves_the_page(tmp_path: Path) -> None:
    many = "|".join(f"column {i}" for i in range(16))
    words = "several words that need room " * 5
    text = f"|{many}|\n|{'--|' * 16}\n|{many}|\n\n| a | b | c |\n|--|--|--|\n| {words} | {'x' * 200} | {words} |\n\n"
    text += f"`{'path/' * 60}` {'y' * 300}\n\n```\n{'z ' * 200}{'z' * 200}\n```\n\n# {'h' * 150}\n\n"
    text += "|" + "--------------|" * 30 + "\n" + "|--" * 30 + "|\n\n"
    text += "| i | words |\n|--|--|\n" + f"| 1 | {words * 9} |\n" * 30
    pdf = write(report(text, runs=rows(30)), tmp_path)
    boxes = []
    for page in pdf:
        content = page.get_textpage()
        boxes += [content.get_charbox(i) for i in range(content.count_chars())]
    boxes = [box for box in boxes if box[2] > box[0]]
    assert len(boxes) > 5000
    margin = (210 - 165.2) / 2 / 25.4 * 72 - 4  # points; a letter may hang out a little
    for left, bottom, right, top in boxes:
        assert left > margin
        assert right < 595.3 - margin
        assert bottom > 20
        assert top < 822


def test_columns_do_not_overlap_and_have_their_alignments(tmp_path: Path) -> None:
    long = "word " * 60
    text = f"| Ä | {long} | Ö |\n|:--|--|--:|\n| {'a' * 40} | {long} | 1 |\n| ä | Ü | ö |"
    pdf = write(report(text), tmp_path)
    (first,), (second,), (third,) = (find_chars(pdf, c) for c in "äÜö")
    assert first[0] == pytest.approx(find_chars(pdf, "Ä")[0][0], abs=1)
    assert third[2] == pytest.approx(find_chars(pdf, "Ö")[0][2], abs=1)
    assert max(box[2] for box in find_chars(pdf, "a") if box[1] < find_chars(pdf, "Ä")[0][1]) < second[0]
    assert max(box[2] for box in find_chars(pdf, "w")) < third[0]


def test_a_long_table_repeats_its_head_and_a_short_one_is_not_broken(tmp_path: Path) -> None:
    pages = read_pages(write(report("| head |\n|--|\n" + "| row |\n" * 150), tmp_path))
    assert len(pages) > 1
    assert all(page.count("head") == 1 for page in pages)
    assert sum(page.count("row") for page in pages) == 150
    table = "| head |\n|--|\n" + "| row |\n" * 12
    for lines in range(30, 60, 4):
        pages = read_pages(write(report("line\\\n" * lines + "end\n\n" + table), tmp_path))
        assert sorted(page.count("row") for page in pages)[-1] == 12


def test_equal_reports_are_equal_files_and_nothing_else_is_left(tmp_path: Path) -> None:
    charts = {
        "loss": LINES,
        "bars": BARS,
        "grid": ImageGrid([encode_png(np.eye(8) / i) for i in range(1, 8)], "1234567"),
    }
    made = report("\n\n".join(f"![a](chart:{name})" for name in charts) + "\n\n $x$", charts, runs=rows(3))
    folders = [tmp_path / "one", tmp_path / 'an other #x_1 ~% {"']
    for folder in folders:
        folder.mkdir()
        write_pdf(made, folder / "Report.pdf")
        assert [file.name for file in folder.iterdir()] == ["Report.pdf"]
    one, other = ((folder / "Report.pdf").read_bytes() for folder in folders)
    assert one == other
    assert b"CreationDate" not in one
    assert b"CreateDate" not in one


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("#nothing", "unknown variable: nothing"),
        ('#read("/etc/passwd")', "not found"),
        ('#read("../secret.txt")', "escape|access|outside"),
    ],
)
def test_a_failure_is_reported_and_the_old_file_is_kept(
    source: str, fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(document, "_build_document", lambda *_: source)
    target = tmp_path / "Report.pdf"
    target.write_text("old")
    with pytest.raises(OutputError, match=rf"{re.escape(str(target))}.*({fact})"):
        write_pdf(report("a"), target)
    assert target.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["Report.pdf", "secret.txt"]


@pytest.mark.parametrize("name", ["typst", "markdown_it", "latex2mathml.converter"])
def test_missing_packages_are_reported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"{name.partition('.')[0]}.*pip install 'chainrule\[report\]'"):
        write_pdf(report("$a$"), tmp_path / "Report.pdf")
