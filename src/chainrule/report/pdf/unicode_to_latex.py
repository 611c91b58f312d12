"""Unicode characters as LaTeX in ASCII that pdflatex can set in any of its standard fonts."""
# ruff: noqa: RUF001  (ambiguous characters are the point)

from __future__ import annotations

import unicodedata

__all__ = ["SPECIAL", "encode_character"]

# Characters with a meaning in TeX, and those that form ligatures.
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\^{}",
    "~": r"\~{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    # After \item or \\ these would start optional arguments.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Two of these in a row would form a ligature.
    "-": "-{}",
    "'": "'{}",
    ",": ",{}",
}

# Symbols set as formulas, which need no additional fonts.
_FORMULAS = r"""
± \pm  × \times  ÷ \div  · \cdot  − -  ≤ \le  ≥ \ge  ≠ \ne  ≈ \approx  → \to  ← \leftarrow  ↔ \leftrightarrow
⇒ \Rightarrow  ∞ \infty  ∑ \sum  ∏ \prod  ∫ \int  √ \surd  ∂ \partial  ∇ \nabla  ∈ \in  ∉ \notin  ∀ \forall
∃ \exists  ∝ \propto  ° {}^\circ  α \alpha  β \beta  γ \gamma  δ \delta  ε \varepsilon  ζ \zeta  η \eta
θ \theta  ι \iota  κ \kappa  λ \lambda  μ \mu  µ \mu  ν \nu  ξ \xi  π \pi  ρ \rho  σ \sigma  τ \tau  υ \upsilon
φ \varphi  χ \chi  ψ \psi  ω \omega  Γ \Gamma  Δ \Delta  Θ \Theta  Λ \Lambda  Ξ \Xi  Π \Pi  Σ \Sigma  Φ \Phi
Ψ \Psi  Ω \Omega  ✓ \surd  • \bullet  ⋅ \cdot
"""
_SIGNS = {
    **dict(zip(_FORMULAS.split()[::2], _FORMULAS.split()[1::2], strict=True)),
    **{digit: f"{{}}_{number}" for number, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{digit: f"{{}}^{number}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}

_LETTERS = {
    "–": "--{}",
    "—": "---{}",
    "…": r"\ldots{}",
    "‘": "`{}",
    "’": "'{}",
    "“": "``{}",
    "”": "''{}",
    "„": ",{},{}",
    "«": r"\textless{}\textless{}",
    "»": r"\textgreater{}\textgreater{}",
    "€": "EUR",
    "©": "(c)",
    "®": "(R)",
    "™": "(TM)",
    "§": r"\S{}",
    "¶": r"\P{}",
    "†": r"\dag{}",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
    "\u2011": "-{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "đ": "d",
    "ð": "d",
    "Đ": "D",
    "Ð": "D",
    "þ": "th",
    "Þ": "Th",
}

# Combining marks and their accent commands.
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u0304": "=",
    "\u0307": ".",
    "\u030a": "r",
    "\u030c": "v",
    "\u0306": "u",
    "\u030b": "H",
    "\u0327": "c",
}


def encode_character(c: str) -> str:
    """LaTeX that shows a character or its nearest equivalent; "?" if there is none."""
    if c in SPECIAL or c in _LETTERS:
        return SPECIAL.get(c) or _LETTERS[c]
    if c in _SIGNS:
        return f"\\ensuremath{{{_SIGNS[c]}}}"
    if c.isascii():
        return c if c.isprintable() else "?"
    if unicodedata.category(c) in ("Cf", "Mn", "Me"):  # marks and joiners, invisible by themselves
        return ""
    parts = unicodedata.normalize("NFD", c)
    base, marks = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and marks:
        accent = next((_ACCENTS[mark] for mark in marks if mark in _ACCENTS), "")
        stem = f"\\{base}" if base in "ij" and accent not in ("", "c") else base
        return f"\\{accent}{{{stem}}}" if accent else base
    plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode().strip()
    return "".join(SPECIAL.get(x, x) for x in plain) or ("~" if c.isspace() else "?")
