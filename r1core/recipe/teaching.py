"""Who may be a teacher: an engine that tells its likeliest tokens; and who may sample: an engine that writes.

A `signals` stage has its teacher in `model`, graded by its policy, or by its own `sampler` where the teacher runs
elsewhere. A sampler within a trainer's options is a teacher, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.errors import Diagnostic
from r1core.plugins import Loaded
from r1core.recipe.annotations import Path
from r1core.recipe.loader import Document
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved


def check_teachers(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Teachers that cannot grade, samplers that cannot write, and texts that no stage has."""
    at, document = ("stages", draft.id), resolved.document
    samplers = {c.name: c for c in draft.components if c.kind == "sampler"}
    own = samplers.get(draft.stage.sampler.use) if draft.stage.sampler is not None else None
    if draft.kind == "signals":
        yield from _texts(document, draft)
        yield from _graded(document, (*at, "sampler"), own) if own is not None else _told(document, draft)
    elif own is not None and not cast(type[Sampler], own.cls).writes:
        message, hint = f"{_named(own)} writes no answers, it only grades", "name one that samples"
        yield document.finding((*at, "sampler"), message, hint=hint)
    for path, name in draft.teachers:
        if name in samplers:
            yield from _graded(document, path, samplers[name])


def _texts(document: Document, draft: Draft) -> Iterator[Diagnostic]:
    for i, datum in enumerate(draft.stage.data):
        if isinstance(datum, Use):
            message = f"a signals stage grades the texts of stages, and {datum.use!r} is a source"
            hint = "take them into a dataset first: a sample stage with `answers: given`"
            yield document.finding(("stages", draft.id, "data", i), message, hint=hint)


def _told(document: Document, draft: Draft) -> Iterator[Diagnostic]:
    """The policy, where it is the one that grades."""
    policy = next((c for c in draft.components if c.kind == "policy"), None)
    if policy is not None and cast(type[Policy], policy.cls).top_logprobs is Policy.top_logprobs:
        message = f"{_named(policy)} tells no likeliest tokens, so nothing can be learned of its teacher but texts"
        yield document.finding(("stages", draft.id, "policy"), message, hint="name another policy")


def _graded(document: Document, path: Path, sampler: Loaded) -> Iterator[Diagnostic]:
    if cast(type[Sampler], sampler.cls).score is Sampler.score:
        message = f"{_named(sampler)} cannot be a teacher: it grades no texts"
        hint = "name a sampler that does, or a stage's model"
        yield document.finding(path, message, hint=hint)


def _named(component: Loaded) -> str:
    return f"{component.name} ({component.distribution} {component.version})"
