"""The suite of rewards: what a verifier's author would have to think of, and models find first.

    class TestSmiles(RewardSuite):
        component = "chem/smiles"
        cases = "cases.jsonl"          # rows {"prompt", "gold", "response", "expect", "why"}: see r1 verify

Answers are scored as in training: in the real worker, with its deadline. Whatever the reward says of an
answer is learned by a model; what it raises, or is late with, counts against answers that may be right.
"""

from __future__ import annotations

import functools
import json
import math
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from r1core.cases import TOLERANCE, Ask, Asked, Case, Judged, asking, read_cases, refused_cases, spec_of
from r1core.components import Reward
from r1core.errors import R1Error
from r1core.scoring import RewardSpec
from r1core.scoring.golds import FAILED
from r1core.scoring.wire import Outcome, outcome_of, seen
from r1core.stress.probes import Probe, Sort, opened, probes
from r1core.testing.suite import ComponentSuite, fail
from r1core.types import Problem, Response, Score, Sentinel

STOPPED = ("verifier_timeout", "verifier_crash")
RAISED = "verifier_error"
NO_SCORE = "bad_score"
THREAD_TIMEOUT_S = 60.0
ODD_GOLDS: tuple[Any, ...] = (
    *(None, "", " ", [], {}, [[]], [None], {"a": None}, True, False, 0, -0.0, 1e308, 10**400, -(10**400)),
    *("NaN", "nan", "inf", "-Infinity", "1e999999999", "\x00", "\ud800", "ሴ" * 10_000, "(" * 5_000, "\\frac{1}{0}"),
)
"""What stands where a gold belongs in somebody's data set."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """All that the reward was asked, once for all tests of a suite. `gold` is a case worth the most."""

    gold: Case
    cases: Sequence[Judged]
    again: Sequence[Mapping[int, Score]]
    """Line -> score, of a second round, backwards, and of a third."""
    probed: Sequence[tuple[Probe, Asked]]
    opened: tuple[Asked, Asked] | None


class RewardSuite(ComponentSuite):
    """What a reward promises."""

    kind = "reward"
    cases: ClassVar[str] = ""
    """A file of cases beside the component's code, so that it is published with it."""
    compares_with_gold: ClassVar[bool] = True
    """False for a reward that an answer can please whatever the problem's gold is (form, language, safety): then an
    empty, evasive or cut-off answer may be worth as much as the best."""
    off_main_thread: ClassVar[bool] = True
    """False for a reward that works on a main thread only: the core's own workers give it one."""

    # --- the cases -----------------------------------------------------------------------------------

    def test_the_cases_can_fail(self) -> None:
        """A file that expects the same of all answers proves nothing."""
        lowest, expected = self._spec.lowest, [case.expect for case in self._cases()]
        if lowest not in expected:
            fail(f"no case of {self.cases} expects {lowest:g}, the reward's lowest: add an answer worth nothing")
        if max(expected) <= lowest:
            fail(f"no case of {self.cases} expects more than {lowest:g}: add an answer worth the most")

    def test_every_case_is_as_expected(self) -> None:
        """The reward says what the domain's expert says."""
        wrong = [one for one in self._exam.cases if not one.as_expected]
        if wrong:
            more = f"; {len(wrong) - 1} more: r1 verify shows them" if len(wrong) > 1 else ""
            first = wrong[0]
            fail(f"{_row(first.case)}: expected {first.case.expect:g}, got {_said(first.score)}{more}")

    def test_it_refuses_no_gold_of_its_cases(self) -> None:
        """What `refuses` refuses never reaches training, so a case of it proves nothing."""
        cases = {case.line: case for case in self._cases()}
        for line, reason in self._refusals(list(cases.values())).items():
            fail(f"{_row(cases[line])}: refuses says {reason!r}; mend the case's gold, or read such golds")

    def test_no_gold_makes_refuses_raise(self) -> None:
        """Data sets hold anything: `refuses` says why a gold is of no use, within the deadline."""
        case = self._cases()[0]
        odd = {line: replace(case.problem, reference=gold) for line, gold in enumerate(ODD_GOLDS)}
        for line, reason in self._refusals([replace(case, line=n, problem=p) for n, p in odd.items()]).items():
            if reason.startswith(FAILED):
                raised = reason.removeprefix(FAILED)
                fail(
                    f"gold {repr(ODD_GOLDS[line])[:100]}: refuses raised {raised}; return the reason, or an empty text"
                )

    # --- what is known of it ---------------------------------------------------------------------------

    def test_its_sentinels_are_worth_what_it_says(self) -> None:
        """Workers are asked them over and over: one that is mistaken stops every run."""
        sentinels = self._sentinels()
        if not sentinels:
            return
        with asking(self.loaded, self._options) as ask:
            for sentinel in sentinels:
                score, _ = ask(sentinel.problem, sentinel.response)
                told = f"sentinel {_short(sentinel.response.text)}, gold {repr(sentinel.problem.reference)[:100]}"
                if not (score.known and math.isclose(score.value, sentinel.value, rel_tol=0, abs_tol=TOLERANCE)):
                    fail(f"{told}: declared {sentinel.value:g}, got {_said(score)}")

    def test_its_sentinels_tell_a_broken_grader(self) -> None:
        """A right one and a wrong one: a grader that says the same of every answer fails one of them."""
        values = {sentinel.value for sentinel in self._sentinels()}
        if len(values) == 1:
            fail(f"all of its sentinels are worth {values.pop():g}: add one that is worth something else")

    # --- every score -----------------------------------------------------------------------------------

    def test_every_score_is_a_finite_number(self) -> None:
        """`score` returns a Score whose value is a number: a NaN would spread into every weight."""
        for where, problem, response, score in self._asked():
            if score.reason == NO_SCORE:
                got = self._here(problem, response, raw=True)
                fail(f"{where}: score returned {got}; return a Score with a finite value")

    def test_the_same_answer_gets_the_same_score(self) -> None:
        """Three times, and whatever was asked before: else learning follows noise."""
        for one in self._exam.cases:
            for scores in self._exam.again:
                again = scores[one.case.line]
                if repr(again) != repr(one.score):
                    fail(f"{_row(one.case)}: {_said(one.score)}, asked again {_said(again)}")

    def test_no_answer_makes_it_raise(self) -> None:
        """An exception would count as a wrong answer, and nobody would know: a Score says it, with its reason."""
        for where, problem, response, score in self._asked():
            if score.reason.startswith(RAISED):
                raised = self._here(problem, response)
                told = raised if isinstance(raised, str) else score.reason
                fail(f"{where}: score raised {told}; return a Score for every answer")

    def test_no_answer_takes_itself_out(self) -> None:
        """Infrastructure failures are no fault of an answer: where odd ones cause them, a model learns to be odd."""
        for probe, (score, _) in self._exam.probed if not self._spec.remote else ():
            if score.status == "infrastructure":
                fail(f"{probe.label} is an infrastructure failure ({score.reason}); say what it is worth")

    def test_hostile_answers_end_in_time(self) -> None:
        """Long, nested and unprintable answers are judged within `timeout_s`, in a worker that survives them."""
        for where, _, response, score in self._asked():
            if score.reason in STOPPED:
                late = f"was not done after {self._spec.timeout_s:g} s (timeout_s)"
                how = late if score.reason == "verifier_timeout" else "took its worker down"
                fail(f"{where}, {len(response.text)} characters: the reward {how}, twice; refuse such answers early")

    # --- what must not be paid ---------------------------------------------------------------------------

    def test_an_answer_that_is_not_there_is_not_paid(self) -> None:
        """Empty, cut off, or with the gold where no answer stands: worth less than the gold, unless a case says so."""
        self._refuse_paid("absent", "return less where `answer` is None or empty, or `finish` is length")

    def test_answer_spam_is_not_paid(self) -> None:
        """The gold among ten alternatives is no answer."""
        self._refuse_paid("spam", "compare the whole answer, do not search in it")

    def test_garbage_is_not_paid(self) -> None:
        """Hostile answers are worth less than the gold."""
        self._refuse_paid("hostile", "return less for what is no answer")

    # --- how it is called ----------------------------------------------------------------------------------

    def test_a_think_tag_that_the_prompt_opened_changes_nothing(self) -> None:
        """Chat templates may open the think block: `prefilled + text` is what counts."""
        if self._exam.opened is not None:
            written, given = (asked.score for asked in self._exam.opened)
            if repr(written) != repr(given):
                fix = "read `thinking` and `answer`, or `prefilled + text`"
                says = f"{_said(written)}, but {_said(given)} where the prompt opened its think block"
                fail(f"{_row(self._exam.gold)}: {says}; {fix}")

    def test_it_works_off_the_main_thread(self) -> None:
        """No signal.alarm: the core stops what is late, and an alarm raises in threads, where all is worth nothing."""
        if not self.off_main_thread:
            return
        judged = [one for one in self._exam.cases if one.score.reason not in STOPPED]
        found: dict[int, Outcome | str] = {}

        def run() -> None:
            for one in judged:
                found[one.case.line] = self._here(one.case.problem, one.case.response)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(THREAD_TIMEOUT_S)
        for one in judged:
            outcome = found.get(one.case.line, f"nothing within {THREAD_TIMEOUT_S:g} s")
            if isinstance(outcome, str) and not one.score.reason.startswith(RAISED):
                fail(f"{_row(one.case)}: off the main thread score raised {outcome}; leave deadlines to the core")
            if isinstance(outcome, Outcome) and outcome.status == "verdict" and outcome.value != one.score.value:
                fail(f"{_row(one.case)}: {_said(one.score)}, off the main thread {outcome.value:g}")

    def test_it_reads_no_more_than_it_sees(self) -> None:
        """With `sees = "answer"` it is shown no text and no thinking, so neither may matter."""
        for one in self._exam.cases if self._spec.sees == "answer" else ():
            whole = self._here(one.case.problem, one.case.response, hide=False)
            answer = self._here(one.case.problem, one.case.response)
            if repr(whole) != repr(answer):
                fail(f'{_row(one.case)}: {_told(answer)}, shown the text too {_told(whole)}; but sees is "answer"')

    # --- asking --------------------------------------------------------------------------------------------

    @functools.cached_property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = self._reward.config.model_dump(mode="json", by_alias=True)
        return options

    @functools.cached_property
    def _reward(self) -> Reward:
        reward: Reward = self.build()
        return reward

    @functools.cached_property
    def _spec(self) -> RewardSpec:
        return spec_of(self.loaded, self._options)

    def _sentinels(self) -> Sequence[Sentinel]:
        try:
            return list(self._reward.sentinels())
        except Exception as error:
            fail(f"sentinels raised {type(error).__name__}: {error}")

    def _refusals(self, cases: Sequence[Case]) -> dict[int, str]:
        """Line -> why it is refused, asked in a worker."""
        try:
            return refused_cases(self._spec, cases)
        except R1Error as error:
            fail(str(error))

    def _cases(self) -> list[Case]:
        if not self.cases:
            fail(f'{type(self).__name__} names no cases: set cases = "cases.jsonl", a file beside {self.loaded.file}')
        try:
            return read_cases(Path(self.loaded.file).parent / self.cases)
        except R1Error as error:
            fail(str(error))

    @property
    def _exam(self) -> Exam:
        if type(self) not in _EXAMS:
            cases = self._cases()
            try:
                with asking(self.loaded, self._options) as ask:
                    _EXAMS[type(self)] = _examine(ask, cases)
            except R1Error as error:
                fail(str(error))
        return _EXAMS[type(self)]

    def _asked(self) -> Iterator[tuple[str, Problem, Response, Score]]:
        """(where, problem, response, score) of everything that was asked once."""
        for one in self._exam.cases:
            yield _row(one.case), one.case.problem, one.case.response, one.score
        for probe, asked in self._exam.probed:
            yield probe.label, self._exam.gold.problem, probe.response, asked.score

    def _refuse_paid(self, sort: Sort, fix: str) -> None:
        worth = self._exam.gold.expect
        paid = [one.case.response for one in self._exam.cases if one.case.expect >= worth]
        for probe, (score, _) in self._exam.probed if self.compares_with_gold else ():
            if probe.sort == sort and score.known and score.value >= worth and not any(map(probe.is_like, paid)):
                said = f"{probe.label} is worth {score.value:g}, as much as the gold"
                fail(f"{said}: {_short(probe.response.text)}; {fix}")

    def _here(self, problem: Problem, response: Response, *, hide: bool = True, raw: bool = False) -> Outcome | str:
        """What the reward says in this process and thread; what it raises (with `raw`: what it returns) as text."""
        try:
            score = self._reward.score(problem, seen(response, self._spec.sees) if hide else response)
        except BaseException as error:  # as in the worker: time-outs and exits are no `Exception`
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if Path(frame.filename) == Path(self.loaded.file)]
            frame = (own or frames)[-1]
            return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
        return repr(score) if raw else outcome_of(score)


