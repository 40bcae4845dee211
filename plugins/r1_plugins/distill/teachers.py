"""Who teaches which problem: models in memory or elsewhere, opened once, each asked about its own problems.

A model in memory is a frozen policy; one that is elsewhere is a sampler that grades. Both are asked for log-probs of
tokens in the student's ids, so their tokenizer and template must be the student's (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from r1core.choices import Use
from r1core.components import Policy, Sampler
from r1core.contexts import TrainContext
from r1core.errors import RecipeError
from r1core.types import Floats, Problem, TrainSequence
from r1core.world import share, whole

from .checks import require_same_text
from .config import Taught, TeacherFor


@dataclass(frozen=True)
class Teacher:
    """One teacher, and the problems that it is for."""

    route: TeacherFor
    model: Policy | Sampler

    @property
    def policy(self) -> Policy:
        """The model in memory, whose whole distributions are read. Raises RecipeError where it gives none."""
        assert isinstance(self.model, Policy), "the options refuse others where the whole distribution is read"
        if type(self.model).head is Policy.head or type(self.model).head_on is Policy.head_on:
            raise RecipeError(
                f"policy {self.model.name!r} gives no loss its next-token distributions",
                where="trainer distill",
                fix="use another policy, or on_policy with signal: logprob",
            )
        return self.model

    def logprobs(self, sequences: Sequence[TrainSequence], student: Policy) -> list[Floats]:
        """(T,) of each at temperature 1; NaN for tokens that it did not grade."""
        if not isinstance(self.model, Sampler):
            return self.model.logprobs(sequences)
        world = student.world
        mine = [sequences[place] for place in share(world, len(sequences))]
        told = self.model.score(mine, top_k=0, temperature=1.0) if mine else []
        return whole(world.gather([own.astype(np.float64) for _, _, own in told]))


@dataclass
class Faculty:
    """The teachers of a stage: one that several signals name is opened once."""

    context: TrainContext
    opened: dict[str, Policy] = field(default_factory=dict)

    def of(self, name: str, chosen: Taught, *, same_text: bool = True) -> list[Teacher]:
        """A signal's teachers, in the order in which they are tried. Raises RecipeError where one has other tokens, and
        they must be the `same_text`."""
        return [Teacher(route, self._open(f"{name}.teacher", route, same_text)) for route in chosen.routes]

    def _open(self, where: str, route: TeacherFor, same_text: bool) -> Policy | Sampler:
        if isinstance(route.teacher, Use):
            sampler: Sampler = self.context.build(route.teacher, "sampler")
            sampler.sync(self.context.policy)
            return sampler
        if route.teacher not in self.opened:
            self.opened[route.teacher] = self.context.model(route.teacher)
        if same_text:
            require_same_text(self.context.policy, self.opened[route.teacher].text_marks, where=where)
        return self.opened[route.teacher]


def routed(teachers: Sequence[Teacher], problem: Problem, *, where: str) -> int:
    """The number of the first teacher that is for this problem. Raises RecipeError where there is none."""
    for number, teacher in enumerate(teachers):
        if problem.matches(teacher.route.only_for):
            return number
    fields = f"domain {problem.domain!r}, language {problem.language!r}"
    raise RecipeError(
        f"no teacher is for problem {problem.id!r} ({fields})",
        where=f"trainer distill, {where}.teachers",
        fix="add a last one without `for`, which takes all the rest",
    )
