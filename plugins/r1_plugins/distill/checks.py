"""What is refused before the first step: log-probs of other tokens, and traces that would not be learned as written.

A student with another tokenizer or template than its teacher trains on wrong ids without an error. A template that
opens the think block itself, or a trace whose opening tag was the teacher's template's, makes the student learn texts
with two opening tags, or none. Research on both: equal vocabulary sizes prove nothing; hashes of the content do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1core.components import Policy
from r1core.contexts import Signals, TrainContext
from r1core.errors import RecipeError
from r1core.types import Problem, Rollout

from .config import Cached

TRIED_TEXTS = 4096
"""Texts, evenly spread over the data, that are encoded and decoded again."""
SHOWN = 60
"""Characters of a text in a message."""


def require_same_text(student: Policy, theirs: Mapping[str, str], *, where: str) -> None:
    """Raise RecipeError unless teacher and student make the same tokens of the same conversation, by content."""
    own = student.text_marks
    for mark, what, fix in (
        ("tokenizer", "tokenizers", "use models of one family, or learn the teacher's traces instead"),
        ("template", "chat templates", "give the student the teacher's, or learn the teacher's traces instead"),
    ):
        if own.get(mark) and theirs.get(mark) and own[mark] != theirs[mark]:
            raise RecipeError(
                f"teacher and student have different {what} (sha256 {theirs[mark][:12]} and {own[mark][:12]}), so the "
                "teacher would grade other tokens than the student writes",
                where=f"trainer distill, {where}",
                fix=fix,
            )


def require_same_tokens(student: Policy, teacher: Any, rollout: Rollout, *, where: str) -> None:
    """The same by one answer, for policies that cannot tell their marks."""
    ids, messages = rollout.completion_ids, rollout.problem.messages
    same_prompt = np.array_equal(teacher.prompt_ids(messages), student.prompt_ids(messages))
    if not same_prompt or teacher.decode(ids) != student.decode(ids):
        raise RecipeError(
            "teacher and student have different tokenizers or chat templates, so their tokens differ",
            where=f"trainer distill, {where}",
            fix="use models of one family, or learn the teacher's traces instead",
        )


def require_cache(context: TrainContext, signals: Signals, chosen: Cached) -> None:
    """Raise RecipeError where a cache is not the one that the options ask for."""
    about, where = signals.about, "trainer distill, cached"
    require_same_text(context.policy, about, where="cached.signals")
    made = {str(value) for value in dict(about["teacher"]).values()}
    if chosen.teacher is not None and chosen.teacher not in made:
        raise RecipeError(
            f"these signals are of {', '.join(sorted(made))}, not of {chosen.teacher}",
            where=f"{where}.teacher",
            fix="name the stage that has that teacher's signals",
        )
    if about["scheme"] != "top_k":
        raise RecipeError(
            f"these signals hold each token's own log-prob (scheme {about['scheme']}), and a divergence needs the "
            "teacher's likeliest tokens",
            where=f"{where}.signals",
            fix="make them with scheme: top_k",
        )
    wanted = chosen.divergence.temperature
    if wanted is not None and wanted != about["temperature"]:
        raise RecipeError(
            f"the divergence is at temperature {wanted:g}, the signals were stored at {about['temperature']:g}, and "
            "log-probs of some tokens cannot be brought to another temperature",
            where=f"{where}.divergence.temperature",
            fix=f"remove it, or store the signals at temperature {wanted:g}",
        )
    if chosen.divergence.top_k is not None and chosen.divergence.top_k > about["k"]:
        raise RecipeError(
            f"the divergence compares {chosen.divergence.top_k} tokens, the signals hold {about['k']}",
            where=f"{where}.divergence.top_k",
            fix=f"lower it, or store the signals with k: {chosen.divergence.top_k}",
        )
    if chosen.divergence.square and about["temperature"] == 1:
        raise RecipeError(
            "square changes nothing at temperature 1, at which the signals were stored",
            where=f"{where}.divergence.square",
            fix="remove it, or store the signals at another temperature",
        )


def require_round_trip(context: TrainContext, examples: Sequence[Problem]) -> None:
    """Raise RecipeError with the first trace that the student would not learn as it was written; note what the
    tokenizer merely spells otherwise (spaces, forms of one letter)."""
    asked = [each for each in examples if each.messages and each.completion is not None]
    tried = asked[:: -(-len(asked) // TRIED_TEXTS)] if asked else []
    respelt, unopened = list[str](), list[str]()
    for example in tried:
        text = (example.completion or "").encode("utf-8", "replace").decode()
        opened = context.policy.prefilled(example.messages)
        _require_same_start(example, opened, text)
        if example.prefilled is None and _closes_what_is_not_open(opened + text):
            unopened.append(example.id)
        if _back(context.policy, example, text) != text:
            respelt.append(example.id)
    if len(unopened) > len(tried) / 2:
        raise _unlearnable(
            next(example for example in tried if example.id == unopened[0]),
            f"it closes a think block that nothing opens, as {len(unopened)} of {len(tried)} do: a template opened it",
            'give the student a template that ends with "<think>", or write it before the traces',
        )
    for ids, what in (
        (respelt, "the tokenizer spells {} traces otherwise (spaces, forms of letters), {!r} first"),
        (unopened, "{} traces close a think block that nothing opens, {!r} first"),
    ):
        if ids:
            context.note(what.format(f"{len(ids)} of {len(tried)}", ids[0]))


def _require_same_start(example: Problem, opened: str, text: str) -> None:
    """What stands before the trace must be what stood before it when it was written, unless it makes it whole."""
    if "<think>" in opened and text.lstrip().startswith("<think>"):
        raise _unlearnable(
            example,
            "the student's template opens the think block, and the trace opens it again",
            'give the student a template that ends with the assistant\'s tag, without "<think>"',
        )
    written = example.prefilled
    if written is None or _letters(written) == _letters(opened):
        return
    if not _closes_what_is_not_open(written + text) or _closes_what_is_not_open(opened + text):
        raise _unlearnable(
            example,
            f"its writer's template had begun it with {written!r}, the student's begins it with {opened!r}",
            "give the student the teacher's template",
        )


def _closes_what_is_not_open(text: str) -> bool:
    head, closed, _ = text.partition("</think>")
    return bool(closed) and "<think>" not in head


def _back(policy: Policy, example: Problem, text: str) -> str:
    """The text as its tokens have it. Raises RecipeError where letters are lost, or others come in."""
    back = policy.decode(policy.completion_ids(text))
    if back != text and _letters(back) != _letters(text):
        pairs = zip(text, back, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(back)))
        raise _unlearnable(
            example,
            f"the tokenizer makes {_shown(back, at)} of {_shown(text, at)}",
            "give the student a tokenizer that knows these tokens, or leave such traces out",
        )
    return back


def _unlearnable(example: Problem, what: str, fix: str) -> RecipeError:
    return RecipeError(
        f"trace {example.id!r} would not be learned as written: {what}", where="trainer distill", fix=fix
    )


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def _shown(text: str, at: int) -> str:
    start = max(0, at - SHOWN // 3)
    return repr(text[start : start + SHOWN])
