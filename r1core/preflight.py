"""What a run is refused for before any compute, and before anything is written: the machine, the half-done work
that lies in its folder, what people wrote about its data, and the sources of its problems."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from r1core.choices import Use, key_names
from r1core.components import ProblemSource
from r1core.errors import R1Error, RecipeError, SetupError
from r1core.plugins import Loaded
from r1core.recipe.difference import differences
from r1core.recipe.elsewhere import Elsewhere
from r1core.recipe.plan import Plan, StagePlan
from r1core.scoring.python import look
from r1core.stages.golds import check_golds
from r1core.stages.review import kept_rows
from r1core.stages.review_file import read_reviews
from r1core.store import RunDirectory, StageRecord


def check_machine(stages: Sequence[StagePlan], plan: Plan | None = None) -> None:
    """Raise one SetupError with everything that these stages need and this machine lacks; with the plan, evaluations of
    answers that are there already need no engine."""
    used = {(c.kind, c.name): c for stage in stages for c in needed(stage, plan)}
    lacking = [
        f"{c.kind} {c.name} ({c.distribution} {c.version}): {finding}"
        for c in (used[key] for key in sorted(used))
        for finding in c.lacks()
    ]
    lacking += [str(error).replace("\n", "\n  ") for error in _absent(plan, stages)]
    lacking += _lacking_observers(plan)
    lacking += _lacks_parquet(stages)
    lacking += _lacking_elsewhere([each for stage in stages for each in stage.elsewhere])
    keys = sorted({name for stage in stages for name in key_names(stage.plain)})
    lacking += [
        f"the environment variable {name} is not set: export {name}=..." for name in keys if not os.getenv(name)
    ]
    if lacking:
        raise SetupError("this machine lacks:\n" + "\n".join(f"  {each}" for each in lacking), fix="see: r1 doctor")


def needed(stage: StagePlan, plan: Plan | None) -> Iterator[Loaded]:
    """The stage's components that are used in r1core's own interpreter."""
    own = stage.stage
    measures = plan is not None and own.evaluate is not None and own.train is None
    opens_none = measures and all(model in _answered_ids(plan) for model in own.models)
    return (each for each in stage.here if not (opens_none and each.kind in ("policy", "sampler")))


def _lacking_observers(plan: Plan | None) -> list[str]:
    """What the observers lack that the recipe names: those of every run do without."""
    names = dict.fromkeys(use.use for use in plan.recipe.observers) if plan is not None else {}
    return [f"observer {name}: {each}" for name in names for each in (plan.host.observer_lacks(name) if plan else ())]


def _absent(plan: Plan | None, stages: Sequence[StagePlan]) -> list[R1Error]:
    """What the machine lacks for the ranks of these stages. Raises the first RecipeError of what is not there at all:
    ranks are started when their stage's turn comes, which may be hours from now."""
    found = [error for _, error in plan.absent(stages)] if plan is not None else []
    for error in found:
        if isinstance(error, RecipeError):
            raise error
    return found


def _answered_ids(plan: Plan | None) -> frozenset[str]:
    """The stages whose artifact is answers."""
    return frozenset(each.id for each in plan.stages if each.kind == "sample") if plan is not None else frozenset()


def _lacks_parquet(stages: Sequence[StagePlan]) -> Iterator[str]:
    """Whether rows would be written and cannot be."""
    if importlib.util.find_spec("pyarrow"):
        return
    add = "pyarrow is not installed: pip install pyarrow, or 'r1core[train]'"
    if any(stage.kind in ("sample", "evaluate", "review", "signals") for stage in stages):
        yield f"datasets are parquet files: {add}"
    kept = [
        s.id for s in stages if s.kind == "train" and s.stage.problems is not None and s.stage.rollouts.keep != "none"
    ]
    if kept:
        yield f"the rollouts of {', '.join(kept)} are kept as parquet files: {add}; or set `rollouts: {{keep: none}}`"


