"""`evaluate`: models on held-out problems, as one table; the same measure serves within training.

The unit of replay is a chunk of one set's problems for one model; the numbers are made from the rows
that the units left on disk (measured.py), so a resumed evaluation ends with the same ones. The same
problems get the same keys whichever model answers and whenever, so two models, or two moments of
one, differ by their weights alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.errors import RecipeError
from r1core.events import SampleShown, StepDone
from r1core.recipe.earlier import MANIFEST
from r1core.recipe.schema import EvalSet, EvaluateSpec
from r1core.scoring import ScoringService
from r1core.stages.base import Job
from r1core.stages.given import groups_of
from r1core.stages.manifest import manifest, sampled_facts, set_facts, templates
from r1core.stages.measured import Measured, Row, measured
from r1core.stages.problems import first
from r1core.stages.sampling import sample_groups
from r1core.stages.units import Units
from r1core.store import MetricsWriter, problem_of, read_rows, rollout_row, write_json
from r1core.store.metrics import METRICS
from r1core.types import Group, Problem, Rollout, Score, Verdict
from r1core.world import share, whole


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """The `part`-th chunk of a set's problems, for one model."""

    model: str
    set: str
    part: int
    problems: Sequence[Problem]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A model that answers, and the rewards that judge it."""

    job: Job
    spec: EvaluateSpec
    policy: Policy
    sampler: Sampler
    scoring: ScoringService

    def rows(self, name: str, part: int, problems: Sequence[Problem]) -> list[dict[str, Any]]:
        """The scored answers to one chunk of the set `name`, in order."""
        if not problems:
            return []
        wanted, start = self.spec.sets[name], part * self.spec.chunk
        read: dict[int, Rollout] = {}

        def arrived(place: int, rollout: Rollout) -> None:
            read[place] = _read(rollout, wanted)
            batch.add(place, read[place])

        with self.scoring.batch([wanted.samples] * len(problems)) as batch:
            sample_groups(
                self.sampler,
                self.policy,
                problems,
                samples=wanted.samples,
                max_new_tokens=self.job.stage.stage.sampling.max_new_tokens.at(0, 1),
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                key=lambda index, sample: self.job.key("evaluate", name, start + index, sample),
                arrived=arrived,
            )
            groups = batch.finish(_grouped(problems, read, wanted.samples))
        return [_row(*pair) for group in groups for pair in zip(group.rollouts, group.scores, strict=True)]


def run(job: Job) -> dict[str, float]:
    """Measure every model; leaves the answers in `data/<model>/<set>/`, `data/results.json` with the rows, and how they
    were measured in `data/manifest.json`."""
    spec = job.stage.stage.evaluate
    assert spec is not None, "an evaluate stage says what to measure"
    chunks = {name: _chunks(job, wanted, spec.chunk) for name, wanted in spec.sets.items()}
    facts = {name: set_facts(job.plan, job.stage, spec.sets[name], list(chain(*own))) for name, own in chunks.items()}
    plan = _plan(job, spec, chunks)
    marks: dict[str, Mapping[str, str]] = {}
    ends = list(accumulate(len(own) for _, own in plan))
    rows: list[dict[str, Any]] = []
    with (
        Units(job, [unit.problems for _, own in plan for unit in own]) as units,
        job.scoring() as scoring,
        MetricsWriter(job.folder / METRICS) as writer,
    ):
        before = sum(end <= len(units.finished) for end in ends)
        job.started(len(plan), done=before)
        for step, ((model, own), end) in enumerate(zip(plan, ends, strict=True), start=1):
            _answer(job, spec, scoring, units, own, end)
            answers = {name: list(read_rows(job.folder / "data" / model / name)) for name in _sets(spec, model)}
            found = measured(spec.sets, answers, correct_part=scoring.correct_part)
            _say_unknown(job, model, found)
            marks[model] = _marks(units, model)
            rows.append(found.row(model))
            event = _event(job, step, len(plan), found, answers)
            if step > before:
                job.step(event, writer)
            else:
                job.log(step, event.metrics, writer)
    write_json(job.folder / "data" / "results.json", rows)
    sets = {model: _sets(spec, model) for model in marks}
    sampled = {model: sampled_facts(job.plan, model) for model in marks}
    write_json(job.folder / "data" / MANIFEST, manifest(facts, marks, sets, sampled))
    _say_templates(job, marks)
    return job.last_metrics


def measure(job: Job, spec: EvaluateSpec, policy: Policy, sampler: Sampler, scoring: ScoringService) -> Measured:
    """A model in training on every set, in memory."""
    asked = _Asked(job=job, spec=spec, policy=policy, sampler=sampler, scoring=scoring)
    answers: dict[str, Sequence[Row]] = {}
    for name, wanted in spec.sets.items():
        chunks = _chunks(job, wanted, spec.chunk)
        own = [asked.rows(name, part, chunks[part]) for part in share(job.world, len(chunks))]
        answers[name] = [row for rows in whole(job.world.gather(own)) for row in rows]
    scoring.metrics()  # what was measured here says nothing about the rewards of training
    return measured(spec.sets, answers, correct_part=scoring.correct_part)


def _plan(
    job: Job, spec: EvaluateSpec, chunks: Mapping[str, Sequence[Sequence[Problem]]]
) -> list[tuple[str, list[_Unit]]]:
    """The units of each model: every chunk of every set that is meant for it."""
    return [
        (
            model,
            [
                _Unit(model=model, set=name, part=part, problems=problems)
                for name in _sets(spec, model)
                for part, problems in enumerate(chunks[name])
            ],
        )
        for model in job.stage.stage.models
    ]


def _sets(spec: EvaluateSpec, model: str) -> list[str]:
    return [name for name, wanted in spec.sets.items() if wanted.models is None or model in wanted.models]


def _chunks(job: Job, wanted: EvalSet, size: int) -> list[list[Problem]]:
    """The set's problems in chunks; one without any where the source is empty."""
    assert isinstance(wanted.problems, Use), "the plan resolves problem slots"
    problems = first(job.asked(wanted.problems), wanted.limit, seed=job.stage.seed)
    return [problems[start : start + size] for start in range(0, max(len(problems), 1), size)]


