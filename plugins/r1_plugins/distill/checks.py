"""What is refused before the first step: log-probs of other tokens, and traces that would not be learned as written.

A student with another tokenizer or template than its teacher trains on wrong ids without an error. A template that
opens the think block itself, or a trace whose opening tag was the teacher's template's, makes the student learn texts
with two opening tags, or none. Research on both: equal vocabulary sizes prove nothing; hashes of the content do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1core.batching import closes_unopened, letters, require_same_start
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
    _require_same_end(own, theirs, where=where)
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


def _require_same_end(own: Mapping[str, str], theirs: Mapping[str, str], *, where: str) -> None:
    """Raise RecipeError where the ids are the same and only the end differs, as of a base model and a chat model of one
    family. It could be computed, and would make a student that never stops: the teacher teaches it to write an end that
    is none of its own, and finds its own impossible."""
    ends = own.get("end"), theirs.get("end")
    if not own.get("ids") or own["ids"] != theirs.get("ids") or ends[0] == ends[1]:
        return
    raise RecipeError(
        f"teacher and student have the same token ids and other end tokens: the teacher ends an answer with {ends[1]}, "
        f"the student with {ends[0]}, so it would learn an end at which it does not stop",
        where=f"trainer distill, {where}",
        fix=f'set "eos_token": "{ends[1]}" in the tokenizer_config.json of the student\'s folder; a base model has the '
        "teacher's chat template to be given, too",
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
    divergence = chosen.divergence.model_dump(exclude={"temperature", "reduction"}, exclude_none=True)
    if about["scheme"] != "top_k" and divergence:
        raise RecipeError(
            f"these signals hold each token's own log-prob (scheme {about['scheme']}), and a divergence needs the "
            "teacher's likeliest tokens",
            where=f"{where}.divergence.{min(divergence)}",
            fix="remove it, or make the signals with scheme: top_k",
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
        require_same_start(context.policy, example, where="trainer distill")
        if example.prefilled is None and closes_unopened(context.policy.prefilled(example.messages) + text):
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


def _back(policy: Policy, example: Problem, text: str) -> str:
    """The text as its tokens have it. Raises RecipeError where letters are lost, or others come in."""
    back = policy.decode(policy.completion_ids(text))
    if back != text and letters(back) != letters(text):
        pairs = zip(text, back, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text), len(back)))
        raise _unlearnable(
            example,
            f"the tokenizer makes {_shown(back, at)} of {_shown(text, at)}",
            "give the student a tokenizer that knows these tokens, or leave such traces out",
        )
    return back


def _unlearnable(example: Problem, what: str, fix: str) -> RecipeError:
    return RecipeError(f"text {example.id!r} would not be read as written: {what}", where="trainer distill", fix=fix)


def _shown(text: str, at: int) -> str:
    start = max(0, at - SHOWN // 3)
    return repr(text[start : start + SHOWN])
