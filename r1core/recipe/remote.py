"""Samplers whose answers come from elsewhere (`Sampler.remote`): a sample stage with one has no model and no policy,
and no other stage can use one, for nothing that learns or is measured writes those answers."""

from __future__ import annotations

from collections.abc import Iterator

from r1core.errors import Diagnostic
from r1core.recipe.names import Draft, asks_elsewhere
from r1core.recipe.resolve import Resolved

USERS = ("sample", "signals")
"""The kinds of stage that may ask elsewhere."""


def check_remote(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Stages that a sampler elsewhere is of no use to, and models that nobody asks."""
    own = asks_elsewhere(draft.stage, draft.components)
    if own is None:
        return
    at = ("stages", draft.id)
    name = f"{own.name} ({own.distribution} {own.version})"
    if draft.kind not in USERS and "sampler" in draft.plain:
        what = "learns from answers of its own model" if draft.kind == "train" else "measures its own models"
        message = f"{name} gives answers of a model elsewhere, and this stage {what}"
        yield resolved.document.finding((*at, "sampler"), message, hint="name a sampler that has the stage's model")
    elif draft.kind == "sample" and draft.stage.model is not None:
        message = f"nothing is asked of it: {name} gives answers of a model elsewhere"
        yield resolved.document.finding((*at, "model"), message, hint="remove it, or name another sampler")
