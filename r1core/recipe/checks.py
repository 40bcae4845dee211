"""What no single stage can see: edges that lead nowhere, cycles, missing inputs, needs that nobody meets."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from r1core.components import AdvantageEstimator
from r1core.errors import Diagnostic
from r1core.recipe.findings import refused
from r1core.recipe.names import Draft, Reference
from r1core.recipe.reading import missing, unread
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import EvaluateSpec, StageKind
from r1core.suggest import did_you_mean

ARTIFACT: Mapping[StageKind, str] = {"import": "model", "train": "model", "sample": "data", "evaluate": "table"}
SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_.+-]*")
NAMES = "use letters, digits and @ _ . + -, a letter or digit first"
PROVIDED = frozenset({"rewards", "components", "values"})
"""What the training loop can give an advantage estimator."""


def check_graph(resolved: Resolved, drafts: Sequence[Draft]) -> None:
    """Raise one RecipeError with every finding about how the stages fit together."""
    by_id = {draft.id: draft for draft in drafts}
    found = [
        f for d in drafts for check in (_edges, _inputs, _folder, _needs, _metrics) for f in check(resolved, d, by_id)
    ]
    if not found:
        found = list(_cycle(resolved, drafts))
    if found:
        raise refused(found)


def order(drafts: Sequence[Draft]) -> list[Draft]:
    """Every stage after its inputs; otherwise in the order of the recipe."""
    waiting, done, ordered = list(drafts), set[str](), list[Draft]()
    while waiting:
        ready = next(d for d in waiting if all(r.stage in done for r in d.references))
        waiting.remove(ready)
        done.add(ready.id)
        ordered.append(ready)
    return ordered


def _edges(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    for reference in draft.references:
        if reference.stage not in by_id:
            yield _nowhere(resolved, reference, by_id)
        elif ARTIFACT[by_id[reference.stage].kind] != reference.artifact:
            kind = by_id[reference.stage].kind
            made = ARTIFACT[kind]
            hint = did_you_mean(
                reference.stage, _makers(reference.artifact, by_id), otherwise=f"{reference.artifact}: "
            )
            message = f"{_a(kind)} stage makes a {made}" if made != "data" else f"{_a(kind)} stage makes data"
            wanted = f"{reference.stage!r} is not {'a model' if reference.artifact == 'model' else 'data'}: {message}"
            yield resolved.document.finding(reference.path, wanted, hint=hint)


def _nowhere(resolved: Resolved, reference: Reference, by_id: Mapping[str, Draft]) -> Diagnostic:
    name = reference.stage
    if name in resolved.unbound:
        who = "no profile is used" if resolved.profile == "none" else f"profile {resolved.profile!r} does not bind it"
        return resolved.document.finding(
            reference.path,
            f"nothing is bound to model slot {name!r}: {who}",
            hint=f"give it a folder or a hub id: --set models.{name}=<folder or hub id>",
        )
    hint = did_you_mean(
        name, _makers(reference.artifact, by_id), otherwise=f"stages that make a {reference.artifact}: "
    )
    return resolved.document.finding(reference.path, f"no stage {name!r}", hint=hint)


def _makers(artifact: str, by_id: Mapping[str, Draft]) -> list[str]:
    return [d.id for d in by_id.values() if ARTIFACT[d.kind] == artifact]


# --- inputs ----------------------------------------------------------------------------------


def _inputs(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    at, document = ("stages", draft.id), resolved.document
    for key, why in missing(draft.stage, draft.trainer, draft.trainer_reads):
        fix = f"set `engines: {{{key}: ...}}`, or `{key}:` in the stage" if key in ("policy", "sampler") else ""
        yield document.finding(at, f"missing key {key!r}: {why}", hint=fix)
    for key in unread(draft.stage, list(document.root.at(at).map), draft.trainer_reads):
        who = f"trainer {draft.trainer}" if draft.trainer else f"{_a(draft.kind)} stage"
        yield document.finding((*at, key), f"{who} does not read {key!r}", hint="remove it")


def _folder(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    """An `import` that can only be a folder must be one; anything else may be a hub id."""
    name = draft.stage.import_
    if name is not None and Path(name).is_absolute() and not Path(name).is_dir():
        at = ("stages", draft.id, "import")
        yield resolved.document.finding(at, f"there is no folder {name!r}", hint="give a model's folder, or a hub id")


# --- estimators and metrics --------------------------------------------------------------------


def _needs(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    for component in draft.components:
        if not issubclass(component.cls, AdvantageEstimator):
            continue
        for need in sorted(component.cls.needs - PROVIDED):
            message = f"{component.name} ({component.distribution} {component.version}) needs {need!r}, not provided"
            hint = did_you_mean(need, PROVIDED, otherwise="provided: ")
            yield resolved.document.finding(("stages", draft.id, "train"), message, hint=hint)


def _metrics(resolved: Resolved, draft: Draft, by_id: Mapping[str, Draft]) -> Iterator[Diagnostic]:
    stage = draft.stage
    if stage.evaluate is not None:
        models = [stage.model] if isinstance(stage.model, str) else []
        yield from _sets(resolved, stage.evaluate, [*models, *stage.models], draft)


def _sets(resolved: Resolved, spec: EvaluateSpec, models: Iterable[str], draft: Draft) -> Iterator[Diagnostic]:
    at = ("stages", draft.id, "evaluate")
    if not spec.sets:
        yield resolved.document.finding((*at, "sets"), "nothing to measure on")
    if spec.every is not None and draft.kind != "train":
        yield resolved.document.finding((*at, "every"), "`every` belongs to evaluation within a train stage")
    for name, chosen in spec.sets.items():
        if not SET_NAME.fullmatch(name):
            yield resolved.document.finding((*at, "sets", name), f"set {name!r} names a folder: {NAMES}")
        if chosen.k > chosen.samples:
            message = f"pass@{chosen.k} needs at least {chosen.k} samples, got {chosen.samples}"
            yield resolved.document.finding((*at, "sets", name, "k"), message)
        for i, model in enumerate(chosen.models or ()):
            if model not in models:
                hint = did_you_mean(model, models, otherwise="models: ")
                message = f"{model!r} is not among the stage's models"
                yield resolved.document.finding((*at, "sets", name, "models", i), message, hint=hint)


def _cycle(resolved: Resolved, drafts: Sequence[Draft]) -> Iterator[Diagnostic]:
    graph = {draft.id: [reference.stage for reference in draft.references] for draft in drafts}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        message = f"stages wait for each other: {' -> '.join(cycle)}"
        yield resolved.document.finding(("stages", cycle[0]), message, hint="a stage may only use earlier artifacts")


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aei' else 'a'} {kind}"
