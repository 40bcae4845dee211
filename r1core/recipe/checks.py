"""What no single stage can see: edges that lead nowhere, cycles, missing inputs, needs that nobody meets."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from r1core.choices import Use
from r1core.components import AdvantageEstimator, DataFilter, ProblemSource, Sampler
from r1core.errors import Diagnostic
from r1core.plugins import Loaded
from r1core.recipe.balance import check_balance
from r1core.recipe.capacity import check_capacity
from r1core.recipe.fields import check_fields
from r1core.recipe.findings import refused
from r1core.recipe.fitness import check_models, has_score_head
from r1core.recipe.gating import check_gating
from r1core.recipe.measures import check_measures
from r1core.recipe.names import Draft, Reference, asks_elsewhere
from r1core.recipe.reading import missing, unread
from r1core.recipe.regressions import check_regressions
from r1core.recipe.remote import check_remote
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import Scratch, StageKind
from r1core.recipe.teaching import check_teachers
from r1core.schedules import Schedule
from r1core.suggest import did_you_mean

ARTIFACT: Mapping[StageKind, str] = {
    "import": "model",
    "train": "model",
    "sample": "data",
    "review": "data",
    "signals": "signals",
    "evaluate": "table",
}
COUNTED = {"model": "a model", "table": "a table"}
"""Artifacts with their article, where they have one."""
PROVIDED = frozenset({"rewards", "components", "values", "greedy", "critic"})
"""What the training loop can give an advantage estimator."""


def check_graph(resolved: Resolved, drafts: Sequence[Draft]) -> None:
    """Raise one RecipeError with every finding about how the stages fit together."""
    by_id = {draft.id: draft for draft in drafts}
    found = [
        f
        for d in drafts
        for check in (_edges, check_models, check_fields, check_capacity)
        for f in check(resolved, d, by_id)
    ]
    own = (
        *(_inputs, _folder, _scratch, _reviewed, _given, _schedules, _ahead, _estimators, _filters, _forgetful),
        *(check_balance, check_measures, check_regressions, check_gating, check_teachers, check_remote),
    )
    found += [f for d in drafts for check in own for f in check(resolved, d)]
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
            message = f"{_a(kind)} stage makes {COUNTED.get(made, made)}"
            wanted = f"{reference.stage!r} is not {COUNTED.get(reference.artifact, reference.artifact)}: {message}"
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
    return list(dict.fromkeys(d.name for d in by_id.values() if ARTIFACT[d.kind] == artifact))


# --- inputs ----------------------------------------------------------------------------------


def _inputs(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    at, document = ("stages", draft.id), resolved.document
    elsewhere = asks_elsewhere(draft.stage, draft.components) is not None
    for key, why in missing(draft.stage, draft.trainer, draft.trainer_reads, elsewhere=elsewhere):
        fix = f"set `engines: {{{key}: ...}}`, or `{key}:` in the stage" if key in ("policy", "sampler") else ""
        yield document.finding(at, f"missing key {key!r}: {why}", hint=fix)
    for key in unread(draft.stage, list(document.root.at(at).map), draft.trainer_reads):
        who = f"trainer {draft.trainer}" if draft.trainer else f"{_a(draft.kind)} stage"
        yield document.finding((*at, key), f"{who} does not read {key!r}", hint="remove it")


def _folder(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """An `import` that can only be a folder must be one; a URL is neither that nor a hub id."""
    name = draft.stage.import_
    if name is not None and "://" in name:
        hint = (
            "give a folder or a hub id. A teacher behind an endpoint is named by the stage that asks it, in place of "
            "`model`: sampler: {use: .., endpoint: {url: ..}}, as in recipes/distill_from_endpoint.yaml"
        )
        message = f"{name!r} is a URL, and a model is imported from files"
        yield resolved.document.finding(("stages", draft.id, "import"), message, hint=hint)
    elif name is not None and Path(name).is_absolute() and not Path(name).is_dir():
        at = ("stages", draft.id, "import")
        yield resolved.document.finding(at, f"there is no folder {name!r}", hint="give a model's folder, or a hub id")


def _scratch(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """The first source among the data of a model from scratch has to write its tokenizer."""
    found = next(((i, datum) for i, datum in enumerate(draft.stage.data) if isinstance(datum, Use)), None)
    if draft.kind != "train" or not isinstance(draft.stage.model, Scratch) or found is None:
        return
    source = _loaded(draft, "source", found[1])
    assert issubclass(source.cls, ProblemSource), "the host gives what was asked for"
    if source.cls.write_tokenizer is ProblemSource.write_tokenizer:
        message = f"{_named(source)} brings no tokenizer: a model made from scratch takes it from its first source"
        hint = "put a source that writes one first, or start from a model"
        yield resolved.document.finding(("stages", draft.id, "data", found[0]), message, hint=hint)


def _reviewed(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """People look at one dataset at a time: what they say of a row is found by its id."""
    data = draft.stage.data
    if draft.kind == "review" and data and (len(data) > 1 or isinstance(data[0], Use)):
        message, hint = "a review stage looks at the data of one stage", "give each dataset a review of its own"
        yield resolved.document.finding(("stages", draft.id, "data"), message, hint=hint)


def _given(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Given answers come from one place, and whose they were is read from rows alone."""
    stage, at = draft.stage, ("stages", draft.id)
    if draft.kind != "sample" or not stage.data:
        return
    if stage.problems is not None:
        message, hint = "given answers are those of `problems` or of `data`, not of both", "remove one"
        yield resolved.document.finding((*at, "data"), message, hint=hint)
    for i, datum in enumerate(stage.data):
        if isinstance(datum, Use):
            message = f"given answers in `data` are those of a stage, {datum.use!r} is a source"
            yield resolved.document.finding((*at, "data", i), message, hint="give it as `problems`")


