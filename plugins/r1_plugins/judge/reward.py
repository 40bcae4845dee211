"""The reward `judge`: `{use: judge, endpoint: {url: .., key: {env: NAME}}, model: ..}`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, ClassVar, Literal

from r1_plugins.judge.canaries import Alarm, is_chosen, wrong_answer
from r1_plugins.judge.config import JudgeConfig
from r1_plugins.judge.pairs import tournaments
from r1_plugins.judge.preflight import MASTER_KEYS, healthy, items, judged, read_rows
from r1_plugins.judge.questions import Question, grading, pairing
from r1_plugins.judge.record import Record
from r1_plugins.judge.session import Said, Session
from r1core.components import Reward
from r1core.contexts import RewardContext
from r1core.endpoints import lacking
from r1core.errors import RefusedError
from r1core.types import Problem, Response, Score
from r1core.untrusted import untrusted


class Judge(Reward):
    """What a language model says an answer is worth, from `lowest` to 1.

    Asks all answers of a batch at once. An answer that is cut off, missing or too long is worth the lowest, without a
    call; so is one that breaks a judge which is well otherwise. What fails by the judge's own fault is an
    infrastructure failure; while it does not answer at all, the run pauses.
    """

    name = "judge"
    extra = "judge"
    runs: ClassVar[Literal["worker", "stage"]] = "stage"
    remote = True
    totals = frozenset({"calls", "usd", "canaries", "canaries_passed", "time/calls_so_far", "time/usd_so_far"})

    class Config(JudgeConfig):
        """Which model, what it is asked, how it is paid for."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._record = Record()
        self._alarm = Alarm()
        self._rows = read_rows(config)
        self._context: RewardContext | None = None
        self._costs: dict[str, list[float]] = {}
        self._canaries: dict[str, bool] = {}
        """Of the questions and canaries since `metrics` was asked last: what they cost, which passed."""

    @classmethod
    def check(cls) -> list[str]:
        """Which of the packages that calls need are not installed."""
        return [f"{', '.join(lacking())} not installed: pip install 'r1core[judge]'"] if lacking() else []

    def refuses(self, problem: Problem) -> str:
        """A verdict needs a reference."""
        lacks = self.config.mode == "verdict" and problem.reference in (None, "", [])
        return "there is no reference to compare answers with" if lacks else ""

    def prepare(self, context: RewardContext) -> None:
        """Open the record, and do not begin with a judge that fails its preflight."""
        self._context = context
        self._record = Record(context.folder)
        self._alarm = Alarm()
        for judge, passed in self._record.canaries.values():
            if judge == self._identity:
                self._alarm.count(passed=passed)
        self._refuse_drift()
        asked = items(self.config, self._rows)
        said = self._ask([question for item in asked for question in item.questions])
        context.note(f"judge {self.config.model}: {judged(self.config, asked, said)}")
        self._costs = {}

    def score(self, problem: Problem, response: Response) -> Score:
        """The verdict on one answer."""
        return self.score_all([(problem, response)])[0]

    def score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        """The verdicts on many answers. Raises RefusedError when a cap is reached, an outage lasts or the judge drifts;
        Interrupted when the run is asked to stop while the judge is down."""
        texts = [self._shown(response) for _, response in asked]
        scores = [self._without_asking(problem, response) for problem, response in asked]
        present = [text if score is None else None for text, score in zip(texts, scores, strict=True)]
        problems = [problem for problem, _ in asked]
        said = self._compared(problems, present) if self.config.mode == "pairwise" else self._graded(problems, present)
        return [score if score is not None else self._score(one) for score, one in zip(scores, said, strict=True)]

    def metrics(self) -> dict[str, float]:
        """Of the answers scored since it was asked last: calls and USD that their verdicts took, those that the record
        had included; canaries, and how many of them passed. And what the whole stage has taken so far."""
        costs, canaries = self._costs, self._canaries
        self._costs, self._canaries = {}, {}
        return {
            "calls": float(sum(map(len, costs.values()))),
            "usd": math.fsum(usd for each in costs.values() for usd in each),
            "canaries": float(len(canaries)),
            "canaries_passed": float(sum(canaries.values())),
            "time/calls_so_far": float(self._record.calls),
            "time/usd_so_far": self._record.usd,
        }

    def _graded(self, problems: Sequence[Problem], answers: Sequence[str | None]) -> list[Said]:
        questions = [
            grading(self.config, problem.question, problem.reference, answer) if answer is not None else None
            for problem, answer in zip(problems, answers, strict=True)
        ]
        said = self._with_canaries([(p, q) for p, q in zip(problems, questions, strict=True) if q is not None])
        return [said[question.key] if question is not None else _UNASKED for question in questions]

    def _compared(self, problems: Sequence[Problem], answers: Sequence[str | None]) -> list[Said]:
        groups = tournaments(self.config, problems, answers)
        asked = [(problems[numbers[0]], question) for numbers, group in groups for question in group.questions()]
        said = self._with_canaries(asked)
        said |= self._ask([question for _, group in groups for question in group.doubts(said)])
        found = [_UNASKED] * len(answers)
        for numbers, group in groups:
            for number, one in zip(numbers, group.shares(said), strict=True):
                found[number] = one
        return found

    def _with_canaries(self, asked: Sequence[tuple[Problem, Question]]) -> dict[str, Said]:
        """What came of each question, by its key; beside some of them a known-wrong answer is asked about."""
        chosen = {q.key: (p, q) for p, q in asked if is_chosen(q.key, self.config.canaries)}
        canaries = [self._canary(problem, question) for problem, question in chosen.values()]
        said = self._ask([*(question for _, question in asked), *canaries])
        for canary in canaries:
            self._count_canary(canary, said[canary.key])
        self._refuse_drift()
        return said

    def _canary(self, problem: Problem, question: Question) -> Question:
        """A question whose answer is known to be wrong. It depends on the question alone, not on what else is asked."""
        empty = MASTER_KEYS[int(question.key[:8], 16) % len(MASTER_KEYS)]
        if self.config.mode == "pairwise":
            return pairing(self.config, problem.question, empty, dict(question.material)["ANSWER B"])
        wrong = wrong_answer(problem.reference, [row.gold for row in self._rows], question.key)
        return grading(self.config, problem.question, problem.reference, wrong or empty)

    def _count_canary(self, canary: Question, said: Said) -> None:
        if said.status != "verdict":
            return
        passed = said.value > 0.5
        self._canaries[canary.key] = passed
        if canary.key not in self._record.canaries:
            self._record.keep_canary(canary.key, self._identity, passed)
            self._alarm.count(passed=passed)

    def _refuse_drift(self) -> None:
        if self._alarm.rings:
            raise RefusedError(
                f"the judge lets {self._alarm.passed} of {self._alarm.asked} known-wrong answers pass",
                where=f"judge {self.config.model} at {self.config.endpoint.origin}",
                fix="look at the answers in the stage's record, and take another judge or another rubric",
            )

    @property
    def _identity(self) -> str:
        """Who judges: what canaries say of one judge they do not say of another."""
        told = self.config.model_dump_json(include={"model", "mode", "rubric", "reply", "temperature", "request"})
        return sha256(f"{self.config.endpoint.url} {told}".encode()).hexdigest()[:16]

    def _ask(self, questions: Sequence[Question]) -> dict[str, Said]:
        if not questions:
            return {}
        context = self._context
        session = Session(
            self.config,
            self._record,
            healthy(self.config, self._rows[0]),
            note=context.note if context is not None else lambda _: None,
            stopping=context.stopping if context is not None else lambda: False,
        )
        said = _to_the_end(session, questions)
        self._costs |= session.costs
        return said

    def _shown(self, response: Response) -> str:
        """What the judge is shown of an answer."""
        whole = self.config.sees == "response"
        return untrusted(response.prefilled + response.text if whole else response.answer or "").strip()

    def _without_asking(self, problem: Problem, response: Response) -> Score | None:
        """What an answer is worth that no judge is asked about."""
        if self.refuses(problem):
            return Score(value=math.nan, status="infrastructure", reason="no_reference")
        text = self._shown(response)
        if response.finish == "length":
            return Score(value=self.lowest, reason="truncated")
        if not text:
            return Score(value=self.lowest, reason="no_answer")
        return Score(value=self.lowest, reason="too_long") if len(text) > self.config.max_chars else None

    def _score(self, said: Said) -> Score:
        if said.status == "infrastructure":
            return Score(value=math.nan, status="infrastructure", reason=said.reason)
        if said.status == "answer_failure":
            return Score(value=self.lowest, status="answer_failure", reason=said.reason)
        worth = self.lowest + (1.0 - self.lowest) * said.value
        verdicts = {1.0: "correct", 0.0: "wrong"} if self.config.mode == "verdict" else {}
        return Score(value=worth, reason=said.reason or verdicts.get(said.value, "scored"))


_UNASKED = Said(math.nan, "verdict")


def _to_the_end(session: Session, questions: Sequence[Question]) -> dict[str, Said]:
    """Run the session in an event loop of its own, wherever this is called from."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(session.ask(questions))
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, session.ask(questions)).result()
