"""The reward `code`: runs an answer's program against its problem's tests, in a process that knows no expected output.

The program is the last fenced block of Python, or the whole answer (source.py). Its tests are data (reference.py), what
it returns or prints comes back as plain values and is compared here (comparison.py). Exit codes and what a function
prints are no evidence. Reasons: correct, no_answer, truncated; for the first test that failed `test 3 of 10: wrong`, or
timeout, raised ValueError, SIGSEGV, exited, exit_code, output_limit, no_entry_point, unsupported_type, too_long,
garbled.
"""

from __future__ import annotations

import threading
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1_plugins.code import levels
from r1_plugins.code.by_tests import ByTests
from r1_plugins.code.reference import UntestableError, read_reference
from r1_plugins.code.sandbox import BEGIN_S, Sandbox
from r1_plugins.code.source import program_of
from r1_plugins.code.trial import Rules, try_out
from r1_plugins.code.warden_process import END_S, START_S, SandboxError
from r1core.components import Reward
from r1core.errors import SetupError
from r1core.types import Problem, Response, Score

DEADLINE_S = 30.0
LONGEST_ANSWER_S = DEADLINE_S - START_S - BEGIN_S - END_S
"""What the deadline leaves, in the worst case, when a warden and the last cell are slow to start and to end."""
WORKER_MIB = 2048


class Code(ByTests):
    """1 for a program that passes all tests of its problem, else 0; with `score: share` the share that it passes."""

    name = "code"
    timeout_s: ClassVar[float] = DEADLINE_S
    sees: ClassVar[Literal["response", "answer"]] = "answer"
    memory_mib: ClassVar[int] = WORKER_MIB

    class Config(Reward.Config):
        level: Literal["process", "namespace", "bubblewrap", "auto"] = Field(
            "process", description="how programs are kept apart; auto: the strongest that works on this machine"
        )
        untrusted: bool = Field(
            False,
            description="whether programs may come from strangers: then only namespace or bubblewrap will do, and a "
            "machine that has neither refuses the run",
        )
        score: Literal["all", "share"] = Field(
            "all", description="all: 1 when every test passes, the first that fails ends it; share: of tests passed"
        )
        isolate: Literal["answer", "test"] = Field(
            "answer", description="answer: a function's tests share a process; test: each has its own, as programs have"
        )
        test_timeout_s: float = Field(4.0, gt=0, description="longest that one test may take, seconds")
        answer_timeout_s: float = Field(
            10.0, gt=0, le=LONGEST_ANSWER_S, description="longest that all tests of an answer may take, seconds"
        )
        memory_mib: int = Field(512, ge=128, le=WORKER_MIB, description="most address space of a program, MiB")
        tolerance: float = Field(
            1e-6, ge=0, lt=1, description="relative, where the expected number is a decimal one (2.0, not 2)"
        )

        @model_validator(mode="after")
        def _possible(self) -> Self:
            if self.test_timeout_s > self.answer_timeout_s:
                raise ValueError(
                    f"test_timeout_s is {self.test_timeout_s:g}, answer_timeout_s {self.answer_timeout_s:g}: "
                    "no test could take that long"
                )
            if self.untrusted and self.level == "process":
                raise ValueError(
                    "level process is no place for untrusted code: set level to namespace, bubblewrap or auto"
                )
            return self

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        level = levels.available(config.level, untrusted=config.untrusted)
        if not level:
            raise _lacking(config.level, untrusted=config.untrusted)
        self.sandbox = Sandbox(level, memory_mib=config.memory_mib, cpu_s=config.answer_timeout_s)
        self._one_at_a_time = threading.Lock()

    @classmethod
    def report(cls) -> list[str]:
        """Which levels work on this machine."""
        return levels.report()

    def score(self, problem: Problem, response: Response) -> Score:
        """What the tests say. A reference without tests, or a sandbox that fails, is an infrastructure failure."""
        try:
            reference = read_reference(problem.reference)
        except UntestableError as error:
            return _unknown(f"no_tests: {error}")
        if response.finish == "length":
            return Score(value=0.0, reason="truncated")
        if not response.answer:
            return Score(value=0.0, reason="no_answer")
        try:
            with self._one_at_a_time:
                found = try_out(self.sandbox, program_of(response.answer), reference, self._rules())
        except SandboxError as error:
            return _unknown(f"sandbox: {error}")
        share = found.passed / found.total
        value = share if self.config.score == "share" else float(found.passed == found.total)
        return Score(value=value, reason=found.reason or "correct")

    def _rules(self) -> Rules:
        return Rules(
            test_timeout_s=self.config.test_timeout_s,
            answer_timeout_s=self.config.answer_timeout_s,
            tolerance=self.config.tolerance,
            isolated=self.config.isolate == "test",
            all_or_nothing=self.config.score == "all",
        )


def _unknown(reason: str) -> Score:
    return Score(value=float("nan"), status="infrastructure", reason=reason)


def _lacking(level: str, *, untrusted: bool) -> SetupError:
    tried = levels.FOR_UNTRUSTED if level == "auto" else (level,)
    why = "; ".join(f"level {each}: {levels.trouble(each)}" for each in tried)
    need = "untrusted code needs namespaces, and none can be made here" if untrusted else "it cannot be isolated here"
    return SetupError(f"{need}: {why}", where="reward code", fix=levels.remedy())
