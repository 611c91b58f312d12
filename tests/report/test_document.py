"""The PDF report: Markdown becomes LaTeX, untrusted text cannot run TeX commands, and the PDF is deterministic."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.charts.chart import BarChart, Chart, LineChart, Series
from chainrule.core.errors import ConfigError, OutputError
from chainrule.report.pdf.document import compile_pdf, write_document
from chainrule.report.pdf.latex import escape_bookmark, escape_latex, format_code, sanitize_formula
from chainrule.report.pdf.markdown_to_latex import convert_markdown
from chainrule.report.pdf.unicode_to_latex import encode_character
from chainrule.report.section import Report, Section

HOSTILE = (
    r"\input{/etc/passwd} \write18{id} 100% a&b #1 x_y ^^5c ~ {o} } $a$ $\def\x{1}$ -- '' <i> | \end{document} end"
)
LINES = LineChart("epoch", "loss", [Series("a", [1, 2], [2, 1])])
BARS = BarChart("%", ["a"], [Series("", [], [1])])


def report(text: str, charts: dict[str, Chart] | None = None, **more: object) -> Report:
    return Report("Title", "about", [Section("Section", text, charts or {})], **more)  # type: ignore[arg-type]


def pdf_text(pdf: Path, *options: str) -> str:
    """The visible text, with single spaces."""
    done = subprocess.run(["pdftotext", *options, str(pdf), "-"], check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split())


def plain(text: str) -> str:
    """Text without characters that TeX sets differently from how they were typed."""
    signs = {"\u2019": "'", "\u02c6": "^", "\u02dc": "~", "\u223c": "~", "\u00ad": "-", "\u2010": "-"}
    for set_as, typed in signs.items():
        text = text.replace(set_as, typed)
    return re.sub(r"[\s_]", "", text)  # without Latin Modern, TeX draws "_" as a line


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a *b* **c** `d_e`", r"a \emph{b} \textbf{c} \texttt{d\_e}"),
        ("# One\n## Two\n#### Four", "\\subsection{"),
        ("- a\n- b", "\\begin{itemize}\n\\compactlist\n\\item a\n\\item b\n\\end{itemize}"),
        ("3. a\n4. b", "\\begin{enumerate}\n\\compactlist\\startat{2}\n\\item a\n\\item b\n\\end{enumerate}"),
        ("- [x] done", r"\item {[}x{]} done"),
        ("> said", "\\begin{quote}\nsaid\n\n\\end{quote}"),
        ("[a](https://b.org/x_y?a=1&b=%20#c)", r"\href{https://b.org/x\_y?a=1\&b=\%20\#c}{a}"),
        ("[a](runs/b.json) [b](ftp://c)", "a b\n"),
        ("[a](javascript:alert)", "{[}a{]}(javascript:alert)"),
        ("<b>x</b>", r"\textless{}b\textgreater{}x\textless{}/b\textgreater{}"),
        ("```\na  b\n\n  c\n```", "\\begin{code}\na~ b\\par\n\\mbox{}\\par\n~~c\\par\n\\end{code}"),
        ("a\\\nb", r"a\newline{}b"),
        ("---", r"\hrulefill"),
        ("![a _b_](picture.png) c", r"a \emph{b} c"),
        ("$x_1$ and $$\\frac{a}{b}$$", r"$x_1$ and \[ \frac{a}{b} \]"),
        (r"\$x\$, $5 and $6, a$b_c$1", r"\$x\$,{} \$5 and \$6,{} a\$b\_c\$1"),
        ("| $$x$$ |\n|---|", r"\textbf{$\displaystyle x$}"),
        (r"$\input{x}$ $x_a_b$", r"\$\textbackslash{}input\{x\}\$ \$x\_a\_b\$"),
    ],
)
def test_markdown_becomes_latex(text: str, latex: str) -> None:
    assert latex in convert_markdown(text, {})


def test_headings_have_levels_below_the_section() -> None:
    found = convert_markdown("# One\n## Two\n### Three $x$", {})
    assert re.findall(r"\\(\w+)\{\\texorpdfstring", found) == ["subsection", "subsubsection", "paragraph"]
    assert r"\texorpdfstring{Three $x$}{Three x}" in found


def test_a_table_keeps_its_alignments() -> None:
    found = convert_markdown("| a | b | c |\n|:--|:-:|--:|\n| 1 | *2* | a_b |", {})
    assert r"\begin{tabular}{@{}lcr@{}}" in found
    assert r"1 & \emph{2} & a\_b \\" in found
    assert re.findall(r"\\(\w+rule)", found) == ["toprule", "midrule", "bottomrule"]


def test_a_table_that_is_too_wide_has_columns_that_wrap() -> None:
    words = "many words " * 12
    found = convert_markdown(f"| a | b | c |\n|--|--|--:|\n| 1 | {words} | {words} |", {})
    shares = [float(share) for share in re.findall(r"p\{([\d.]+)\\linewidth\}", found)]
    assert len(shares) == 2
    assert sum(shares) < 0.95
    assert r"\begin{longtable}" in convert_markdown("| a |\n|--|\n" + "| 1 |\n" * 30, {})


@pytest.mark.parametrize(
    "text", [r"\frac{1}{2}", "x_i^2", r"\begin{cases} a & b \\ c & d \end{cases}", "x_{a}^{b}", " a "]
)
def test_formulas_pass(text: str) -> None:
    assert sanitize_formula(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *("", "a%b", "a#", "a$b", "a~", "é", "^^5c", "{", "}{", "a}", "x_", "x^_", "x_a_b", "x^{a}^{b}", "a & b"),
        *(r"\input x", r"\write18{id}", r"\def\x{}", r"\begin{document}", r"\begin{cases}", r"\begin", r"\left( x"),
        *("a\n\nb", "\\", r"\csname x\endcsname", r"\catcode", r"\loop", r"\\", r"\text{\input x}", r"\end{document}"),
    ],
)  # fmt: skip
def test_what_is_not_a_harmless_formula_is_text(text: str) -> None:
    assert sanitize_formula(text) is None


def test_every_character_has_a_harmless_form() -> None:
    for number in range(0x3100):
        form = encode_character(chr(number))
        assert form.isascii(), hex(number)
        assert form.isprintable(), hex(number)
    assert (
        encode_character("漢")
        == encode_character("\U0001f389")
        == encode_character("\x1b")
        == encode_character("\ud800")
        == "?"
    )
    assert encode_character("\ufe0f") == encode_character("\u200d") == ""
    assert escape_latex("é ï ñ ß ±") == r"{\'e} {\"\i} {\~n} {\ss} {\ensuremath{\pm}}"
    assert escape_latex("e\u0301") == r"{\'e}"
    assert escape_bookmark("é_→x $") == r"e\_x \$"


def test_long_words_can_be_broken_and_short_ones_cannot() -> None:
    assert r"\allowbreak" not in escape_latex("a_b_c")
    assert escape_latex("a" * 30).count(r"\allowbreak") >= 3
    assert r"\_\allowbreak{}" in escape_latex("a_" * 15)
    assert format_code("\tx") == "~~~~x\\par\n"


def test_charts_are_inserted_where_the_text_refers_to_them(tmp_path: Path) -> None:
    text = "Before.\n\n![The *loss* of 100 %](chart:loss)\n\nAfter."
    tex = write_document(report(text, {"loss": LINES, "not shown": BARS}), tmp_path / "new" / "folder")
    content = tex.read_text()
    assert tex == tmp_path / "new" / "folder" / "report.tex"
    assert content.index("Before") < content.index("includegraphics") < content.index("After")
    assert r"\captionof{figure}{The \emph{loss} of 100 \%}\label{fig:01-01-loss}" in content
    assert [file.name for file in (tex.parent / "charts").iterdir()] == ["01-01-loss.pdf"]


def test_names_of_charts_cannot_leave_their_folder(tmp_path: Path) -> None:
    names = ["../../x", "..//..//x", r"\input{x}", "a b"]
    text = "\n\n".join(f"![]({'<'}chart:{name}{'>'})" for name in names)
    text = text.replace(r"\input", r"\\input")
    write_document(report(text, dict.fromkeys(names, BARS)), tmp_path)
    found = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.pdf"))
    assert found == [f"charts/01-0{i}-{slug}.pdf" for i, slug in enumerate(["x", "x", "input-x", "a-b"], start=1)]


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
        write_document(report(text, {"loss": LINES}), tmp_path)


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
    content = write_document(report("", runs=rows(300)), tmp_path).read_text()
    table = content[content.index(r"\section{Runs}") :]
    assert "The best 20 of 300 runs by validation accuracy. The HTML page has every run" in table
    found = [float(value) for value in re.findall(r"& (0\.\d{4}) &", table)]
    assert found == [i / 1000 for i in range(299, 279, -1)]
    assert r"a\_b\&c" in table
    assert "everywhere" not in table
    assert "failed" not in table


def test_few_runs_are_all_listed_and_those_without_a_result_come_last(tmp_path: Path) -> None:
    content = write_document(report("", runs=rows(4)), tmp_path).read_text()
    assert "All 4 runs, the best by validation accuracy first." in content
    assert content.index("& 0.0030") < content.index("& 0.0020") < content.index("& --{}")
    assert r"\section{Runs}" not in write_document(report(""), tmp_path).read_text()
    unscored = [{"run": f"run {i}", "loss": i} for i in range(30)]
    content = write_document(report("", runs=unscored), tmp_path).read_text()
    assert "The first runs." in content
    assert "run 19" in content
    assert "run 20" not in content


@pytest.mark.latex
def test_hostile_texts_are_shown_as_they_are_in_every_field(tmp_path: Path) -> None:
    signs = "".join(chr(i) for i in range(0x20, 0x2400) if chr(i).isprintable() and chr(i) not in "[]()!`*_<>$\\")
    fenced = f"```\n{HOSTILE}\n\\end{{code}}\n```"
    ticks = HOSTILE.replace("|", r"\|")
    cells = f"| `{ticks}` | b |\n|--|--|\n| `{ticks}` | [c] |"
    deep = "".join(f"{'  ' * i}- deep {i}\n" for i in range(9)) + "\n" + "> " * 9 + "quoted"
    maths = r"$$ \begin{aligned} a &= \frac{1}{\sqrt{x_1}} \\ b &= \mathbf{y}^2 \end{aligned} $$"
    text = "\n\n".join([f"`{HOSTILE}`", fenced, cells, deep, maths, signs, f"# `{HOSTILE}` $x^2$"])
    text += f"\n\n![`{HOSTILE}` $$x$$ [a](https://b.org/%7B_#x~)](chart:a)"
    chart = LineChart(HOSTILE, HOSTILE, [Series(HOSTILE, [1, 2], [1, 2])])
    made = Report(
        f"Title {HOSTILE}",
        f"About {HOSTILE}",
        [Section(HOSTILE, text, {"a": chart}), *[Section(HOSTILE, "")] * 5],
        [{"run": HOSTILE, HOSTILE: i, "optimizer": rf"{i} $\input{{a}}$ % & \\"} for i in range(3)],
    )
    found = plain(pdf_text(compile_pdf(write_document(made, tmp_path)), "-layout"))
    assert "root:" not in found
    shown = plain(pdf_text(tmp_path / "Report.pdf", "-raw"))
    expected = plain(HOSTILE)
    # Title, about, six headings and their lines of contents; where a text is broken, the two ways of reading differ.
    assert max(shown.count(expected), found.count(expected)) >= 2 + 6 + 6
    assert plain(r"$\input{a}$ % & \\") in shown


@pytest.mark.latex
def test_equal_reports_are_equal_files_and_nothing_else_is_left(tmp_path: Path) -> None:
    made = report("![a](chart:loss)", {"loss": LINES}, runs=rows(3))
    folders = [tmp_path / "one", tmp_path / "an other $x_1 #~% {"]
    one, other = (compile_pdf(write_document(made, folder)) for folder in folders)
    assert one.read_bytes() == other.read_bytes()
    assert one == tmp_path / "one" / "Report.pdf"
    assert sorted(file.name for file in one.parent.iterdir()) == ["Report.pdf", "charts", "report.tex"]
    assert b"CreationDate" not in one.read_bytes()


@pytest.mark.latex
def test_nothing_leaves_the_page(tmp_path: Path) -> None:
    many = "|".join(f"column {i}" for i in range(16))
    words = "several words that need room " * 5
    text = f"|{many}|\n|{'--|' * 16}\n|{many}|\n\n| a | b | c |\n|--|--|--|\n| {words} | {'x' * 200} | {words} |\n\n"
    text += f"`{'path/' * 60}` {'y' * 300}\n\n```\n{'z ' * 200}{'z' * 200}\n```\n\n# {'h' * 150}\n\n"
    text += "| i | words |\n|--|--|\n" + f"| 1 | {words} |\n" * 60
    pdf = compile_pdf(write_document(report(text, runs=rows(30)), tmp_path))
    boxes = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    positions = re.findall(r'xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.]+)" yMax="([\d.]+)"', boxes)
    assert len(positions) > 100
    margin = (8.27 - 6.5) / 2 * 72 - 4  # points; a letter may hang out a little
    for left, top, right, bottom in (map(float, position) for position in positions):
        assert left > margin
        assert right < 595.3 - margin
        assert top > 20
        assert bottom < 820


@pytest.mark.latex
def test_a_failure_is_reported_and_its_log_kept_until_it_is_fixed(tmp_path: Path) -> None:
    tex = write_document(report("a"), tmp_path)
    good = tex.read_text()
    tex.write_text(good.replace(r"\end{document}", "\\undefinedthing\n\\end{document}"))
    with pytest.raises(OutputError, match=r"Undefined control sequence\. l\.\d+ \\undefinedthing") as caught:
        compile_pdf(tex)
    log = tmp_path / "report.log"
    assert str(log) in str(caught.value)
    assert "Undefined control sequence" in log.read_text()
    assert not (tmp_path / "Report.pdf").exists()
    tex.write_text(good)
    compile_pdf(tex)
    assert not log.exists()


@pytest.mark.latex
def test_not_even_a_changed_document_reads_files_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.tex"
    secret.write_text("the secret")
    tex = write_document(report("a"), tmp_path / "report")
    tex.write_text(tex.read_text().replace(r"\end{document}", f"\\input{{{secret}}}\n\\end{{document}}"))
    with pytest.raises(OutputError):
        compile_pdf(tex)


def test_missing_programs_and_packages_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tex = write_document(report("a"), tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(ConfigError, match="apt-get install latexmk texlive-latex-recommended"):
            compile_pdf(tex)
    for name in ("jinja2", "markdown_it"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ConfigError, match=rf"{name}.*pip install 'chainrule\[report\]'"):
                write_document(report("a"), tmp_path)
