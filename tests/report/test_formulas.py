"""Formulas: LaTeX becomes MathML that holds nothing but mathematics, and Typst; a browser shows it."""
# ruff: noqa: RUF001  (ambiguous characters are the point)

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
import typst
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chainrule.report.formulas import parse_formula
from chainrule.report.html.page import write_page
from chainrule.report.markdown import new_markdown_parser
from chainrule.report.pdf.mathml_to_typst import convert_formula
from chainrule.report.section import Report, Section

# A formula, words of its MathML, words of its Typst.
FORMULAS = {
    r"x_i^2": ("msubsup", "math.attach"),
    r"\frac{1}{2}": ("mfrac", "math.frac"),
    r"\sqrt{x}": ("msqrt", "math.sqrt"),
    r"\sqrt[3]{x}": ("mroot", "math.root"),
    r"\hat{x} \bar{y} \vec z \dot a \tilde b": ("mover", "math.accent"),
    r"\overline{ab} \underline{c}": ("munder", "math.underline"),
    r"\underbrace{a+b}_{n}": ("munder", "math.underbrace"),
    r"\sum_{i=1}^n x_i": ("∑", "math.attach"),
    r"\max_k f": ("munder", "limits: true"),
    r"\operatorname{softmax}(z)": ("softmax", 'math.op("softmax"'),
    r"\log \left( \frac{a}{b} \right)": ("fence", "math.lr"),
    r"\bigl( x \bigr)": ("minsize", "size: 1.2em"),
    r"\text{if } x": ("mtext", "if"),
    r"\mathrm{d}x": ("normal", "math.upright"),
    r"\boldsymbol{\theta}": ("bold", "math.bold"),
    r"\mathbf{W}^{(l)}": ("𝐖", "𝐖"),
    r"\mathbb{R} \mathcal{L}": ("ℝ", "ℝ"),
    r"\begin{cases} a & b \\ c & d \end{cases}": ("mtable", "math.mat"),
    r"\begin{aligned} a &= b \\ c &= d \end{aligned}": ("text-align: right", "align-point"),
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}": ("mtable", "math.lr"),
    r"\begin{matrix} 1 \end{matrix} \begin{vmatrix} 1 \end{vmatrix}": ("mtr", "math.mat"),
    r"\binom{n}{k}": ("linethickness", "math.mat"),
    r"a \, b \; c \quad d \! e": ("-0.167em", "#h(0.278em)"),
    r"\alpha \leq \Omega \to \infty, \partial \nabla \odot \|x\| \{y\} f''": ("∇", "≤"),
    "12.5 + 漢": ("12.5", "漢"),
}
INVALID = [
    *("", " ", "a%b", "a#", "a$b", "a~", "{", "}{", "a}", "x_", "x^_", "x_a_b", "x^{a}^{b}", "a & b", "\x00", "\ud800"),
    *(r"\input x", r"\write18{id}", r"\def\x{}", r"\begin{document}", r"\begin{cases}", r"\begin", r"\left( x", "\\"),
    *(r"\csname x\endcsname", r"\loop", r"\\", r"\text{\input x}", r"\end{document}", r"\foo", r"\text{\foo}"),
    *(r"\newcommand{\x}{y}\x", r"\class{x}{y}", r"\style{a:b}{y}", r"\href{javascript:alert(1)}{x}", r"\unicode{x41}"),
    *(r"\hspace{99999em}", r"\text{$x}"),
    "x" * 3000,
    "{" * 500 + "x" + "}" * 500,
]  # fmt: skip

TAGS = (
    "math mrow mstyle mi mn mo mtext mspace mfrac msqrt mroot mtable mtr mtd msub msup msubsup munder mover munderover"
)


def list_elements(tree: Element) -> list[Element]:
    return list(tree.iter())


def compile_typst(source: str) -> None:
    """Compile what `document.typ` defines and a formula."""
    typst.compile(f"#let align-point = $&$.body\n{source}".encode(), format="svg")


