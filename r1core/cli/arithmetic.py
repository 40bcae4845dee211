"""The batch arithmetic of a stage: steps, answers and tokens, before anything runs.

A trainer's numbers are read from its own Config; what it samples and learns from it tells itself
(`Trainer.rollout_batches`, `Trainer.learns_from`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from r1core.components import AdvantageEstimator, Trainer
from r1core.recipe.checks import PROVIDED
from r1core.recipe.plan import Plan, StagePlan
from r1core.recipe.schema import Stage
from r1core.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a stage will generate, in words, and how many tokens its answers have at most."""

    lines: tuple[str, ...] = ()
    tokens: int = 0


def numbers_of(plan: Plan, stage: StagePlan) -> Iterator[str]:
    """A train stage's planned steps, the numbers of its trainer's Config, and what teaches."""
    trainer = _trainer(plan, stage)
    if trainer is None:
        return
    steps = trainer.planned_steps
    yield f"{steps} steps" if steps is not None else "steps: as many as its data makes"
    config = {name: getattr(trainer.config, name) for name in type(trainer.config).model_fields}
    numbers = [f"{name} {value}" for name, value in config.items() if type(value) in (int, float) and name != "steps"]
    if numbers:
        yield ", ".join(numbers)
    yield from trainer.learns_from


def load_of(plan: Plan, stage: StagePlan) -> Load:
    """The answers that a stage samples, and their tokens at most."""
    body = stage.stage
    if body.sample is not None and body.sample.answers == "given":
        return Load(lines=(_given(body),))
    if body.sample is not None:
        return _load(stage, [("", body.sample.sampled, body.sample.samples, 1)])
    if body.signals is not None:
        kept = (
            f"the {body.signals.kept} likeliest tokens in each place, and the text's own" if body.signals.kept else ""
        )
        told = kept or "the text's own tokens alone"
        return Load(lines=(f"log-probs at temperature {body.signals.temperature:g} of {told}",))
    if body.train is not None:
        trainer = _trainer(plan, stage)
        return _rollouts(stage, trainer) if trainer is not None else Load()
    if body.evaluate is not None:
        sets = body.evaluate.sets.items()
        return _load(stage, [(f"{name}: ", e.limit, e.samples, len(e.models or body.models)) for name, e in sets])
    return Load()


def _given(body: Stage) -> str:
    """What a sample stage takes that asks nobody."""
    assert body.sample is not None, "asked of sample stages"
    whose = f"the answers of {', '.join(str(datum) for datum in body.data)}" if body.data else "their own completions"
    many = "all" if body.sample.prompts is None else f"{body.sample.prompts}"
    return f"{many} problems with {whose}"


def _rollouts(stage: StagePlan, trainer: Trainer) -> Load:
    own = trainer.rollout_batches
    if own is None:
        return Load()
    least = "at least " if own.at_least else ""
    line = f"{own.batches} rollout batches of {own.prompts} prompts x {own.samples} samples = {own.answers:,} answers"
    split = f", {own.prompts * own.samples / own.updates:g} an update" if own.updates > 1 else ""
    counted = {name: count for name, count in trainer.answers_beside.items() if _counts(stage, name, count)}
    beside = {name: count * own.batches for name, count in counted.items()}
    more = tuple(f"{name}: at most {count:,} answers more" for name, count in beside.items())
    answers = own.answers + sum(beside.values())
    return Load(lines=(f"{least}{line}{_bounded(stage)}{split}", *more), tokens=answers * _longest(stage))


def _counts(stage: StagePlan, name: str, count: int) -> bool:
    """Whether these answers are sampled: what only estimators need, where one does."""
    estimators = [c.cls for c in stage.components if issubclass(c.cls, AdvantageEstimator)]
    return count > 0 and (name not in PROVIDED or any(name in estimator.needs for estimator in estimators))


def _load(stage: StagePlan, sets: list[tuple[str, int, int, int]]) -> Load:
    """`sets` are (label, problems, samples, models)."""
    lines = []
    for label, problems, samples, models in sets:
        of = f" of {models} models" if models > 1 else ""
        answers = problems * samples * models
        lines.append(f"{label}{problems} problems x {samples} samples{of} = {answers:,} answers{_bounded(stage)}")
    answers = sum(problems * samples * models for _, problems, samples, models in sets)
    return Load(lines=tuple(lines), tokens=answers * _longest(stage))


def _bounded(stage: StagePlan) -> str:
    return f" of at most {_longest(stage)} tokens"


def _longest(stage: StagePlan) -> int:
    limit: Schedule[int] = stage.stage.sampling.max_new_tokens
    return max(limit.points.values())


def _trainer(plan: Plan, stage: StagePlan) -> Trainer | None:
    if stage.stage.train is None:
        return None
    trainer: Trainer = plan.component("trainer", stage.stage.train)
    return trainer
