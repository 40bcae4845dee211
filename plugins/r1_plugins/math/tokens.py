r"""An answer's text as tokens: numbers, words, commands, marks. What is none of these has no place in an answer.

Only ASCII digits are digits. Signs that models write in place of LaTeX (√, π, ≤, ½, °) are read as their LaTeX;
spacing, delimiters and fonts are dropped, but a token remembers whether space stood before it and whether it was
upright (`\text`, `\mathrm`): "5 m" is a length, `5m` a product. One pass, no backtracking: linear in the text.
"""

from __future__ import annotations

import re

from r1_plugins.math.token import Kind, Token, UnreadableError, joined

LONGEST = 2_000
"""Characters; a longer final answer is no value that anybody asked for."""
DEEPEST = 40
_DIGITS = 1_000

# fmt: off
SIGNS = str.maketrans({
    "−": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",  # noqa: RUF001
    "√": r"\sqrt ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
    "∓": r"\mp ", "°": r"^\circ ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",  # noqa: RUF001
    "≈": r"\approx ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "²": "^{2}", "³": "^{3}", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",  # noqa: RUF001
    "λ": r"\lambda ", "∠": r"\angle ", "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": r"\,", "′": "'", "’": "'", "≡": "=", "€": r"\euro ", "£": r"\pounds ", "¥": r"\yen ",  # noqa: RUF001
})
"""What models write in place of LaTeX."""
# fmt: on
_REALS = re.compile(r"\\(?:mathbb|Bbb) ?(?:\{ ?R ?\}|R(?![A-Za-z]))|\u211d")
_LEXEME = re.compile(
    r"(?P<space>[ \t\r\n\f\v]+)|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<word>[A-Za-z]+)"
    r"|(?P<command>\\[A-Za-z]+|\\.)|(?P<mark>[<>!]=|[-+*/^_=<>(){}\[\]|,;:!%&$~'#.])",
    re.ASCII | re.DOTALL,
)
_FONT_NAMES = """
text textbf textit textrm textsf texttt textnormal mathrm mathbf mathit mathsf mathtt mbox hbox operatorname boldsymbol
bm mathop mathbb mathcal
"""
_SWITCH_NAMES = """
displaystyle textstyle scriptstyle limits nolimits bf rm it left right big Big bigg Bigg bigl bigr Bigl Bigr biggl
biggr mathstrut ( ) [ ]
"""
_FONTS = frozenset(rf"\{name}" for name in _FONT_NAMES.split())
_SWITCHES = frozenset(rf"\{name}" for name in _SWITCH_NAMES.split())
_THIN = frozenset((r"\,", r"\!"))
_SPACES = frozenset((r"\;", r"\:", r"\ ", "\\\n", "\\\t", r"\quad", r"\qquad", r"\enspace", "~"))
_SAME = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\leq": r"\le", r"\leqslant": r"\le", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\neq": r"\ne",
    r"\langle": "(", r"\rangle": ")",
    "<=": r"\le", ">=": r"\ge", "!=": r"\ne", r"\lt": "<",
    r"\gt": ">", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]", r"\lvert": "|",
    r"\rvert": "|", r"\vert": "|", r"\mid": "|", r"\%": "%", r"\ast": "*", r"\cdot": "*", r"\times": "*",
    r"\div": "/", r"\varnothing": r"\emptyset", r"\simeq": r"\approx", r"\degree": r"\circ", r"\land": r"\wedge",
    r"\lor": r"\vee", r"\equiv": "=", r"\lparen": "(", r"\rparen": ")", r"\imath": "i",
}  # fmt: skip
_OPENING = ("{", "(", "[", r"\{")
_CLOSING = ("}", ")", "]", r"\}")
_MARKS = frozenset("<>{}[]|%$*/=()")


def tokens_of(text: str, *, grouped: bool = True) -> tuple[Token, ...]:
    """The tokens; `grouped`: 1,234 outside of brackets is one number.

    Raises UnreadableError for what is too long, too deep, unbalanced, or not written in them.
    """
    if len(text) > LONGEST:
        raise UnreadableError("too_long")
    found = _Lexer().tokens(_REALS.sub(r"\\reals ", text.translate(SIGNS)))
    dollars = sum(token.is_("$") for token in found)
    kept = [token for token in found if dollars % 2 or not token.is_("$")]  # an even number of them are delimiters
    return joined(kept, commas=grouped)


class _Lexer:
    """What is open while the text is read: fonts, brackets, and the space before the next token."""

    def __init__(self) -> None:
        self._found: list[Token] = []
        self._fonts: list[bool] = []  # for each open brace, whether it is a font's
        self._font_next = False
        self._depth = 0
        self._spaced = self._thin = False

    def tokens(self, text: str) -> list[Token]:
        place = 0
        while place < len(text):
            match = _LEXEME.match(text, place)
            if match is None:
                raise UnreadableError("foreign_sign")
            place, kind, lexeme = match.end(), match.lastgroup or "", match[0]
            if kind == "command" and lexeme.startswith(r"\quad") and lexeme != r"\quad":  # \quadx is \quad x
                place, lexeme = match.start() + len(r"\quad"), r"\quad"
            if kind == "space" or lexeme in _SPACES:
                self._spaced = True
            elif lexeme in _THIN:
                self._thin = True
            elif lexeme in _FONTS:
                self._font_next = True
            elif lexeme not in _SWITCHES and not self._is_of_font(lexeme):
                self._add(kind, lexeme)
        if self._fonts:
            raise UnreadableError("unbalanced")
        return self._found

    def _is_of_font(self, lexeme: str) -> bool:
        """Count brackets; whether this one only holds what a font command is for."""
        self._depth = max(0, self._depth + (lexeme in _OPENING) - (lexeme in _CLOSING))
        if self._depth > DEEPEST:
            raise UnreadableError("too_deep")
        if lexeme == "{":
            self._fonts.append(self._font_next)
            font, self._font_next = self._font_next, False
            return font
        if lexeme == "}":
            if not self._fonts:
                raise UnreadableError("unbalanced")
            return self._fonts.pop()
        return False

    def _add(self, kind: str, lexeme: str) -> None:
        if kind == "number" and len(lexeme) > _DIGITS:
            raise UnreadableError("too_long")
        text = _SAME.get(lexeme, lexeme)
        named: Kind = "command"
        if kind == "number":
            named = "number"
        elif kind == "word" or text == "i":
            named = "word"
        elif kind == "mark" or (text in _MARKS and lexeme != r"\{"):
            named = "command" if text.startswith("\\") else "mark"
        upright = any(self._fonts) or self._font_next
        self._found.append(Token(named, text, self._spaced, self._thin, upright))
        self._spaced = self._thin = self._font_next = False
