"""Whether models are used for what they were made for: one that scores answers writes none, and is asked as trained.

A reward model that learned to see final answers and is shown whole responses would give numbers, and
nobody would notice: options that a `Ref` marks as `agree` must be those of the trainer that made the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1core.components import Policy, Trainer
from r1core.errors import Diagnostic
from r1core.plugins import Loaded
from r1core.recipe.names import Draft, Reference
from r1core.recipe.resolve import Resolved


def check_models(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    """What is wrong with the models that a stage starts from, measures, or asks."""
    for reference in draft.references:
        maker = by_id.get(reference.stage)
        if maker is None or reference.artifact != "model" or maker.kind != "train":
            continue
        if len(reference.path) <= 4 and reference.path[2] in ("model", "models"):
            yield from _writing(resolved, draft, maker, reference)
        for option in reference.agree:
            yield from _agreement(resolved, draft, maker, reference, option)
    policy = next((c for c in draft.components if c.kind == "policy"), None)
    if _scores(draft) and policy is not None and not has_score_head(policy):
        message = f"trainer {draft.trainer} needs a score head, policy {policy.name} has none"
        yield resolved.document.finding(("stages", draft.id, "train"), message, hint="train it with another policy")
    if _scores(draft) and draft.stage.evaluate is not None:
        message = f"the model of trainer {draft.trainer} scores answers: there are none of its own to measure"
        yield resolved.document.finding(("stages", draft.id, "evaluate"), message, hint="remove it")


def has_score_head(policy: Loaded) -> bool:
    """Whether this policy can be opened on a model that says one number."""
    return issubclass(policy.cls, Policy) and policy.cls.values is not Policy.values


def _scores(draft: Draft) -> bool:
    """Whether the stage trains a model that scores answers."""
    trainer = next((c.cls for c in draft.components if c.kind == "trainer"), None)
    return trainer is not None and issubclass(trainer, Trainer) and trainer.head == "score"


def _writing(resolved: Resolved, draft: Draft, maker: Draft, reference: Reference) -> Iterator[Diagnostic]:
    if _scores(maker) and not _scores(draft):
        message = f"the model of stage {maker.id!r} scores answers, it cannot write any"
        yield resolved.document.finding(reference.path, message, hint="give a model that was trained to write")


def _agreement(
    resolved: Resolved, draft: Draft, maker: Draft, reference: Reference, option: str
) -> Iterator[Diagnostic]:
    own, trained = _at(draft.plain, (*reference.path[2:-1], option)), _at(maker.plain, ("train", option))
    if own is None or own == trained:
        return
    at = (*reference.path[:-1], option)
    if trained is None:
        message = f"{maker.id!r} was trained by {maker.trainer}, which has no option {option!r} to agree with"
        hint = f"give a stage whose trainer has `{option}`"
        yield resolved.document.finding(reference.path, message, hint=hint)
    else:
        message = f"{maker.id!r} was trained with {option}: {trained}, here it is {option}: {own}"
        yield resolved.document.finding(at, message, hint=f"write `{option}: {trained}`")


def _at(plain: Any, path: tuple[str | int, ...]) -> Any:
    """The value there, None where the stage does not read it."""
    for part in path:
        if isinstance(plain, Mapping):
            plain = plain.get(str(part))
        else:
            plain = plain[int(part)] if isinstance(plain, list) and int(part) < len(plain) else None
    return plain
