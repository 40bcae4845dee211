r"""The mathematics rule: the final answer states the reference's value, in whatever form.

    rewards: [{use: math, where: boxed}, format]           r1 verify math CASES.jsonl

Numbers, fractions, powers and roots are compared exactly, in rationals and roots of primes; expressions at random
points, exactly again; only sines, logarithms and nested roots go to sympy. Nothing a model wrote is evaluated.
Reasons: correct, wrong, no_answer, format, truncated, unevaluated (1+1), restated (the question's own expression),
unreadable, several_answers; gold_unreadable is an infrastructure failure: nothing can be said of the answer then.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from r1_plugins.math.compare import same
from r1_plugins.math.final import Where, final_answers
from r1_plugins.math.golds import Gold, golds_of, why_not
from r1_plugins.math.grammar import TaskError
from r1_plugins.math.reading import shape_of
from r1_plugins.math.restated import restated
from r1_plugins.math.shapes import Equation, Several, Shape, Tuple, Value
from r1_plugins.math.token import Token, UnreadableError
from r1_plugins.math.tokens import tokens_of
from r1_plugins.math.trees import Rules
from r1_plugins.math.votes import vote_for, vote_of
from r1core.components import Reward
from r1core.types import Problem, Response, Score, Sentinel

_OWN = frozenset(("format", "no_answer", "several_answers", "unevaluated"))


class Math(Reward):
    """1 when the final answer states the reference's value (or that of one of a list of references), else 0."""

    name = "math"
    gold_form: ClassVar[str] = (
        r"a number, or a text as data sets write it: 72, \frac{1}{2}, $x^2+1$, #### 72, a solution with its box; "
        r"values, sets, points, intervals, x > 2, a matrix, y = 2x+3; 5 cm, 12.5\%, 30^\circ; a few words; or a list "
        "of such texts, each of which is right"
    )
    extra = "train"
    preload: ClassVar[tuple[str, ...]] = ("math_verify",)

    class Config(Reward.Config):
        where: Where = Field(
            "either", description="where the final answer must stand: in a \\boxed{}, in <answer> tags, or either"
        )
        allow_unevaluated: bool = Field(
            False, description="whether 1+1 or 5! counts as an answer where the reference is a plain value"
        )

    config: Config

    @classmethod
    def check(cls) -> list[str]:
        """math-verify, with sympy, decides what exact arithmetic does not."""
        if importlib.util.find_spec("math_verify") is not None:
            return []
        return ["math-verify is not installed: pip install 'r1core[train]'"]

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict; its reason says why an answer is worth nothing."""
        try:
            golds = golds_of(problem.reference, problem.question)
        except UnreadableError:
            return Score(value=float("nan"), status="infrastructure", reason="gold_unreadable")
        if response.finish == "length":
            return Score(value=0.0, reason="truncated")
        try:
            answers = final_answers(response, self.config.where)
        except UnreadableError as error:
            return Score(value=0.0, reason=_label(error))
        try:
            reasons = [self._reason(gold, answers) for gold in golds]
        except UnreadableError as error:
            reasons = [_label(error)]
        if "correct" in reasons:
            return Score(value=1.0, reason="correct", extracted=vote_for(golds[reasons.index("correct")]))
        return Score(value=0.0, reason=reasons[0], extracted=vote_of(answers, golds[0].asked))

    def refuses(self, problem: Problem) -> str:
        """Why the reference cannot be compared with, "" where it can."""
        try:
            golds_of(problem.reference, problem.question)
        except UnreadableError as error:
            return why_not(error, problem.reference)
        return ""

    def sentinels(self) -> Sequence[Sentinel]:
        """A right and a wrong answer of each way to decide: exact, at points, by sympy."""
        known = (
            (r"\frac{1}{2}", "0.5", 1.0),
            (r"\frac{1}{2}", "0.51", 0.0),
            ("(x+1)^2", "x^2+2x+1", 1.0),
            ("(x+1)^2", "x^2+2x+2", 0.0),
            (r"\cos^2 x", r"1-\sin^2 x", 1.0),
            (r"\cos^2 x", r"1+\sin^2 x", 0.0),
        )
        return [
            Sentinel(
                problem=Problem(id=f"sentinel-{number}", reference=gold),
                response=Response.parse(f"<think>known</think><answer>\\boxed{{{answer}}}</answer>"),
                value=value,
            )
            for number, (gold, answer, value) in enumerate(known)
        ]

    # --- one reference ---------------------------------------------------------------------------

    def _reason(self, gold: Gold, texts: Sequence[str]) -> str:
        grouped = not isinstance(gold.shape, Several)  # 100,200 is a list where a list is wanted
        answers = [tokens_of(text, grouped=grouped) for text in texts]
        if all(_spelled(tokens) == _spelled(gold.tokens) for tokens in answers):
            return "correct"
        rules = Rules(self.config.allow_unevaluated)
        shapes = [shape_of(tokens, gold.asked) for tokens in answers]
        if len(shapes) > 1 and _together(gold.shape, shapes):
            shapes = [Several(tuple(shapes))]
        try:
            if not all(same(gold.shape, shape, gold.asked, rules) for shape in shapes):
                return "wrong"
        except TaskError:
            return "unevaluated"
        if not self.config.allow_unevaluated and any(restated(tokens, gold) for tokens in answers):
            return "restated"
        return "correct"


def _label(error: UnreadableError) -> str:
    return str(error) if str(error) in _OWN else "unreadable"


def _spelled(tokens: Sequence[Token]) -> list[str]:
    return [token.text for token in tokens]


def _together(gold: Shape, shapes: Sequence[Shape]) -> bool:
    """Boxes of one value each, for a reference of as many values."""
    single = all(isinstance(shape, Value | Equation | Tuple) for shape in shapes)
    return single and isinstance(gold, Several) and len(gold.items) == len(shapes)
