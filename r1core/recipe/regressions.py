"""Gates on earlier evaluations: the file, the model and the number must be there before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from r1core.errors import Diagnostic
from r1core.recipe.earlier import EarlierError, read_earlier
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.suggest import did_you_mean


def check_regressions(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """What is wrong with a stage's gates on earlier evaluations."""
    for number, gate in enumerate(draft.stage.gate):
        if gate.results is None:
            continue
        at, document = ("stages", draft.id, "gate", number), resolved.document
        if draft.kind != "evaluate":
            hint = "put it into the evaluate stage that measures the model"
            yield document.finding((*at, "results"), f"a {draft.kind} stage writes no results to compare", hint=hint)
            continue
        if gate.model not in draft.stage.models or not gate.value:
            hint = did_you_mean(gate.model, draft.stage.models, otherwise="write <model>/<set>, models: ")
            yield document.finding((*at, "metric"), f"{gate.metric!r} is no model's metric of this stage", hint=hint)
            continue
        try:
            earlier = read_earlier(Path(gate.results))
            other = earlier.chosen(gate.model, gate.than)
            earlier.number(other, gate.value)
            if gate.by is None:
                earlier.interval(other, gate.value)
        except EarlierError as error:
            yield document.finding((*at, "results"), str(error))