@pytest.mark.parametrize("latex", FORMULAS)
@pytest.mark.parametrize("display", [False, True])
def test_formulas_are_parsed_and_compiled(latex: str, display: bool) -> None:
    tree = parse_formula(latex, display=display)
    assert tree is not None
    words = " ".join(f"{element.tag} {element.attrib} {element.text}" for element in list_elements(tree))
    mathml, code = FORMULAS[latex]
    assert mathml in words
    converted = convert_formula(tree, latex, block=display)
    assert code in converted
    compile_typst(converted)


@pytest.mark.parametrize("latex", INVALID)
def test_what_is_no_valid_formula_stays_text(latex: str) -> None:
    assert parse_formula(latex) is None


def test_a_formula_with_definitions_that_expand_without_bound_is_refused() -> None:
    parts = [rf"\newcommand{{\{new}}}{{{10 * old}}}" for old, new in zip(["x", r"\a", r"\b"], "abc", strict=True)]
    assert parse_formula("".join(parts) + r"\c") is None


_LATEX = st.lists(
    st.sampled_from([*r"ab12+-=()<>_^{}& é]#", '"', *re.findall(r"\\[a-zA-Z]+|\\.", " ".join(FORMULAS)), r"\text{a}"])
    | st.text(max_size=2),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(_LATEX)
@example(r"\text{<script>alert(1)</script>} \text{&#x3c;script&#x3e;}")
@example(r"\color{red}{x} \rule{1em}{1em}")
@example(r'\text{"; #panic()} ] }')
def test_any_text_is_refused_or_a_formula_without_effects(latex: str) -> None:
    tree = parse_formula(latex)
    if tree is None:
        return
    compile_typst(convert_formula(tree, latex))
    for element in list_elements(tree):
        assert element.tag in TAGS.split()
        assert not {"href", "class", "id", "src", "mathcolor", "mathbackground"} & set(element.attrib)
        assert re.fullmatch("|font-weight: bold|text-align: (left|right)", element.get("style", ""))
        assert element.tag in ("mi", "mo", "mn", "mtext") or element.text is None


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("$x_1$ and $$\\frac{a}{b}$$", ["x_1", "\\frac{a}{b}"]),
        ("a $x$, ($y$).", ["x", "y"]),
        (r"\$x\$, $5 and $6, a$b_c$1, $ x$, $x $, $", []),
        (r"$\input{x}$ $x_a_b$", []),
        ("`$x$` and\n\n    $x$", []),
        ("$a\nb$", ["a\nb"]),
        ("*$x$* [$y$](https://a.org) ", ["x", "y"]),
    ],
)
def test_dollar_signs_enclose_formulas_or_are_literal(text: str, contents: list[str]) -> None:
    tokens = [child for token in new_markdown_parser().parse(text) for child in token.children or []]
    assert [token.content for token in tokens if token.type == "formula"] == contents


def test_a_page_has_formulas_as_mathml_and_no_markup_from_them(tmp_path: Path) -> None:
    text = r"$x < y$ $\text{<script>alert(1)</script>}$ $\foo<b>$ ![a $z$](x.png)" + "\n\n# Head $w$"
    write_page(Report("T", "", [Section("S", text)]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<math") == 4
    assert "<mo>&lt;</mo>" in page
    assert "<script>alert" not in page
    assert r"$\foo&lt;b&gt;$" in page


@pytest.mark.browser
def test_a_browser_shows_formulas(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    text = "\n\n".join(f"${latex}$ $${latex}$$" for latex in FORMULAS)
    write_page(Report("T", "", [Section("S", text)]), tmp_path / "page.html")
    errors: list[Any] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        page = browser.new_page()
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((tmp_path / "page.html").as_uri())
        names = page.evaluate("[...document.querySelectorAll('math *')].map((e) => e.constructor.name)")
        heights = page.evaluate("[...document.querySelectorAll('mfrac')].map((e) => e.getBoundingClientRect().height)")
        widths = page.evaluate("[...document.querySelectorAll('math')].map((e) => e.getBoundingClientRect().width)")
        browser.close()
    assert errors == []
    assert set(names) == {"MathMLElement"}
    assert len(widths) == 2 * len(FORMULAS)
    assert min(widths) > 5
    assert min(heights) > 15
