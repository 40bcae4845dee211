"""The suite of filters: verdicts that fit the rollouts, and a memory that survives a kill.

    class TestFirstOfItsKind(FilterSuite):
        component = "mine/first_of_its_kind"
        cases = "filter_cases.jsonl"   # optional: {"responses": [...], "scores": [...], "keep": [...], "why": "..."}

A filter marks, it does not delete: what it rejects stays in the dataset with its reason.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from r1core.cases import Row, read_rows
from r1core.components import DataFilter
from r1core.errors import R1Error
from r1core.suggest import did_you_mean
from r1core.testing.suite import ComponentSuite, fail
from r1core.types import Group, Problem, Response, Rollout, Score, Status, Verdict

READABLE = frozenset({"scores"})
"""What a filter may need of a group beside the answers."""
TEXTS = (
    "first three plus five",
    "three and five",
    "count from three",
    "guess",
    "计算 三 加 五",
    "look it up\n\n    x = 1",
)


class GroupRow(Row):
    """One line of a filter's cases: a group and which of its answers are kept."""

    responses: list[str] = Field(min_length=1, description="what the model wrote, one for each sample")
    scores: list[float | None] = Field(
        default_factory=list, description="what each is worth; null where infrastructure failed; none: not scored"
    )
    keep: list[bool] = Field(description="the verdicts expected, in order")
    why: str = Field(min_length=1, description="the reason, a sentence")