def _lacking_elsewhere(rewards: Sequence[Elsewhere]) -> list[str]:
    """What rewards lack in the interpreters of their own; an interpreter is run where its folders have nothing to
    tell."""
    told = {each: each.lacks() for each in rewards}
    found = [f"reward {each.loaded.name}: {finding}" for each, own in told.items() for finding in own]
    asked = look([each for each, own in told.items() if not own])
    found += [f"reward {name}: {finding}" for name, own in asked.items() for finding in own]
    return list(dict.fromkeys(found))


def check_half_done(plan: Plan, folder: Path, stages: Sequence[StagePlan]) -> None:
    """Raise one RecipeError with what changed under those of `stages` that an earlier run left half done."""
    directory = RunDirectory(folder)
    records = {stage.id: record for stage in stages if (record := directory.stage(stage.id).half_done())}
    changed = [name for name, record in records.items() if record.fingerprint != plan.fingerprints[name]]
    if not changed:
        return
    lines = list(dict.fromkeys(_changes(plan, directory, changed)))
    first = [name for name in changed if not any(name in plan.dependents([other]) for other in {*changed} - {name})]
    over = " ".join(f"--from {name}" for name in first)
    with RunDirectory.open(folder):  # while someone else works there, that is what to say
        raise RecipeError(
            f"half done, and made from something else: {', '.join(changed)}\n" + "\n".join(f"  {e}" for e in lines),
            where=str(folder),
            fix=f"undo the change to go on, or start over with {over}: what was done is then set aside",
        )


def _changes(plan: Plan, directory: RunDirectory, changed: Sequence[str]) -> Iterator[str]:
    """The differences of these stages and of what they are made from, inputs first."""
    concerned = plan.ancestors(changed)
    for stage in plan.stages:
        record = _record(directory, stage.id) if stage.id in concerned else None
        if record is None or record.fingerprint == stage.fingerprint:
            continue
        found = differences(record.made_from, stage.made_from)
        yield from found or [f"stages.{stage.id}: {record.fingerprint[:12]} -> {stage.fingerprint[:12]}"]


def _record(directory: RunDirectory, stage_id: str) -> StageRecord | None:
    try:
        return directory.stage(stage_id).record()
    except SetupError:
        return None  # it is damaged, and made again at its turn


def check_reviews(plan: Plan, folder: Path, stages: Sequence[StagePlan]) -> None:
    """Read what reviewers wrote, and hold it against the data where that is finished; else its stage does so."""
    for stage in stages:
        if stage.stage.review is None or not (path := Path(stage.stage.review.path)).exists():
            continue
        (data,) = stage.inputs
        record = _record(RunDirectory(folder), data)
        ready = record is not None and (record.status, record.fingerprint) == ("finished", plan.fingerprints[data])
        try:
            read_reviews(path, kept_rows(RunDirectory(folder).stage(data).data) if ready else None)
        except SetupError:  # the data is damaged, and made again at its turn
            read_reviews(path, None)


def check_sources(plan: Plan, stages: Sequence[StagePlan]) -> None:
    """Ask every problem source for its first problem, and rewards whether they can read the golds: a missing file, a
    bad row, or questions where a stage learns answers are said before any compute."""
    learned = {str(use) for stage in stages for use in (*stage.stage.data, *_answered(stage)) if isinstance(use, Use)}
    used: Mapping[str, Use] = {str(use): use for stage in stages for use in stage.stage.sources()}
    for name, use in used.items():
        try:
            source: ProblemSource = plan.component("source", use, {})
        except KeyError:  # it reads another stage's artifact, which is not there yet
            continue
        found = next(iter(source.problems(seed=plan.seed)), None)
        if found is None:
            raise RecipeError("it has no problems", where=f"source {use.use}", fix="check its options or its file")
        if name in learned and found.completion is None:
            raise RecipeError(
                "a stage takes its answers, but its problems have no completion",
                where=f"source {use.use}",
                fix="give it the option that brings completions, or have a model answer it first",
            )
    check_golds(plan, stages)


def _answered(stage: StagePlan) -> Sequence[object]:
    """The sources whose own completions a sample stage takes."""
    spec = stage.stage.sample
    return stage.stage.asked() if spec is not None and spec.answers != "model" else ()
