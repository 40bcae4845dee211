r"""Tokens of one expression to a tree: a small recursive descent with an allow-list, so that what it does not know ends
here. Sums, integrals, limits and derivatives are known only to be refused: they name a task, not its result.

    sum     = [sign] product (sign product)*        factor = base [!]* [^ exponent]
    product = factor ((* | / | beside) factor)*     base   = number | symbol | (sum) | \frac | \sqrt | function | |sum|

1/2x is read from the left: (1/2)x. A number that follows a factor without a sign (x2, 4 2) is no product.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from r1_plugins.math.known import FUNCTIONS, GREEK, INVERSE, OF_ANGLES, TASKS, WORD_TASKS
from r1_plugins.math.repeating import repeating
from r1_plugins.math.token import Token, UnreadableError, circle
from r1_plugins.math.tree import (
    Apply,
    Constant,
    Degrees,
    Mixed,
    Negative,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    Tree,
)  # fmt: skip

_END = Token("mark", "")
_LONGEST_WORD = 4
_DEEPEST = 50


class TaskError(UnreadableError):
    """The answer says what to compute, not what comes out."""


def tree_of(tokens: Sequence[Token]) -> Tree:
    """The tree of all tokens. Raises UnreadableError; TaskError where an operation stands in it that no value has."""
    reader = _Reader(tokens)
    tree = reader.fraction()
    if reader.next is not _END:
        raise UnreadableError("no_expression")
    return tree


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = list(tokens)
        self._place = 0
        self._depth = 0
        self._bars = 0
        self._function = False

    @property
    def next(self) -> Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else _END

    def _after(self, ahead: int = 1) -> Token:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else _END

    def _take(self) -> Token:
        token = self.next
        self._place += 1
        return token

    def _expect(self, text: str) -> None:
        if not self._take().is_(text):
            raise UnreadableError("unbalanced")

    # --- sums and products -----------------------------------------------------------------------

    def fraction(self) -> Tree:
        """A sum, or a \\over b."""
        tree = self.sum()
        if self.next.is_(r"\over"):
            self._take()
            tree = Quotient(tree, self.sum())
        return tree

    def sum(self) -> Tree:
        """Terms up to what is no term."""
        terms = [self._term()]
        while self.next.is_("+", "-"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _term(self) -> Tree:
        negative = False
        if self.next.is_("+", "-"):
            negative = self._take().text == "-"
        tree = self._product()
        return Negative(tree) if negative else tree

    def _product(self) -> Tree:
        tree = self._factor()
        factors = [tree]
        while True:
            if self.next.is_("*"):
                self._take()
                factors.append(self._signed_factor())
            elif self.next.is_("/"):
                self._take()
                over = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [Quotient(over, self._signed_factor())]
            elif self._begins_factor():
                factors.append(self._factor())
            else:
                return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _signed_factor(self) -> Tree:
        if self.next.is_("-"):
            self._take()
            return Negative(self._factor())
        return self._factor()

    def _begins_factor(self) -> bool:
        token = self.next
        if token.kind == "word":
            return not (self._function and token.text in FUNCTIONS)
        if token.is_("(", "{"):
            return True
        if token.is_("|"):
            return self._bars == 0
        if token.kind == "command":
            return (
                token.text in GREEK
                or token.text in (r"\frac", r"\sqrt", r"\pi", r"\binom", r"\infty")
                or (token.text[1:] in FUNCTIONS and not self._function)
            )
        return False

    # --- factors -------------------------------------------------------------------------------------

    def _factor(self) -> Tree:
        tree = self._base()
        raised = False
        while True:
            if self.next.is_("!"):
                self._take()
                tree = Apply("factorial", (tree,))
            elif size := circle(self._tokens, self._place):
                self._place += size
                tree = _in_degrees(tree)
            elif self.next.is_("^") or (self.next.is_("*") and self._after().is_("*") and not self._after().spaced):
                self._take()
                if self.next.is_("*"):
                    self._take()
                if raised:  # 2^3^2 is read in two ways
                    raise UnreadableError("no_expression")
                raised = True
                tree = Power(tree, self._exponent())
            else:
                return tree

    def _exponent(self) -> Tree:
        if self.next.is_("-"):
            self._take()
            return Negative(self._argument())
        if self.next.is_("("):
            return self._base()
        return self._argument(whole=True)

    def _argument(self, *, whole: bool = False) -> Tree:
        """A group, or one sign: `\\frac12` has the arguments 1 and 2. With `whole`, a number is not taken apart."""
        token = self.next
        if token.kind == "number" and not whole and len(token.text) > 1 and token.text.isdigit():
            rest = Token("number", token.text[1:])
            self._tokens[self._place] = rest
            return Number(Fraction(int(token.text[0])))
        if token.kind == "word" and not whole and len(token.text) > 1 and token.text not in FUNCTIONS:
            self._tokens[self._place] = Token("word", token.text[1:])
            return _letter(token.text[0])
        return self._base(argument=True)

    def _base(self, *, argument: bool = False) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableError("too_deep")
        tree = self._base_of(self._take(), argument=argument)
        self._depth -= 1
        return tree

    def _base_of(self, token: Token, *, argument: bool) -> Tree:
        if token.kind == "number":
            return self._number(token, argument=argument)
        if token.is_("."):  # .\overline{3}
            self._place -= 1
            return self._number(Token("number", "0"), argument=argument)
        if token.kind == "word":
            return self._word(token, argument=argument)
        if token.is_("{"):
            return self._group()
        if token.is_("(", "["):
            return self._within(")" if token.text == "(" else "]")
        if token.is_("|"):
            return self._bar()
        if token.kind == "command":
            return self._command(token)
        raise UnreadableError("no_expression")

    def _within(self, closing: str) -> Tree:
        outer, self._function = self._function, False
        bars, self._bars = self._bars, 0
        tree = self.sum()
        self._function, self._bars = outer, bars
        self._expect(closing)
        return tree

    def _group(self) -> Tree:
        outer, self._function = self._function, False
        bars, self._bars = self._bars, 0
        tree = self.fraction()
        self._function, self._bars = outer, bars
        self._expect("}")
        return tree

    def _bar(self) -> Tree:
        outer, self._function = self._function, False
        self._bars += 1
        tree = self.sum()
        self._bars -= 1
        self._function = outer
        self._expect("|")
        return Apply("abs", (tree,))

    def _number(self, token: Token, *, argument: bool) -> Tree:
        found = repeating(token, self._tokens, self._place)
        if found is not None:
            value, self._place = found
            return Number(value)
        value = Fraction(token.text)
        if argument or not token.text.isdigit():
            return self._scientific(value, token)
        part = self._part()
        if part is not None:
            return Mixed(value, part)
        return self._scientific(value, token)

    def _scientific(self, value: Fraction, token: Token) -> Tree:
        """3.2e5, 4.5E-4."""
        mark = self.next
        if mark.kind != "word" or mark.text not in ("e", "E") or mark.spaced or mark.upright:
            return Number(value)
        sign = 1 if self._after().is_("-") else 0
        digits = self._after(1 + sign)
        if digits.kind != "number" or digits.spaced or not digits.text.isdigit() or len(digits.text) > 4:
            return Number(value)
        self._place += 2 + sign
        ten = Power(Number(Fraction(10)), Negative(Number(Fraction(int(digits.text)))) if sign else _whole(digits))
        return Product((Number(value), ten))

    def _part(self) -> Fraction | None:
        """The fraction of a mixed number: 3\\frac12, 3 1/2."""
        place, tokens = self._place, list(self._tokens)
        over = under = None
        if self.next.is_(r"\frac"):
            self._take()
            try:
                over, under = self._argument(), self._argument()
            except UnreadableError:
                over = None
        elif self.next.kind == self._after(2).kind == "number" and self.next.spaced and self._after().is_("/"):
            over, under = _whole(self.next), _whole(self._after(2))
            self._place += 3
        if isinstance(over, Number) and isinstance(under, Number) and 0 < over.value < under.value:
            return over.value / under.value
        self._place, self._tokens = place, tokens
        return None

    def _word(self, token: Token, *, argument: bool) -> Tree:
        if token.text in FUNCTIONS:
            return self._call(token.text)
        if token.text in WORD_TASKS:
            raise TaskError("unevaluated")
        if token.text in ("pi", "infinity", "infty"):
            return Constant("pi" if token.text == "pi" else "infinity")
        if len(token.text) == 1:
            return self._subscripted(token.text)
        if token.upright or len(token.text) > _LONGEST_WORD:
            raise UnreadableError("unknown_word")
        for letter in reversed(token.text[1:]):  # xy is x times y
            self._tokens.insert(self._place, Token("word", letter))
        return self._subscripted(token.text[0])

    def _subscripted(self, name: str) -> Tree:
        if not self.next.is_("_"):
            return _letter(name)
        self._take()
        if not self.next.is_("{"):
            return Symbol(f"{name}_{self._plain(self._take())}")
        self._take()
        parts = []
        while not self.next.is_("}"):
            parts.append(self._plain(self._take()))
        self._take()
        return Symbol(f"{name}_{'_'.join(parts)}")

    def _plain(self, token: Token) -> str:
        if token.kind in ("number", "word") or token.is_("+", "-", ","):
            return token.text
        raise UnreadableError("no_expression")

    def _command(self, token: Token) -> Tree:
        name = token.text[1:]
        if token.text in TASKS:
            raise TaskError("unevaluated")
        if token.text in GREEK or name == "reals":  # R^2, where it is part of something
            return self._subscripted(name)
        if name == "frac":
            return self._fraction()
        if name == "binom":
            return Apply("binomial", (self._argument(), self._argument()))
        if name in FUNCTIONS:
            return self._call(name)
        if name in ("pi", "infty"):
            return Constant("pi" if name == "pi" else "infinity")
        raise UnreadableError("unknown_command")

    def _fraction(self) -> Tree:
        over = self._argument()
        under = self._argument()
        if over == Symbol("d") or (isinstance(over, Power) and over.base == Symbol("d")):
            raise TaskError("unevaluated")
        return Quotient(over, under)

    def _call(self, name: str) -> Tree:
        if name == "sqrt":
            return self._root()
        base: Tree | None = None
        power: Tree | None = None
        if name == "log" and self.next.is_("_"):
            self._take()
            base = self._argument()
        if self.next.is_("^"):
            self._take()
            power = self._exponent()
        if power == Negative(Number(Fraction(1))) and name in INVERSE:
            name, power = INVERSE[name], None
        argument = self._applied_to()
        if name == "exp":
            tree: Tree = Power(Constant("e"), argument)
        elif name in ("ln", "log", "lg"):
            tree = Apply("ln" if name == "ln" else "log", (argument,) if base is None else (argument, base))
        else:
            tree = Apply(name, (argument,))
        return tree if power is None else Power(tree, power)

    def _applied_to(self) -> Tree:
        if self.next.is_("(", "{", "["):
            return self._base()
        outer, self._function = self._function, True
        tree = self._product()
        self._function = outer
        return tree

    def _root(self) -> Tree:
        index: Tree = Number(Fraction(2))
        if self.next.is_("["):
            self._take()
            index = self._within("]")
        under = self._base() if self.next.is_("(") else self._argument(whole=True)
        return Power(under, Quotient(Number(Fraction(1)), index))


def _in_degrees(tree: Tree) -> Tree:
    """cos(20)^\\circ is the cosine of 20 degrees; other functions have no value in degrees."""
    if isinstance(tree, Apply) and tree.function in OF_ANGLES:
        return Apply(tree.function, (Degrees(tree.arguments[0]),))
    if isinstance(tree, Apply | Degrees) or (isinstance(tree, Power) and isinstance(tree.base, Apply)):
        raise UnreadableError("no_expression")
    return Degrees(tree)


def _letter(name: str) -> Tree:
    return Constant(name) if name in ("e", "i") else Symbol(name)


def _whole(token: Token) -> Number:
    return Number(Fraction(token.text))
