"""Unicode characters as LaTeX in ASCII that pdflatex can set in any of its standard fonts."""
# ruff: noqa: RUF001  (ambiguous characters are the point)

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

__all__ = ["COMMANDS", "SPECIAL", "encode_character"]

# Characters with a meaning in TeX.
SPECIAL = {
    **{c: f"\\{c}" for c in "{}$&%#_"},
    **{c: f"\\{c}{{}}" for c in "^~`"},
    **{c: f"{{{c}}}" for c in "[]*"},  # after \item or \\ these would start optional arguments
    **{c: f"{c}{{}}" for c in "-',"},  # two of these in a row would form a ligature
    **{"\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}

# Of these pylatexenc knows no form, or one that needs additional fonts.
_TEXT = r"""
– --{}  — ---{}  „ ,{},{}  « \textless{}\textless{}  » \textgreater{}\textgreater{}  € EUR  © (c)  ® (R)  ‑ -{}
⁄ /  đ d  ð d  Đ D  Ð D  þ th  Þ Th
"""
_FORMULAS = r"""
− -  × \times  ÷ \div  · \cdot  → \to  ← \leftarrow  √ \surd  ✓ \surd  • \bullet  ° {}^\circ  µ \mu
¹ {}^1  ² {}^2  ³ {}^3
"""
_OWN = {
    **dict(zip(_TEXT.split()[::2], _TEXT.split()[1::2], strict=True)),
    **{c: rf"\ensuremath{{{x}}}" for c, x in zip(_FORMULAS.split()[::2], _FORMULAS.split()[1::2], strict=True)},
    **dict.fromkeys("\u2009\u202f", r"\,"),
}

# The commands allowed in formulas. Others could read files, define commands or loop.
_ALLOWED = r"""
    frac dfrac tfrac sqrt sum prod int partial nabla infty cdot cdots ldots dots times div pm mp le leq ge geq ne neq
    approx equiv sim propto in notin subset cup cap forall exists to mapsto gets leftarrow rightarrow Rightarrow
    Leftrightarrow left right big Big bigg Bigg bigl bigr Bigl Bigr langle rangle lVert rVert lvert rvert lfloor rfloor
    lceil rceil mid odot oplus otimes circ star ast prime top bot hat bar tilde vec dot ddot widehat widetilde overline
    underline mathbf mathrm mathit mathcal mathbb mathsf boldsymbol operatorname text quad qquad min max arg log ln exp
    sin cos tan tanh sinh cosh lim sup inf det Pr begin end alpha beta gamma delta epsilon varepsilon zeta eta theta
    vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi
    Pi Sigma Upsilon Phi Psi Omega ell Re Im hbar
    , ; : ! { } | \
"""
COMMANDS = frozenset([*_ALLOWED.split(), " "])
# The commands of pylatexenc in text that need no package: accents, letters, quotation marks.
_LETTERS = r"""
    ` ' ^ ~ " = . r v u H c i j ss ae AE oe OE o O l L textsection textparagraph textdagger textellipsis
    textquoteleft textquoteright textquotedblleft textquotedblright quad
"""
_TEXT_COMMANDS = frozenset(_LETTERS.split())
_FORMULA_COMMANDS = COMMANDS | {"ensuremath", "leftrightarrow"}


@cache
def _new_encoder() -> Any:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    return UnicodeToLatexEncoder(
        replacement_latex_protection="braces-all", unknown_char_policy="keep", unknown_char_warning=False
    )


@cache
def encode_character(c: str) -> str:
    """LaTeX that shows a character or its nearest equivalent; "?" if there is none."""
    if own := SPECIAL.get(c) or _OWN.get(c):
        return own
    if c.isascii():
        return c if c.isprintable() else "?"
    if unicodedata.category(c) in ("Cf", "Mn", "Me"):  # marks and joiners, invisible by themselves
        return ""
    latex = str(_new_encoder().unicode_to_latex(c))
    known = _FORMULA_COMMANDS if r"\ensuremath" in latex else _TEXT_COMMANDS
    if latex.isascii() and known.issuperset(re.findall(r"\\([A-Za-z]+|.)", latex)):
        return latex
    plain = unicodedata.normalize("NFKD", c).replace("⁄", "/").encode("ascii", "ignore").decode().strip()
    return "".join(SPECIAL.get(x, x) for x in plain) or ("~" if c.isspace() else "?")