class FilterSuite(ComponentSuite):
    """What a filter promises."""

    kind = "filter"
    parts: ClassVar[tuple[str, ...]] = ()
    """Names of rewards whose values the scores have as parts, for a filter that reads one by name."""
    cases: ClassVar[str] = ""
    """A file of cases beside the component's code."""
    by_place: ClassVar[bool] = False
    """True for a filter that goes by an answer's place in the list (the first k of it), not by what it is."""

    # --- verdicts --------------------------------------------------------------------------------------

    def test_its_needs_are_known(self) -> None:
        """The plan refuses what nobody provides."""
        for need in sorted(self._filter().needs - READABLE):
            fail(f"needs {need!r}, not provided; {did_you_mean(need, READABLE, otherwise='provided: ')}")

    def test_every_rollout_gets_one_verdict(self) -> None:
        """A list with one Verdict for each rollout of the group."""
        for group in self._groups():
            verdicts = self._judge(self._filter(), group)
            if not isinstance(verdicts, list) or not all(isinstance(verdict, Verdict) for verdict in verdicts):
                fail(f"{_told(group)}: judge returned {verdicts!r:.200}, not a list of verdicts")
            if len(verdicts) != len(group.rollouts):
                fail(f"{_told(group)}: {len(verdicts)} verdicts for {len(group.rollouts)} rollouts")

    def test_a_verdict_goes_with_its_rollout(self) -> None:
        """In the order of the rollouts: turned around, the same ones are kept."""
        for group in self._groups() if not self.by_place else ():
            kept = _kept(self._judge(self._filter(), group))
            turned = _kept(self._judge(self._filter(), _turned(group)))[::-1]
            if kept != turned:
                fix = "give verdicts in the order of the rollouts, or set by_place = True where the place decides"
                fail(f"{_told(group)}: keeps {kept}, in reverse order {turned}; {fix}")

    def test_a_rejection_has_a_reason(self) -> None:
        """It is what the dataset and its report say of a row that was left out."""
        for group in self._groups():
            for rollout, verdict in zip(group.rollouts, self._judge(self._filter(), group), strict=False):
                if not verdict.keep and not verdict.reason:
                    fail(f"rejects {rollout.response.text!r} without a reason; write Verdict(keep=False, reason=...)")

    def test_it_changes_nothing_that_it_is_given(self) -> None:
        """The filters after it, and the dataset, see the same group."""
        for group in self._groups():
            before = copy.deepcopy(group)
            self._judge(self._filter(), group)
            if repr(before) != repr(group):
                fail(f"{_told(group)}: judge changed what it was given; make a copy")

    def test_an_unknown_score_does_not_raise(self) -> None:
        """Infrastructure fails now and then: NaN is among the scores of any long run."""
        rng = np.random.default_rng(2)
        for unknown in (1, 4):
            group = self._group(rng, 4, unknown=unknown)
            self._judge(self._filter(), group, f"{unknown} of its 4 scores unknown")

    def test_unscored_groups_are_judged(self) -> None:
        """Where it does not need scores, a stage without rewards may use it."""
        if "scores" not in self._filter().needs:
            group = self._group(np.random.default_rng(3), 4)
            self._judge(self._filter(), Group(problem=group.problem, rollouts=group.rollouts), "without scores")

    def test_its_cases_are_as_expected(self) -> None:
        """The filter keeps what its author says, each group judged by a new instance."""
        for line, row in self._rows():
            kept = _kept(self._judge(self._filter(), self._written(row), f"row {line}"))
            if kept != row.keep:
                texts = ", ".join(f"{text[:60]!r}" for text in row.responses)
                fail(f"row {line} ({row.why}): expected keep {row.keep}, got {kept}; responses {texts}")

    # --- memory ------------------------------------------------------------------------------------------

    def test_it_goes_on_after_a_kill_as_if_there_was_none(self) -> None:
        """Each `state` is JSON, and a new instance that loads it, and relearns what was learned, judges the rest like
        the one that went on."""
        groups, pieces = list(self._groups()), list[bytes]()
        judge = self._filter()
        for number, group in enumerate(groups[:-1], start=1):
            self._judge(judge, group)
            state, piece = _json(judge.state()), judge.learned()
            pieces += [piece] if piece else []
            heir, witness = self._filter(), self._filter()
            heir.load(state)
            for each in pieces:
                heir.relearn(each)
            for earlier in groups[:number]:
                self._judge(witness, earlier)
            for later in groups[number:]:
                wanted, found = self._judge(witness, later), self._judge(heir, later)
                if wanted != found:
                    told = f"keeps {_kept(wanted)}, after a kill {_kept(found)}"
                    fail(
                        f"{_told(later)}: {told}; its state was {json.dumps(state):.200}: return all that it remembers"
                    )

    # --- asking ------------------------------------------------------------------------------------------

    def _filter(self) -> DataFilter:
        chosen: DataFilter = self.build()
        return chosen

    def _judge(self, judge: DataFilter, group: Group, how: str = "") -> list[Verdict]:
        try:
            return judge.judge(group)
        except Exception as error:
            hint = "; name the rewards that it reads in `parts`" if isinstance(error, R1Error) else ""
            fail(f"{how or _told(group)}: judge raised {type(error).__name__}: {_line(error)}{hint}")

    def _groups(self) -> Iterator[Group]:
        """Groups whose answers come again, in other company: what a filter may remember."""
        rng = np.random.default_rng(1)
        for size in (4, 6, 1, 4, 6, 5, 3, 6):
            yield self._group(rng, size)

    def _group(self, rng: np.random.Generator, size: int, *, unknown: int = 0) -> Group:
        """Different answers of different lengths and scores, the last `unknown` of them not known."""
        texts = [TEXTS[i] for i in rng.permutation(len(TEXTS))[:size]]
        responses = [f"<think>{text}</think><answer>{len(text)}</answer>" for text in texts]
        values: list[float | None] = [float(v) for v in rng.permutation(np.linspace(0, 1, max(2, size)))[:size]]
        values[size - unknown :] = [None] * unknown
        return self._built(f"p{rng.integers(1000)}", responses, values)

    def _rows(self) -> list[tuple[int, GroupRow]]:
        if not self.cases:
            return []
        path = Path(self.loaded.file).parent / self.cases
        try:
            rows = read_rows(path, GroupRow)
        except R1Error as error:
            fail(str(error))
        for line, row in rows:
            for name, count in (("scores", len(row.scores)), ("keep", len(row.keep))):
                if count != len(row.responses) and (count or name == "keep"):
                    fail(f"row {line} of {path}: {len(row.responses)} responses and {count} {name}")
        return rows

    def _written(self, row: GroupRow) -> Group:
        return self._built("p", row.responses, row.scores)

    def _built(self, name: str, responses: Sequence[str], values: Sequence[float | None]) -> Group:
        problem = Problem(id=name, messages=({"role": "user", "content": "3 + 5"},), reference="8")
        rollouts = tuple(_rollout(problem, number, text) for number, text in enumerate(responses))
        return Group(problem=problem, rollouts=rollouts, scores=tuple(self._score(value) for value in values))

    def _score(self, value: float | None) -> Score:
        known = math.nan if value is None else value
        status: Status = "infrastructure" if value is None else "verdict"
        return Score(value=known, status=status, parts=dict.fromkeys(self.parts, known))


def _rollout(problem: Problem, number: int, text: str) -> Rollout:
    """As many completion tokens as words."""
    return Rollout(
        problem=problem,
        sample=number,
        prompt_ids=np.arange(3),
        completion_ids=np.arange(len(text.split())),
        logprobs=None,
        response=Response.parse(text),
    )


def _turned(group: Group) -> Group:
    return Group(problem=group.problem, rollouts=group.rollouts[::-1], scores=group.scores[::-1])


def _json(state: Any) -> Any:
    try:
        return json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError) as error:
        fail(f"state() is not JSON: {error}; its value was {state!r:.200}")


def _kept(verdicts: Sequence[Verdict]) -> list[bool]:
    return [bool(verdict.keep) for verdict in verdicts]


def _told(group: Group) -> str:
    scores = ", ".join(f"{score.value:.2g}" for score in group.scores)
    return f"a group of {len(group.rollouts)} answers" + (f" with scores [{scores}]" if scores else "")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
