"""What a stage's `evaluate` measures, under which names, and whether limits on it (`gate`, `extend`) can be met.

The names are those of stages/measured.py: each set, its fields as `set/field=value`, and from the
first set the details: the other rewards, `length` and `clipped_ratio`. In training they start with
`eval/`. What a trainer reports beside them (`loss`, `reward`) is known only once it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from r1core.errors import Diagnostic
from r1core.recipe.limits import Bound
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.recipe.schema import EvalSet, Stage
from r1core.suggest import closest, did_you_mean, is_slip

PREFIX = "eval/"
SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_.+-]*")
NAMES = "use letters, digits and @ _ . + -, a letter or digit first"


def check_measures(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """What is wrong with the stage's evaluation, and with limits on what it does not measure."""
    spec, at = draft.stage.evaluate, ("stages", draft.id)
    if spec is not None:
        if not spec.sets:
            yield resolved.document.finding((*at, "evaluate", "sets"), "nothing to measure on")
        if spec.every is not None and draft.kind != "train":
            message = "`every` belongs to evaluation within a train stage"
            yield resolved.document.finding((*at, "evaluate", "every"), message)
        for name, chosen in spec.sets.items():
            yield from _set(resolved, draft, name, chosen)
    if draft.kind == "train":
        yield from _limits(resolved, draft)


def part_names(rewards: Sequence[str]) -> list[str]:
    """One name for each reward: the last part of its recipe name, numbered from the second of a name on."""
    names: list[str] = []
    for reward in rewards:
        short = reward.rpartition("/")[2].rpartition(":")[2]
        candidates = (short if number == 1 else f"{short}_{number}" for number in range(1, len(rewards) + 1))
        names.append(next(name for name in candidates if name not in names))
    return names


def _details(stage: Stage) -> list[str]:
    return [*part_names([use.part for use in stage.rewards])[1:], "length", "clipped_ratio"]


def _set(resolved: Resolved, draft: Draft, name: str, chosen: EvalSet) -> Iterator[Diagnostic]:
    at, document = ("stages", draft.id, "evaluate", "sets", name), resolved.document
    if not SET_NAME.fullmatch(name):
        yield document.finding(at, f"set {name!r} names a folder: {NAMES}")
    if name in _details(draft.stage) and chosen.reward != name:
        yield document.finding(at, f"set {name!r} would hide the answers' own {name!r}", hint="give it another name")
    for key, k in (("k", chosen.k), *(("also_k", k) for k in chosen.also_k)):
        if not 1 <= k <= chosen.samples:
            yield document.finding((*at, key), f"pass@{k} needs at least {k} samples, got {chosen.samples}")
    parts = part_names([use.part for use in draft.stage.rewards])
    if chosen.reward is not None and chosen.reward not in parts:
        hint = did_you_mean(chosen.reward, parts, otherwise="rewards: ")
        yield document.finding((*at, "reward"), f"{chosen.reward!r} is not among the stage's rewards", hint=hint)
    own = [draft.stage.model] if isinstance(draft.stage.model, str) else []
    models = [*own, *draft.stage.models]
    for i, model in enumerate(chosen.models or ()):
        if model not in models:
            hint = did_you_mean(model, models, otherwise="models: ")
            yield document.finding((*at, "models", i), f"{model!r} is not among the stage's models", hint=hint)


def _limits(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """A gate on `eval/...` is a metric of the stage's own evaluation or of its trainer's; whatever `extend` waits for
    is one of the evaluation."""
    stage = draft.stage
    limits: list[tuple[tuple[str | int, ...], Bound]] = [
        (("gate", i), bound)
        for i, bound in enumerate(stage.gate)
        if bound.metric not in draft.trainer_measures
        if bound.metric.startswith(PREFIX) or any(is_slip(bound.metric, PREFIX + name) for name in _names(stage))
    ]
    if stage.extend is not None and stage.evaluate is not None:
        limits.append((("extend", "until"), stage.extend.until))
    for path, bound in limits:
        if not _is_measured(stage, bound.metric):
            at, own = (
                ("stages", draft.id, *path, "metric"),
                draft.trainer_measures if path[0] == "gate" else frozenset(),
            )
            who = f"neither `evaluate` nor the trainer measures {bound.metric!r}"
            message = who if own else f"the stage's `evaluate` does not measure {bound.metric!r}"
            hint = did_you_mean(bound.metric, own, otherwise="measured: ") if own else _hint(stage, bound.metric)
            yield resolved.document.finding(at, message, hint=hint)


def _is_measured(stage: Stage, metric: str) -> bool:
    name, slash, field = metric.removeprefix(PREFIX).partition("/")
    if stage.evaluate is None or not metric.startswith(PREFIX):
        return False
    if not slash:
        return name in stage.evaluate.sets or name in _details(stage)
    return name in stage.evaluate.sets and any(field.startswith(f"{by}=") for by in stage.evaluate.sets[name].by)


def _hint(stage: Stage, metric: str) -> str:
    if stage.evaluate is None:
        return "give the stage `evaluate`"
    known = [PREFIX + name for name in _names(stage)]
    is_slip_of_one = any(is_slip(metric, name) for name in known)
    near = closest(metric, known) if is_slip_of_one else PREFIX + closest(metric.removeprefix(PREFIX), _names(stage))
    return f"did you mean {near!r}?" if near != PREFIX else f"it measures {', '.join(known)}"


def _names(stage: Stage) -> list[str]:
    """All that the stage's evaluation measures, without the prefix."""
    sets = stage.evaluate.sets if stage.evaluate is not None else {}
    fields = [f"{name}/{field}=..." for name, chosen in sets.items() for field in chosen.by]
    return [*sets, *fields, *_details(stage)] if sets else []