_EXAMS: dict[type, Exam] = {}


def _examine(ask: Ask, cases: Sequence[Case]) -> Exam:
    """Ask about each case three times, then the probes; a hang or a crash ends these: each costs two deadlines."""
    gold = max(cases, key=lambda case: case.expect)
    judged = []
    for case in cases:
        score, seconds = ask(case.problem, case.response)
        judged.append(Judged(case=case, score=score, seconds=seconds))
    rounds = [{case.line: ask(case.problem, case.response).score for case in order} for order in (cases[::-1], cases)]
    pair = opened(gold.response)
    both = (ask(gold.problem, pair[0]), ask(gold.problem, pair[1])) if pair is not None else None
    probed = []
    for probe in probes(gold.response, [case.response.answer or "" for case in cases if case.expect < gold.expect]):
        probed.append((probe, ask(gold.problem, probe.response)))
        if probed[-1][1].score.reason in STOPPED:
            break
    return Exam(gold=gold, cases=judged, again=rounds, probed=probed, opened=both)


def _row(case: Case) -> str:
    gold = json.dumps(case.problem.reference, ensure_ascii=False)
    return f"row {case.line} ({case.why}), response {_short(case.response.text)}, gold {gold[:100]}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:60]}…{text[-30:]}")


def _said(score: Score) -> str:
    how = "" if score.status == "verdict" else f"{score.status}: "
    return f"{score.value:g} ({how}{score.reason or 'no reason given'})"


def _told(found: Outcome | str) -> str:
    return f"it raised {found}" if isinstance(found, str) else _said(Score(**found._asdict()))
