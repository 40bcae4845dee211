"""`train`: drive a trainer's generator, and do between its steps what no trainer should have to do.

Between two steps the core logs, shows, evaluates, and at the planned end decides whether to go on
(`extend`) and whether the result may be used (`gate`). Ends with `model/`, a plain Hugging Face folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from r1core.components import Policy, ProblemSource, Trainer
from r1core.errors import NumericsError, RecipeError, RefusedError
from r1core.events import SampleShown, StepDone
from r1core.recipe.schema import Bound, Extend, Scratch
from r1core.stages.base import Job
from r1core.stages.context import Context
from r1core.stages.evaluate import measure
from r1core.store import MetricsWriter
from r1core.types import At, Step

MAX_SKIPPED = 3
"""Steps in a row with a loss or gradient that is not finite, after which the stage stops."""


def run(job: Job) -> dict[str, float]:
    """Train the stage's model and leave it in `model/`."""
    stage = job.stage.stage
    assert stage.train is not None, "a train stage has a trainer"
    policy = job.policy().open(_start(job), trainable=True)
    trainer: Trainer = job.build(stage.train, "trainer")
    with job.scoring() as scoring, MetricsWriter(job.folder / "metrics.jsonl") as writer:
        legs = _Legs(job)
        context = Context(job, policy, scoring, legs)
        skipped, begun = 0, time.monotonic()
        for step in trainer.run(context):
            skipped = skipped + 1 if step.metrics.get("skipped") else 0
            if skipped >= MAX_SKIPPED:
                raise NumericsError(
                    f"loss or gradient was not finite in {skipped} steps in a row",
                    where=f"stages.{stage.train.use} of {job.stage.id}, step {legs.done + 1}",
                    fix="lower the learning rate, or look at the rewards of these steps in rollouts/",
                )
            now = time.monotonic()
            extra = {**job.last_metrics, **(scoring.metrics() if stage.rewards else {}), "time/step_s": now - begun}
            begun = now
            legs.done += 1
            evaluated = _evaluate(job, policy, legs.done) if _due(job, legs) else {}
            _log(job, writer, step, legs, extra, evaluated)
    policy.export(job.folder / "model")
    shutil.rmtree(job.folder / "reference", ignore_errors=True)
    return job.last_metrics


def check_gates(stage: str, gates: list[Bound], metrics: dict[str, float]) -> None:
    """Refuse a finished stage that broke one of its limits. A metric that nobody computed is a mistake, not a pass."""
    for gate in gates:
        if gate.metric not in metrics:
            raise RecipeError(
                f"no metric {gate.metric!r}; there are {', '.join(sorted(metrics)) or 'none'}",
                where=f"stages.{stage}.gate",
            )
        if gate.violated(metrics[gate.metric]):
            limits = " and ".join(
                f"{word} {limit:g}"
                for word, limit in (("at least", gate.min), ("at most", gate.max))
                if limit is not None
            )
            raise RefusedError(
                f"{gate.metric} is {metrics[gate.metric]:.4g}, must be {limits}",
                where=f"stages.{stage}.gate",
                fix="look at the stage's metrics.jsonl; loosen the gate or change the stage",
            )


def _start(job: Job) -> Path:
    """The folder of the model to start from; made here when the stage starts from scratch."""
    model = job.stage.stage.model
    if not isinstance(model, Scratch):
        assert model is not None, "the plan checks that a train stage has a model"
        return job.artifacts[model]
    folder = job.folder / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    source = next(data for data in job.stage.stage.data if not isinstance(data, str))
    corpus: ProblemSource = job.source(source)
    corpus.write_tokenizer(folder)
    job.policy().create(folder, model.scratch, seed=job.key("weights") % 2**31)
    return folder


class _Legs:
    """The steps of a stage: the planned ones, then extensions while the metric is not reached."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = 0
        self.total = 0

    def __call__(self, planned: int) -> Iterator[At]:
        self._plan(planned)
        for position in range(planned):
            yield At(step=position, position=position, length=planned)
        extend = self.job.stage.stage.extend
        for number in range(extend.times if extend else 0):
            assert extend is not None
            more = max(1, round(planned * extend.by))
            if not self._falls_short(extend, number, more):
                return
            first = self.total
            self._plan(self.total + more)
            for position in range(more):
                yield At(step=first + position, position=position, length=more)

    def _plan(self, total: int) -> None:
        self.total = total
        self.job.started(total)

    def _falls_short(self, extend: Extend, number: int, more: int) -> bool:
        metrics = self.job.last_metrics  # the last planned step has just been evaluated
        name = extend.until.metric
        if name not in metrics:
            raise RecipeError(
                f"no metric {name!r}; there are {', '.join(sorted(metrics))}",
                where=f"stages.{self.job.stage.id}.extend",
            )
        if not extend.until.violated(metrics[name]):
            return False
        self.job.note(
            f"{name} is {metrics[name]:.3f} after {self.done} steps, not yet what is asked: "
            f"training on for {more} steps (extension {number + 1} of at most {extend.times})"
        )
        return True


def _due(job: Job, legs: _Legs) -> bool:
    spec = job.stage.stage.evaluate
    if spec is None:
        return False
    last = legs.done == legs.total
    return last if spec.every is None else last or legs.done % spec.every == 0


def _evaluate(job: Job, policy: Policy, step: int) -> dict[str, float]:
    spec = job.stage.stage.evaluate
    if spec is None:
        return {}
    measured = measure(job, policy, spec, purpose=f"step {step}")
    return {f"eval/{name}": value for name, value in measured.metrics.items()}


def _log(
    job: Job, writer: MetricsWriter, step: Step, legs: _Legs, extra: dict[str, float], evaluated: dict[str, float]
) -> None:
    shown = None
    if step.sample is not None:
        response = step.sample.response
        known = step.score is not None and step.score.known
        shown = SampleShown(
            question=step.sample.problem.question,
            text=response.prefilled + response.text,
            score=step.score.value if step.score is not None and known else None,
        )
    gap = {"sampler/logprob_gap": extra["sampler/logprob_gap"]} if "sampler/logprob_gap" in extra else {}
    verifier = {name: value for name, value in extra.items() if name.startswith(("verifier/", "time/"))}
    metrics = {**step.metrics, **verifier, **gap, **evaluated}
    job.step(StepDone(stage=job.stage.id, step=legs.done, total=legs.total, metrics=metrics, sample=shown), writer)
