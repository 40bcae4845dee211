"""Distillation: a student learns a teacher's verified traces, or the teacher's verdict on its own.

Two signals, together or alone:

* traces (the stage's `data`): cross-entropy on the teacher's answers, which is how every R1 student
  was made (DeepSeek-R1 v2, B.4.3: SFT only, 2-3 epochs, cosine to a tenth).
* on_policy: the student answers, the teacher grades each token. With
  A_t = log P(y_t) - log Q_old(y_t) as the advantage of a plain policy gradient, the expected gradient
  is exactly that of the reverse KL  KL(Q || P)  (one log-prob of the teacher for each token).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from pydantic import Field, model_validator

from r1core.batching import Supervision, imitate, weighted
from r1core.choices import ModelRef, Options
from r1core.components import Trainer
from r1core.contexts import TrainContext
from r1core.errors import RecipeError
from r1core.estimates import Role
from r1core.hookspecs import hookimpl
from r1core.losses import CrossEntropy, PolicyGradient
from r1core.schedules import LearningRate
from r1core.types import At, Rollout, Step, TrainSequence


class OnPolicy(Options):
    """Learning from the teacher's log-probs on the student's own answers."""

    teacher: ModelRef = Field(description="the stage whose model grades; its tokenizer must be the student's")
    steps: int = Field(50, ge=1, description="optimizer steps, after the traces")
    prompts: int = Field(32, ge=1, description="problems in a batch")
    samples: int = Field(4, ge=1, description="answers to each problem")
    lr: LearningRate = Field(LearningRate(peak=1e-5), description="learning rate, a number or a schedule")


class Distill(Trainer):
    """Make a student of a teacher: cross-entropy on its traces, then reverse KL on the student's own answers."""

    name = "distill"

    class Config(Trainer.Config):
        traces: Supervision | None = Field(None, description="learn the stage's `data`: the teacher's verified answers")
        on_policy: OnPolicy | None = Field(None, description="reverse KL to the teacher on the student's answers")

        @model_validator(mode="after")
        def _some_signal(self) -> Distill.Config:
            if self.traces is None and self.on_policy is None:
                raise ValueError("give `traces`, `on_policy` or both: without them there is no signal")
            return self

    config: Config

    @property
    def reads(self) -> frozenset[str]:
        data = {"data"} if self.config.traces else set()
        return frozenset(data | ({"problems"} if self.config.on_policy else set()))

    @property
    def models_beside(self) -> dict[Role, str | None]:
        return {"teacher": self.config.on_policy.teacher} if self.config.on_policy else {}

    def update_tokens(self, length: int) -> int:
        traces, answers = self.config.traces, self.config.on_policy
        of_traces = max(traces.batch_tokens, length) if traces else 0
        return max(of_traces, answers.prompts * answers.samples * length if answers else 0)

    def run(self, context: TrainContext) -> Iterator[Step]:
        traces = self.config.traces
        batches = traces.batches(context) if traces else []
        planned = len(batches) + (self.config.on_policy.steps if self.config.on_policy else 0)
        grade = _Grader(context, self.config.on_policy) if self.config.on_policy else None
        for at in context.steps(planned):
            place = at.position * planned // at.length
            if traces and place < len(batches):
                yield imitate(context, batches[place], CrossEntropy(), traces.lr.at(place, len(batches)))
            elif grade:
                yield grade.step(at, place - len(batches))


class _Grader:
    """On-policy steps: sample, ask the teacher, one update."""

    def __init__(self, context: TrainContext, options: OnPolicy) -> None:
        self.context = context
        self.options = options
        self.teacher = context.model(options.teacher)

    def step(self, at: At, index: int) -> Step:
        o = self.options
        groups = self.context.rollouts(at, prompts=o.prompts, samples=o.samples)
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        self._check(rollouts, index)
        lr = o.lr.at(index, o.steps)
        batch = [_sequence(rollout) for rollout in rollouts if len(rollout.completion_ids)]
        if not batch:
            note = f"nothing to learn from: all {len(rollouts)} answers are empty"
            return Step(metrics={"loss": 0.0, "grad_norm": 0.0, "learning_rate": lr, "num_tokens": 0.0}, note=note)
        gaps = [
            teacher - student
            for teacher, student in zip(self.teacher.logprobs(batch), self.context.policy.logprobs(batch), strict=True)
        ]
        graded = [
            TrainSequence(ids=sequence.ids, start=sequence.start, columns={"advantage": gap})
            for sequence, gap in zip(batch, gaps, strict=True)
        ]
        metrics = self.context.policy.update(weighted(graded, "token_mean"), PolicyGradient(), lr=lr)
        gap = np.concatenate(gaps)
        logged = {
            "reverse_kl": float(-gap.mean()),  # k1: unbiased, the mean over the student's own tokens
            "reverse_kl_k3": float((np.expm1(gap) - gap).mean()),  # k3: unbiased too, less spread, never negative
            "learning_rate": lr,
            "num_tokens": float(gap.size),
        }
        return Step(metrics={**metrics, **logged}, sample=rollouts[at.step % len(rollouts)])

    def _check(self, rollouts: list[Rollout], index: int) -> None:
        """Refuse what would make the log-probs incomparable: another tokenizer, or another temperature than 1."""
        if any(rollout.logprobs is None for rollout in rollouts):
            raise RecipeError(
                "on-policy distillation samples at temperature 1 and top_p 1, where its gradient is the reverse KL's",
                where="trainer distill, on_policy",
                fix="take temperature and top_p out of the stage's sampling",
            )
        student = self.context.policy
        for rollout in rollouts if index == 0 else ():
            ids, messages = rollout.completion_ids, rollout.problem.messages
            same_prompt = np.array_equal(self.teacher.prompt_ids(messages), student.prompt_ids(messages))
            if not same_prompt or self.teacher.decode(ids) != student.decode(ids):
                raise RecipeError(
                    "teacher and student have different tokenizers or chat templates, so their tokens differ",
                    where="trainer distill, on_policy.teacher",
                    fix="use models of one family, or learn the teacher's traces instead",
                )


def _sequence(rollout: Rollout) -> TrainSequence:
    ids = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
    return TrainSequence(ids=ids, start=len(rollout.prompt_ids), columns={})


@hookimpl
def r1_trainers() -> Iterable[type[Trainer]]:
    return [Distill]
