"""The signal on the student's own answers: it answers, its teacher grades each token.

`signal: logprob`: with A_t = log P(y_t) - log Q_old(y_t) as the advantage of a plain policy gradient, the expected
gradient is exactly that of the reverse KL  KL(Q || P), from one log-prob of the teacher for each token, which a teacher
that is elsewhere can tell. `signal: full`: a divergence over the whole vocabulary in each place that the student came
to, from a teacher in memory: for `reverse` that gradient without the noise of which token was drawn there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from r1core.components import Sampler
from r1core.contexts import TrainContext
from r1core.errors import RecipeError
from r1core.types import At, Floats, Rollout, TrainSequence

from .checks import require_same_tokens
from .config import OnPolicy
from .divergence import told
from .loss import ADVANTAGE, FromTeacher, Likelihood, Part
from .teachers import Faculty, Teacher, routed
from .update import PRESENT, Lesson


class AnswersSource:
    """Sample, ask the teachers."""

    name = "on_policy"

    def __init__(self, context: TrainContext, options: OnPolicy, faculty: Faculty) -> None:
        self.lr, self.steps, self._options = options.lr, options.steps, options
        self._context = context
        self._teachers = faculty.of(self.name, options)
        self._checked = False
        self.parts: Sequence[Part] = [Likelihood(self.name, given=False)]
        what = "reverse divergence by policy gradient, of the sampled tokens' log P - log Q, temperature 1, token mean"
        if options.signal == "full":
            measure = options.divergence.measure("reverse")
            self.parts = [FromTeacher(self._label(each), each.policy, measure) for each in self._teachers]
            what = told(measure, options.divergence.reduction)
            context.note(f"on the student's answers: {what}")
        context.tell("divergence", {self.name: what})

    def _label(self, teacher: Teacher) -> str:
        return f"{self.name}/{self._options.label(teacher.route)}" if self._options.teachers else self.name

    def lessons(self, at: At, number: int) -> list[Lesson]:
        """The next answers, each with its teacher's verdict."""
        groups = self._context.rollouts(at, prompts=self._options.prompts, samples=self._options.samples)
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        self._check(rollouts)
        written = [rollout for rollout in rollouts if len(rollout.completion_ids)]
        sample = rollouts[at.step % len(rollouts)] if rollouts else None
        if not written:
            note = f"nothing to learn from: all {len(rollouts)} answers are empty"
            return [Lesson(taught=[], sample=sample, note=note)]
        chosen = [routed(self._teachers, rollout.problem, where=self.name) for rollout in written]
        sequences = [_sequence(rollout) for rollout in written]
        metrics: dict[str, float] = {}
        if self._options.signal == "full":
            taught = [(self.parts[teacher], each) for teacher, each in zip(chosen, sequences, strict=True)]
        else:
            gaps = self._gaps(sequences, chosen)
            taught = [(self.parts[0], _graded(each, gap)) for each, gap in zip(sequences, gaps, strict=True)]
            metrics = self._told(gaps, chosen)
        metrics |= _of_answers(rollouts)
        o = self._options
        return [
            Lesson(taught=taught, weight=o.weight, reduction=o.divergence.reduction, metrics=metrics, sample=sample)
        ]

    def _gaps(self, sequences: Sequence[TrainSequence], chosen: Sequence[int]) -> list[Floats]:
        """log P - log Q_old of each answer's tokens, (T,); NaN where the teacher did not grade."""
        student = self._context.policy
        theirs: dict[int, Floats] = {}
        for number, teacher in enumerate(self._teachers):
            own = [place for place, asked in enumerate(chosen) if asked == number]
            if own:
                found = teacher.logprobs([sequences[place] for place in own], student)
                theirs |= dict(zip(own, found, strict=True))
        ours = student.logprobs(sequences)
        return [theirs[place] - own for place, own in enumerate(ours)]

    def _told(self, gaps: Sequence[Floats], chosen: Sequence[int]) -> dict[str, float]:
        """Two estimates of the reverse KL by the answers' own tokens, over all and by teacher."""
        metrics = _estimates(np.concatenate(gaps), "")
        for number, teacher in enumerate(self._teachers if self._options.teachers else ()):
            own = [gap for gap, asked in zip(gaps, chosen, strict=True) if asked == number]
            metrics |= _estimates(np.concatenate(own), f"/{self._options.label(teacher.route)}") if own else {}
        if not all(np.isfinite(gap).all() for gap in gaps):
            metrics[f"{self.name}/present"] = float(np.mean(np.isfinite(np.concatenate(gaps))))
        return metrics

    def _check(self, rollouts: Sequence[Rollout]) -> None:
        """Refuse what would make the log-probs incomparable: another temperature than 1, or, where marks cannot tell,
        another tokenizer."""
        if self._options.signal == "logprob" and any(rollout.logprobs is None for rollout in rollouts):
            raise RecipeError(
                "on-policy distillation by log-probs samples at temperature 1 and top_p 1, where its gradient is the "
                "reverse KL's",
                where=f"trainer distill, {self.name}",
                fix="take temperature and top_p out of the stage's sampling, or set signal: full",
            )
        if self._checked:
            return
        self._checked = True
        student = self._context.policy
        for rollout in rollouts:
            teacher = self._teachers[routed(self._teachers, rollout.problem, where=self.name)].model
            if not isinstance(teacher, Sampler) and not (student.text_marks and teacher.text_marks):
                require_same_tokens(student, teacher, rollout, where=f"{self.name}.teacher")


def _of_answers(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Lengths, and the entropy as the sampled tokens estimate it, where they are of temperature 1."""
    told = {"completions/mean_length": float(np.mean([len(rollout.completion_ids) for rollout in rollouts]))}
    logprobs = [rollout.logprobs for rollout in rollouts if rollout.logprobs is not None]
    return {**told, "entropy": float(-np.concatenate(logprobs).mean())} if logprobs else told


def _sequence(rollout: Rollout) -> TrainSequence:
    ids = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
    return TrainSequence(ids=ids, start=len(rollout.prompt_ids), columns={})


def _graded(sequence: TrainSequence, gap: Floats) -> TrainSequence:
    """The answer with its advantages; a token that nobody graded has no signal, nor has one that the teacher finds
    impossible: an infinite advantage is no number to learn from."""
    graded = np.isfinite(gap)
    columns = {ADVANTAGE: np.where(graded, gap, 0.0)}
    return replace(sequence, columns=columns if graded.all() else {**columns, PRESENT: graded})


def _estimates(gap: Floats, label: str) -> dict[str, float]:
    """k1: unbiased, the mean over the student's own tokens; k3: unbiased too, less spread, never negative."""
    known = gap[np.isfinite(gap)]
    if not known.size:
        return {}
    return {
        f"reverse_kl{label}": float(-known.mean()),
        f"reverse_kl_k3{label}": float((np.expm1(known) - known).mean()),
    }