def _answer(
    job: Job, spec: EvaluateSpec, scoring: ScoringService, units: Units, own: Sequence[_Unit], end: int
) -> None:
    """Do what is left of one model's units, which end before unit `end`."""
    if own and job.plan.stage(own[0].model).kind == "sample":
        _judge(job, spec, scoring, units, own, end)
        return
    asked: _Asked | None = None
    for number in units.left(end):
        unit = own[number - (end - len(own))]
        if asked is None:
            policy = job.policy().open(job.artifacts[unit.model], trainable=False)
            asked = _Asked(job=job, spec=spec, policy=policy, sampler=job.sampler(policy), scoring=scoring)
        rows = asked.rows(unit.set, unit.part, unit.problems)
        folder = job.folder / "data" / unit.model / unit.set
        units.finish(
            rows,
            folder,
            part=unit.part,
            told={"model": unit.model, "set": unit.set, "marks": dict(asked.policy.text_marks)},
        )


def _judge(job: Job, spec: EvaluateSpec, scoring: ScoringService, units: Units, own: Sequence[_Unit], end: int) -> None:
    """The same for answers that a sample stage left: a teacher's elsewhere, or recorded ones."""
    found: dict[str, Group] | None = None
    for number in units.left(end):
        unit = own[number - (end - len(own))]
        if found is None:
            found = {group.problem.id: group for group in groups_of(job.artifacts[unit.model])}
        wanted = spec.sets[unit.set]
        groups = [_answered(job, unit, found.get(each.id), each, wanted.samples) for each in unit.problems]
        whole = [rollout.response.apart for group in groups for rollout in group.rollouts]
        groups = [replace(group, rollouts=tuple(_read(each, wanted) for each in group.rollouts)) for group in groups]
        if groups:
            with scoring.batch([len(group.rollouts) for group in groups]) as batch:
                groups = batch.finish(groups)
        pairs = [pair for group in groups for pair in zip(group.rollouts, group.scores, strict=True)]
        rows = [
            _judged(rollout, _without(score, scoring.form_parts) if is_apart else score)
            for (rollout, score), is_apart in zip(pairs, whole, strict=True)
        ]
        refused = sum(not row["keep"] for row in rows)
        if refused:
            job.note(f"{refused} of {len(rows)} answers of {unit.model} in {unit.set} were refused: unknown, not wrong")
        folder = job.folder / "data" / unit.model / unit.set
        units.finish(rows, folder, part=unit.part, told={"model": unit.model, "set": unit.set, "marks": {}})


