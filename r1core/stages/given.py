"""Answers that are there already: the rows of other stages, or the completions of a source's problems.

    curated:
      sample: {answers: given, chunk: 4096}
      data: traces            # rows keep their scores, unless the stage has `rewards`; or, of a dataset from elsewhere,
      problems: {use: parquet, path: traces, prompt: problem, completion: generations}

Neighbours that belong to one problem make one group: rows with one id, problems that ask the same. They are read unit
by unit, in order, so the size of a dataset is no matter. What another stage's filters rejected stays rejected, with its
reason; with `rows: all` everything is judged anew, and without filters kept: the unfiltered side of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from r1core.choices import Use
from r1core.errors import RecipeError
from r1core.stages.base import Job
from r1core.stages.problems import first_of
from r1core.store.rows import read_ids, read_rows, response_of
from r1core.types import Group, Problem, Response, Rollout, Score, Tokens, Verdict

REFUSED = "refused: "


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A group, and the verdicts on its answers so far."""

    group: Group
    verdicts: tuple[Verdict, ...]


class Given:
    """Groups by unit, read in order and never all at once. Implements `units.Chunks`."""

    def __init__(self, read: Callable[[], Iterator[Marked]], count: int, size: int) -> None:
        self.count = count
        """Groups."""
        self._read = read
        self._size = size
        self._next = 0
        self._left: Iterator[Marked] = iter(())
        self._present: list[Marked] = []

    @classmethod
    def of(cls, job: Job) -> Given:
        """What the stage takes. Raises RecipeError where that is nothing."""
        stage = job.stage.stage
        assert stage.sample is not None, "a sample stage says what it takes"
        most, size = stage.sample.prompts, stage.sample.chunk
        folders = [job.artifacts[data] for data in stage.data if isinstance(data, str)]
        if not folders:
            problems = _problems(job)
            count = sum(1 for _ in islice(groupby(problems(), key=_question), most))
            return cls(lambda: islice(_asked(problems()), most), count, size)
        anew, rescored = stage.sample.rows == "all", bool(stage.rewards)
        ids = (name for folder in folders for name, _ in groupby(read_ids(folder)))
        count = sum(1 for _ in islice(ids, most))
        return cls(lambda: islice(_rows(folders, anew=anew, rescored=rescored), most), count, size)

    def __len__(self) -> int:
        return -(-self.count // self._size)

    def __getitem__(self, unit: int) -> list[Problem]:
        """Each answer of the unit as the completion of its problem."""
        answers = (rollout for marked in self.groups(unit) for rollout in marked.group.rollouts)
        return [replace(r.problem, completion=r.response.prefilled + r.response.text) for r in answers]

    def groups(self, unit: int) -> list[Marked]:
        """The groups of a unit: those at hand, or the next; whoever goes back begins anew."""
        if unit < self._next - 1 or not self._next:
            self._next, self._left = 0, self._read()
        while self._next <= unit:
            self._present, self._next = list(islice(self._left, self._size)), self._next + 1
        return self._present


# --- of a source ---------------------------------------------------------------------------------


def _problems(job: Job) -> Callable[[], Iterator[Problem]]:
    """How the stage's problems are read, again and again."""
    stage = job.stage.stage
    assert stage.sample is not None, "a sample stage says what it takes"
    assert stage.problems is not None, "the plan checks what a sample stage needs"
    point, most = stage.problems.at(0, 1), stage.sample.prompts
    if isinstance(point, Use):
        source = job.asked(point)
        if source.endless and most is None:
            raise _unbounded(job, f"source {point.use!r} never ends")
        return lambda: source.problems(seed=job.stage.seed)
    if most is None:
        raise _unbounded(job, "a mix is as large as is asked for")
    found = first_of(point, most, job.asked, seed=job.stage.seed)
    return lambda: iter(found)


def _unbounded(job: Job, what: str) -> RecipeError:
    return RecipeError(what, where=f"stages.{job.stage.id}", fix="say how many in `sample: {prompts: ...}`")


def _asked(problems: Iterator[Problem]) -> Iterator[Marked]:
    for _, own in groupby(problems, key=_question):
        yield _group(list(own))


def _question(problem: Problem) -> Any:
    """What neighbours of one group have in common; a document asks nothing, and stands alone."""
    return (problem.messages, problem.reference) if problem.messages else problem.id


def _group(own: Sequence[Problem]) -> Marked:
    """Answers to one question: problems of one id, that of the first."""
    rollouts = tuple(
        rollout_of(replace(each, id=own[0].id), completion_of(each), sample=number) for number, each in enumerate(own)
    )
    group = Group(problem=rollouts[0].problem, rollouts=rollouts)
    return Marked(group=group, verdicts=(Verdict(keep=True),) * len(own))


def rollout_of(problem: Problem, text: str, *, sample: int = 0) -> Rollout:
    """A text as if a model had said it. It has no tokens: there is no tokenizer that it was written with."""
    return _without_tokens(
        replace(problem, completion=None), Response.parse(text, finish=problem.finish), sample=sample
    )


def completion_of(problem: Problem) -> str:
    """The text that a problem comes with. Raises RecipeError where there is none."""
    if problem.completion is None:
        raise RecipeError(
            f"problem {problem.id!r} has no completion to take",
            where="sample, answers",
            fix="give a source with completions, or let a model answer",
        )
    return problem.completion


def _without_tokens(problem: Problem, response: Response, *, sample: int, refused: str = "") -> Rollout:
    none: Tokens = np.array([], dtype=np.int64)
    return Rollout(
        problem=problem,
        sample=sample,
        prompt_ids=none,
        completion_ids=none,
        logprobs=None,
        response=response,
        refused=refused,
    )


# --- of other stages -----------------------------------------------------------------------------


def groups_of(folder: Path) -> Iterator[Group]:
    """The answers that a sample stage left, problem by problem, to be scored anew."""
    return (marked.group for marked in _rows([folder], anew=True, rescored=True))


def _rows(folders: Sequence[Path], *, anew: bool, rescored: bool) -> Iterator[Marked]:
    for folder in folders:
        for _, rows in groupby(read_rows(folder), key=lambda row: row["id"]):
            yield _regrouped(list(rows), anew=anew, rescored=rescored)


def _regrouped(rows: Sequence[Mapping[str, Any]], *, anew: bool, rescored: bool) -> Marked:
    rollouts = tuple(_rollout(row) for row in rows)
    scores = () if rescored else _scores(rows)
    verdicts = tuple(Verdict(keep=anew or row["keep"], reason="" if anew else row["reason"]) for row in rows)
    return Marked(group=Group(problem=rollouts[0].problem, rollouts=rollouts, scores=scores), verdicts=verdicts)


def _rollout(row: Mapping[str, Any]) -> Rollout:
    problem = Problem(
        id=row["id"],
        messages=tuple(row["messages"]),
        reference=row["reference"],
        domain=row["domain"],
        language=row["language"],
        meta=row["meta"],
    )
    response = replace(response_of(row), tokens=row["tokens"])
    reason = row["reason"] if not row["keep"] and row["reason"].startswith(REFUSED) else ""
    return _without_tokens(problem, response, sample=row["sample"], refused=reason.removeprefix(REFUSED))


def _scores(rows: Sequence[Mapping[str, Any]]) -> tuple[Score, ...]:
    """The rows' scores; none where nobody scored them."""
    unscored = [row for row in rows if row["status"] is None]
    if len(unscored) == len(rows):
        return ()
    if unscored:
        raise RecipeError(
            f"answer {unscored[0]['sample']} to problem {unscored[0]['id']!r} was not scored, others to it were",
            where="sample, answers",
            fix="give the stage `rewards`: then all are scored",
        )
    return tuple(
        Score(
            value=row["score"] if row["score"] is not None else math.nan,
            status=row["status"],
            reason=row["score_reason"] or "",
            parts=row["parts"],
        )
        for row in rows
    )