def _schedules(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Only training has steps: elsewhere every point but the first would be left out without a word."""
    stage = draft.stage
    given: dict[tuple[str, ...], Schedule[Any] | None] = {
        ("problems",): stage.problems if draft.kind == "sample" else None,
        ("sampling", "max_new_tokens"): stage.sampling.max_new_tokens,
        ("sampling", "temperature"): stage.sampling.temperature,
    }
    for path, schedule in given.items() if draft.kind in ("sample", "evaluate") else ():
        if schedule is not None and len(schedule.points) > 1:
            message = f"{_a(draft.kind)} stage has no steps that a schedule could follow"
            hint = f"give stage {draft.id!r} one value of its own"
            yield resolved.document.finding(("stages", draft.id, *path), message, hint=hint)


def _ahead(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Sampling beside training needs a sampler that can, and a trainer that knows what it gets."""
    if not draft.stage.sampling.ahead:
        return
    path = ("stages", draft.id, "sampling", "ahead")
    sampler = _loaded(draft, "sampler", draft.stage.sampler) if draft.stage.sampler is not None else None
    if draft.kind != "train":
        message, hint = f"{_a(draft.kind)} stage trains nothing meanwhile", "leave it out"
        yield resolved.document.finding(path, message, hint=hint)
    elif sampler is not None and not cast(type[Sampler], sampler.cls).overlaps:
        message = f"{_named(sampler)} cannot sample while the policy is trained"
        yield resolved.document.finding(path, message, hint="choose one with weights of its own, or leave it out")
    elif not draft.trainer_is_off_policy:
        message = f"trainer {draft.trainer or 'of this stage'} cannot learn from answers of older weights as it is set"
        hint = (
            "let it weigh them by the sampler's log-probs (an importance ratio), and sample batches at once, no refill"
        )
        yield resolved.document.finding(path, message, hint=hint)


# --- what components need ----------------------------------------------------------------------


def _estimators(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    for component in draft.components:
        if not issubclass(component.cls, AdvantageEstimator):
            continue
        for need in sorted(component.cls.needs - PROVIDED):
            message = f"{_named(component)} needs {need!r}, not provided"
            hint = did_you_mean(need, PROVIDED, otherwise="provided: ")
            yield resolved.document.finding(("stages", draft.id, "train"), message, hint=hint)
        policy = next((c for c in draft.components if c.kind == "policy"), None)
        if "critic" in component.cls.needs and policy is not None and not has_score_head(policy):
            message = f"{_named(component)} needs a critic, policy {policy.name} has no score head to make one of"
            hint = "train it with another policy, or take an estimator without a critic"
            yield resolved.document.finding(("stages", draft.id, "train"), message, hint=hint)


def _filters(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """What the filters of a sample stage read beside the answers: scores, where it has rewards or rows with scores."""
    provided = frozenset({"scores"} if draft.stage.rewards or draft.stage.data else ())
    for i, use in enumerate(draft.stage.filters if draft.kind == "sample" else ()):
        component = _loaded(draft, "filter", use)
        judge = component.cls(component.cls.Config.model_validate(use.options))
        assert isinstance(judge, DataFilter), "the host gives what was asked for"
        for need in sorted(judge.needs - provided):
            message = f"{_named(component)} needs {need!r}, not provided"
            hint = "give the stage `rewards`" if need == "scores" else did_you_mean(need, {"scores"})
            yield resolved.document.finding(("stages", draft.id, "filters", i), message, hint=hint)


def _forgetful(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """What a filter learns piece by piece is kept with the units of a sample stage; training has none."""
    for component in draft.components if draft.kind == "train" else ():
        if issubclass(component.cls, DataFilter) and component.cls.learned is not DataFilter.learned:
            message = f"{_named(component)} remembers a whole dataset, which training would forget at a kill"
            hint = "use it in the `filters` of a sample stage"
            yield resolved.document.finding(("stages", draft.id, "train"), message, hint=hint)


def _loaded(draft: Draft, kind: str, use: Use) -> Loaded:
    return next(c for c in draft.components if (c.kind, c.name) == (kind, use.use))


def _named(component: Loaded) -> str:
    return f"{component.name} ({component.distribution} {component.version})"


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
