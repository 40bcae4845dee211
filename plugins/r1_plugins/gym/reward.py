"""Each problem's own scorer, asked in the worker: `rewards: [reasoning_gym]`.

The problem's reference says which generator, with which options, and the entry it made; its scorer is built once for
each generator and set of options. What a scorer raises over an answer is the answer's fault and worth nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from r1_plugins.gym.answers import disarm, spelled
from r1_plugins.gym.generators import Generator, generators, lacking, make, unknown
from r1core.components import Reward
from r1core.errors import RecipeError
from r1core.types import Problem, Response, Score, Sentinel

PARTED = re.compile(r"\d_\d")


class GymReward(Reward):
    """What the scorer of the problem's generator says of the final answer. 1 is right; the credit below that which
    scorers give for form counts only with `partial`: in a group of wrong answers it would be all there is to learn."""

    name = "reasoning_gym"
    extra: ClassVar[str] = "gym"
    timeout_s = 5.0
    sees: ClassVar[Literal["response", "answer"]] = "answer"
    preload = ("reasoning_gym",)

    class Config(Reward.Config):
        partial: bool = Field(False, description="whether scores between 0 and 1 count, or only 1")

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._scorers: dict[str, Any] = {}

    @classmethod
    def check(cls) -> list[str]:
        """Whether the version that was examined is installed."""
        return lacking()

    def refuses(self, problem: Problem) -> str:
        """A reference that is not the source's own, or that would have something evaluated."""
        wrong = _malformed(problem.reference)
        if wrong:
            return wrong
        try:
            self._scorer(problem.reference)
        except RecipeError as error:
            return error.what
        return ""

    def score(self, problem: Problem, response: Response) -> Score:
        """The scorer's verdict."""
        wrong = _malformed(problem.reference)
        if wrong:
            return Score(value=math.nan, status="infrastructure", reason=wrong)
        answer, reference = (response.answer or "").strip(), problem.reference
        if not answer:
            return Score(value=0.0, reason="no_answer")
        if _is_python_number(answer):
            return Score(value=0.0, reason="no_plain_number")
        generator = generators()[reference["task"]]
        if generator.evaluates and not spelled(answer, generator.evaluates):
            return Score(value=0.0, reason=f"no_{generator.evaluates}_expression")
        if generator.as_many_words and _words(answer) != _words(str(reference["entry"]["answer"])):
            return Score(value=0.0, reason="more_or_fewer_words")
        try:
            value = float(self._scorer(reference).score_answer(answer, _entry(reference, generator)))
        except Exception as error:  # scorers convert answers without asking whether that can be done
            return Score(value=0.0, reason=f"unreadable: {type(error).__name__}")
        if value >= 1.0:
            return Score(value=1.0, reason="correct")
        return Score(value=max(value, 0.0) if self.config.partial else 0.0, reason=f"scored_{value:.3g}")

    def sentinels(self) -> Sequence[Sentinel]:
        """A sum, right and wrong."""
        entry = {"question": "State the final answer to the following arithmetic problem: 4 + 3 =", "answer": "7"}
        problem = Problem(
            id="sentinel",
            messages=({"role": "user", "content": entry["question"]},),
            reference={"task": "chain_sum", "config": {}, "entry": {**entry, "metadata": {}}},
        )
        return [
            Sentinel(problem=problem, response=Response.parse(f"<think></think>{said}"), value=worth)
            for said, worth in (("7", 1.0), ("8", 0.0))
        ]

    def _scorer(self, reference: dict[str, Any]) -> Any:
        key = json.dumps([reference["task"], reference["config"]], sort_keys=True)
        if key not in self._scorers:
            scorer = make(reference["task"], reference["config"], seed=0, size=1)
            if generators()[reference["task"]].evaluates == "literal":
                disarm(scorer)
            self._scorers[key] = scorer
        return self._scorers[key]


def _malformed(reference: Any) -> str:
    """What is wrong with a reference, "" when nothing is."""
    if not isinstance(reference, dict) or set(reference) != {"task", "config", "entry"}:
        return "the reference is not one of the source reasoning_gym: {task, config, entry}"
    task, config, entry = reference["task"], reference["config"], reference["entry"]
    if task not in generators():
        return unknown(str(task))
    if not isinstance(config, dict) or not isinstance(entry, dict) or not {"answer", "metadata"} <= set(entry):
        return "the reference has no {answer, metadata} as its entry, or no {...} as its config"
    for key, kind in generators()[task].evaluates_own.items():
        if not spelled(str(entry["metadata"].get(key)), kind):
            return f"metadata.{key} of the reference is no {kind} expression, and would be evaluated"
    return ""


def _entry(reference: dict[str, Any], generator: Generator) -> dict[str, Any]:
    entry: dict[str, Any] = _tuples(reference["entry"]) if generator.tuples else reference["entry"]
    return entry


def _is_python_number(text: str) -> bool:
    """Digits of other scripts, or 3_0: what `int` reads and no generator writes."""
    return PARTED.search(text) is not None or any(letter.isdecimal() and not letter.isascii() for letter in text)


def _words(text: str) -> int:
    """How many there are, commas aside."""
    return len(text.replace(",", " ").split())


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
