"""What may reach a scorer that evaluates answers: nothing a model wrote is ever run as code.

Some of reasoning-gym's scorers call Python's `eval` on an answer, or sympy's `parse_expr`, which does so too. In the
worker `eval` is replaced by what reads literals and nothing else, and an answer for `parse_expr` has to be spelled in
numbers, operators and the names listed here: no attribute, index, string, keyword or unknown name can be written in it.
What it costs to work one out (towers of powers) is the deadline's.
"""

from __future__ import annotations

import ast
import re
import sys

LONGEST = 2000
"""Characters of an expression: parsers recurse."""
FUNCTIONS = (
    *("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh"),
    *("exp", "log", "ln", "sqrt", "Abs"),
)
"""What integrals are made of."""
_OPERATORS = r"\*\*|[-+*/()^ ]"
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_NAMES = "|".join(sorted([*FUNCTIONS, "pi", "[A-Za-z]"], key=len, reverse=True))
SPELLINGS = {
    "arithmetic": re.compile(rf"(?:{_NUMBER}|{_OPERATORS})*+"),
    "calculus": re.compile(rf"(?:(?:{_NAMES})(?![A-Za-z0-9_])|{_NUMBER}|{_OPERATORS})*+"),
    "hexadecimal": re.compile(r"(?:0x[0-9a-f]+|\d+|[-+*&|^~()<>]|\s)*+"),
}
"""How an expression may be spelled, by what it is for."""


def spelled(text: str, kind: str) -> bool:
    """Whether it is an expression of this kind and nothing else. Literals are read by what reads only these."""
    return kind == "literal" or (len(text) <= LONGEST and SPELLINGS[kind].fullmatch(text) is not None)


def literal(text: str) -> object:
    """What stands for `eval` in a scorer."""
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters are no answer")
    return ast.literal_eval(text)


def disarm(scorer: object) -> None:
    """From now on the scorer's module reads literals where it evaluated."""
    vars(sys.modules[type(scorer).__module__])["eval"] = literal
