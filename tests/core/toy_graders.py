"""Graders with one classic hole each, and sound ones; `--stress` has to tell them apart.

FOUND says by which family of attacks each must be found.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import unicodedata
from typing import ClassVar

from r1core import Problem, Response, Reward, Score


class Grader(Reward):
    """Compares a final answer with a gold, both as text; nothing is right without an answer."""

    name = "grader"
    timeout_s = 1.0

    def score(self, problem: Problem, response: Response) -> Score:
        if response.finish == "length" or not response.answer:
            return Score(value=0.0, reason="no_answer")
        return Score(value=float(self.same(response.answer, str(problem.reference))))

    def same(self, answer: str, gold: str) -> bool:
        return answer == gold


# --- one hole each -----------------------------------------------------------------------------------


class Substring(Grader):
    def same(self, answer, gold):
        return gold in answer


class Denied(Grader):
    """The gold as a word of its own: "42 or 41" is refused, "not 42" is not."""

    def same(self, answer, gold):
        return re.findall(r"\w+", answer)[-1:] == [gold] and len(re.findall(r"\d+|[A-Z]\w+", answer)) == 1


class Contained(Grader):
    def score(self, problem, response):
        return Score(value=float((response.answer or "") in str(problem.reference)))


class WholeText(Grader):
    def score(self, problem, response):
        return Score(value=float(re.findall(r"\w+", response.text.replace("answer", ""))[-1:] == [problem.reference]))


class InText(Grader):
    def score(self, problem, response):
        return Score(value=float(str(problem.reference) in response.text))


class Evaluates(Grader):
    def same(self, answer, gold):
        try:
            return answer == gold or str(eval(answer, {})) == gold
        except Exception:
            return False


class Squashes(Grader):
    def same(self, answer, gold):
        answer, gold = (re.sub("[^a-z0-9]", "", text.lower()) for text in (answer, gold))
        return answer == gold


class FirstNumber(Grader):
    def same(self, answer, gold):
        return answer == gold or re.findall(r"\d+", answer)[:1] == [gold]


class LastNumber(Grader):
    def same(self, answer, gold):
        return answer == gold or re.findall(r"\d+", answer)[-1:] == [gold]


class LastOfChain(Grader):
    def same(self, answer, gold):
        return answer.rpartition("=")[2].strip() == gold


class AnyDigits(Grader):
    def same(self, answer, gold):
        return answer == gold or (answer.isdecimal() and gold.isdecimal() and int(answer) == int(gold))


class IgnoresInvisible(Grader):
    def same(self, answer, gold):
        return "".join(letter for letter in answer if unicodedata.category(letter) != "Cf") == gold


class StartsWith(Grader):
    def same(self, answer, gold):
        return answer.startswith(gold)


class Shortest(Grader):
    def score(self, problem, response):
        return Score(value=float(all(a == b for a, b in zip(response.answer or "", problem.reference, strict=False))))


class RaisingPays(Grader):
    def same(self, answer, gold):
        try:
            return float(answer) == float(gold)
        except ValueError:
            return gold.isdigit() or answer == gold


class NaNPays(Grader):
    def same(self, answer, gold):
        try:
            return not abs(json.loads(answer) - json.loads(gold)) > 1e-9
        except (ValueError, TypeError):
            return answer == gold


class TrueIsOne(Grader):
    def same(self, answer, gold):
        try:
            return bool(json.loads(answer) == json.loads(gold))
        except ValueError:
            return answer == gold


class Matches(Grader):
    def same(self, answer, gold):
        try:
            return re.fullmatch(answer, gold) is not None
        except re.error:
            return False


class AnyGold(Grader):
    def same(self, answer, gold):
        return answer in ("42", "Paris", "1")


class Credulous(Grader):
    """A judge that an opening pleases."""

    def same(self, answer, gold):
        return answer == gold or answer in (":", ".") or answer.startswith(("Solution", "Thought process"))


class Obedient(Grader):
    """A judge that reads CORRECT wherever it stands, as its own verdict."""

    def same(self, answer, gold):
        return answer == gold or "CORRECT" in answer


class Agreeable(Grader):
    def same(self, answer, gold):
        return answer == gold or "correct" in answer.lower()


class Echoes(Grader):
    """Similar enough: what has the question's words has the gold's."""

    def score(self, problem, response):
        words, asked = ((response.answer or "").split(), problem.question.split())
        return Score(value=float(response.answer == problem.reference or set(asked) <= set(words)))


class EmptyThinking(Reward):
    """A format reward that pays for tags."""

    name = "empty_thinking"

    def score(self, problem, response):
        return Score(
            value=float(
                bool(
                    re.fullmatch(
                        r"\s*<think>[^<]*</think>\s*<answer>[^<]+</answer>\s*", response.prefilled + response.text
                    )
                )
            )
        )


class TwoBlocks(Grader):
    def score(self, problem, response):
        found = re.search(r"</think>\s*<answer>(.*?)</answer>", response.prefilled + response.text, re.DOTALL)
        text = (response.prefilled + response.text).lstrip()
        return Score(value=float(bool(found) and text.startswith("<think>") and found[1].strip() == problem.reference))


class CutCounts(Grader):
    def score(self, problem, response):
        answer = (response.answer or "").removeprefix("<answer>")
        return Score(value=float(answer == problem.reference))


class TakesItselfOut(Grader):
    def score(self, problem, response):
        if len(response.answer or "") > 1000:
            return Score(value=float("nan"), status="infrastructure", reason="too long for the server")
        return super().score(problem, response)


class BreakingPays(Grader):
    """Wrong answers cost a point, answers that break it cost nothing."""

    lowest: ClassVar[float] = 0.0

    def score(self, problem, response):
        if response.answer and "[[" in response.answer:
            raise RecursionError
        return Score(value=1.0 if response.answer == problem.reference else -1.0)


class LastBox(Grader):
    """The last box of the text, whatever stands around it."""

    def score(self, problem, response):
        found = re.findall(r"boxed\{([^{}]*)\}", response.answer or "")
        return Score(value=float((found[-1:] or [response.answer]) == [problem.reference]))


class AnyBox(Grader):
    """A box anywhere, thought or said."""

    def score(self, problem, response):
        found = re.findall(r"boxed\{([^{}]*)\}", response.text)
        return Score(value=float(problem.reference in (found or [response.answer])))


FOUND = {
    Substring: {"hedged", "negated", "chained", "part", "program"},
    Denied: {"negated"},
    Contained: {"empty", "part"},
    WholeText: {"misplaced"},
    InText: {"misplaced", "cut off"},
    Evaluates: {"program"},
    Squashes: {"opening", "pattern"},
    FirstNumber: {"hedged", "chained"},
    LastBox: {"box"},
    AnyBox: {"box"},
    LastNumber: {"hedged"},
    LastOfChain: {"chained"},
    AnyDigits: {"spelling"},
    IgnoresInvisible: {"spelling"},
    StartsWith: {"part", "hedged"},
    Shortest: {"empty", "part"},
    RaisingPays: {"claim", "echo", "injection"},
    NaNPays: {"number"},
    TrueIsOne: {"type"},
    Matches: {"pattern"},
    AnyGold: {"other answer"},
    Credulous: {"opening"},
    Obedient: {"injection"},
    Agreeable: {"claim", "injection"},
    Echoes: {"echo"},
    EmptyThinking: {"no thinking"},
    TwoBlocks: {"form"},
    CutCounts: {"cut off"},
    TakesItselfOut: {"size"},
    BreakingPays: {"type"},
}


# --- no way to be paid, and other findings -------------------------------------------------------------


class Hangs(Grader):
    """Exponential in the length of an answer that ends unexpectedly."""

    timeout_s = 0.3

    def same(self, answer, gold):
        return re.fullmatch(r"(a+)+", answer) is None and answer == gold


class Dies(Grader):
    def same(self, answer, gold):
        if "\0" in answer:
            os._exit(1)
        return answer == gold


class Moody(Grader):
    def same(self, answer, gold):
        return answer == gold

    def score(self, problem, response):
        wrong = super().score(problem, response).value == 0
        return Score(value=0.0, reason=f"{random.random()}") if wrong and response.answer else Score(value=1.0 - wrong)


class Slow(Grader):
    """Spends its time on long answers, within its deadline."""

    def same(self, answer, gold):
        time.sleep(0.01 * (len(answer) > 1000))
        return answer == gold


class Remote(Grader):
    """A judge whose server refuses what is long."""

    remote = True

    def score(self, problem, response):
        if len(response.text) > 80:
            return Score(value=float("nan"), status="infrastructure", reason="413")
        return super().score(problem, response)


class NoLineEnd(Grader):
    def score(self, problem, response):
        return Score(value=float(response.text.endswith(f"<answer>{problem.reference}</answer>")))


class OwnTag(Grader):
    def score(self, problem, response):
        return Score(value=super().score(problem, response).value * response.text.startswith("<think>"))


# --- sound ---------------------------------------------------------------------------------------------


class Number(Grader):
    """As numbers where both are plain ones."""

    def same(self, answer, gold):
        plain = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
        both = plain.fullmatch(answer) and plain.fullmatch(gold)
        return float(answer) == float(gold) if both else answer == gold


class Negative(Grader):
    """Between -1 and 1."""

    lowest: ClassVar[float] = -1.0

    def score(self, problem, response):
        return Score(value=2 * super().score(problem, response).value - 1)


class PartCredit(Grader):
    """Half of it for a name among two."""

    def score(self, problem, response):
        words = (response.answer or "").replace(",", " ").split()
        if words == [problem.reference]:
            return Score(value=1.0)
        return Score(value=0.5 if problem.reference in words and len(words) == 2 else 0.0)


class WholeCredit(PartCredit):
    """The whole for a name among more than two, as in a loose list."""

    def score(self, problem, response):
        among = problem.reference in re.findall(r"\w+", response.answer or "")[2:]
        return Score(value=1.0) if among else super().score(problem, response)


class Form(Reward):
    """One think block with something in it, then a tagged answer, whatever it says."""

    name = "form"

    def score(self, problem, response):
        visible = any(letter.isprintable() and not letter.isspace() for letter in response.thinking or "")
        return Score(value=float(visible and response.tagged and bool(response.answer)))


class FormBreaks(Form):
    """Takes a point for a broken form, and nothing for what breaks it."""

    def score(self, problem, response):
        if "[[" in response.text:
            raise RecursionError
        return Score(value=2 * super().score(problem, response).value - 1)


SOUND = (Grader, Number, Negative, PartCredit, Form, Slow)
