"""Whether `balance:` weighs just the datasets that the stage learns from."""

from __future__ import annotations

from collections.abc import Iterator

from r1core.errors import Diagnostic
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.suggest import did_you_mean


def check_balance(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Every weight belongs to a stage in `data`, and every datum is a stage that has one."""
    weights, data = draft.stage.balance, draft.stage.data
    at = ("stages", draft.id, "balance")
    if not weights:
        return
    for name in weights:
        if name not in data:
            hint = did_you_mean(name, [datum for datum in data if isinstance(datum, str)], otherwise="data: ")
            yield resolved.document.finding((*at, name), f"{name!r} is not among the stage's data", hint=hint)
    for i, datum in enumerate(data):
        if datum not in weights:
            named = repr(datum) if isinstance(datum, str) else f"the source {datum.use!r}"
            hint = "give it a weight" if isinstance(datum, str) else "sample a dataset from it first, and weigh that"
            yield resolved.document.finding(("stages", draft.id, "data", i), f"{named} has no weight", hint=hint)