def _judged(rollout: Rollout, score: Score) -> dict[str, Any]:
    """The row of an answer that was there. What was refused has no text, so nothing is known of it."""
    if not rollout.refused:
        return _row(rollout, score)
    reason = f"refused: {rollout.refused}"
    unknown = Score(value=math.nan, status="infrastructure", reason=reason)
    return rollout_row(rollout, unknown, Verdict(keep=False, reason=reason))


def _row(rollout: Rollout, score: Score) -> dict[str, Any]:
    """An answer with what the rewards read of it."""
    return {**rollout_row(rollout, score, Verdict(keep=True)), "extracts": dict(score.extracts)}


def _read(rollout: Rollout, wanted: EvalSet) -> Rollout:
    """The answer as the set reads it."""
    return rollout if wanted.thinking == "required" else replace(rollout, response=rollout.response.unthought())


def _grouped(problems: Sequence[Problem], read: Mapping[int, Rollout], samples: int) -> list[Group]:
    return [
        Group(problem=problem, rollouts=tuple(read[place] for place in range(n * samples, (n + 1) * samples)))
        for n, problem in enumerate(problems)
    ]


def _without(score: Score, form: Set[str]) -> Score:
    """The score of an answer whose form nobody knows: an endpoint gave it apart from its thinking."""
    return replace(score, parts={name: value for name, value in score.parts.items() if name not in form})


def _answered(job: Job, unit: _Unit, group: Group | None, problem: Problem, samples: int) -> Group:
    """The answers to one problem. Raises RecipeError unless they are as many as the set asks for, to this question."""
    count = len(group.rollouts) if group is not None else 0
    if group is not None and count == samples and group.problem.messages == problem.messages:
        return group
    raise RecipeError(
        f"stage {unit.model!r} has {count} answers to problem {problem.id!r}, set {unit.set!r} wants {samples}",
        where=f"stages.{job.stage.id}.models",
        fix="let the sample stage ask the same problems, as often",
    )


def _marks(units: Units, model: str) -> Mapping[str, str]:
    """The hashes of the model's tokenizer and template, as its units told them."""
    found: Mapping[str, str] = next((entry["marks"] for entry in units.finished if entry["model"] == model), {})
    return found


def _say_templates(job: Job, marks: Mapping[str, Mapping[str, str]]) -> None:
    """Models of several families are asked in the words of several templates: that is part of what is compared."""
    groups = templates(marks)
    if len(groups) > 1:
        told = "; ".join(", ".join(group) for group in groups)
        job.note(f"their chat templates differ, so the prompts did, too: {told}")


def _say_unknown(job: Job, model: str, found: Measured) -> None:
    for name in found.unknown:
        job.note(f"no answer of {model} in {name} has a verdict: its {name} is unknown")


def _event(job: Job, step: int, total: int, found: Measured, answers: Mapping[str, Sequence[Row]]) -> StepDone:
    """What is logged of a model, with its first answer to show."""
    model = job.stage.stage.models[step - 1]
    metrics = {f"{model}/{name}": value for name, value in found.metrics.items()}
    row = next((row for rows in answers.values() for row in rows), None)
    sample = None
    if row is not None:
        score = None if math.isnan(row["score"]) else row["score"]
        sample = SampleShown(question=problem_of(row).question, text=row["prefilled"] + row["text"], score=score)
    return StepDone(stage=job.stage.id, step=step, total=total, metrics=metrics, sample=sample)
