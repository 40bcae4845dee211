"""The reward `remote_code`: as `code`, with the programs run by a server that speaks SandboxFusion's protocol.

Tests, programs and comparison are those of `code`; each test is one call (fusion.py). It is a reward of its own because
it runs in the stage, where keys are, and has no deadline there: a server that is late, full or out of its mind is an
infrastructure failure after its retries (`endpoint.give_up_s`), never a wrong answer. An answer with which the sandbox
fails twice, while it runs another program well, has broken it: that is worth the lowest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from r1_plugins.code import fusion
from r1_plugins.code.by_tests import ByTests
from r1_plugins.code.comparison import same_text, same_value
from r1_plugins.code.pipes import CellError
from r1_plugins.code.reference import Reference, Test, UntestableError, read_reference
from r1_plugins.code.source import program_of
from r1core.components import Reward
from r1core.contexts import RewardContext
from r1core.endpoints import BadReply, Client, Endpoint, EndpointError, lacking
from r1core.errors import Interrupted, RefusedError
from r1core.types import Problem, Response, Score

OVERHEAD_S = 5.0
"""What a call may take beside the program."""
LOOK_S = 0.2
"""How often it is asked whether the run has to stop."""
MOST_PROGRAM = 200_000
"""Characters."""
HEALTHY = ("print(6 * 7)", "42")


class RemoteCode(ByTests):
    """As `code`, with programs run by a SandboxFusion server: 1 for one that passes all its tests, else 0."""

    name = "remote_code"
    extra = "judge"
    sees: ClassVar[Literal["response", "answer"]] = "answer"
    runs: ClassVar[Literal["worker", "stage"]] = "stage"
    remote: ClassVar[bool] = True
    totals: ClassVar[frozenset[str]] = frozenset({"calls"})

    class Config(Reward.Config):
        endpoint: Endpoint = Field(description="the sandbox server; a test is a POST to /run_code below its url")
        score: Literal["all", "share"] = Field(
            "all", description="all: 1 when every test passes, the first that fails ends it; share: of tests passed"
        )
        test_timeout_s: float = Field(4.0, gt=0, description="longest that one test may take, seconds")
        memory_mib: int = Field(512, ge=64, description="most memory of a program, MiB")
        tolerance: float = Field(
            1e-6, ge=0, lt=1, description="relative, where the expected number is a decimal one (2.0, not 2)"
        )
        concurrency: int = Field(16, ge=1, description="most calls at once")

        @model_validator(mode="after")
        def _possible(self) -> Self:
            if self.endpoint.timeout_s < self.test_timeout_s + OVERHEAD_S:
                raise ValueError(
                    f"endpoint.timeout_s is {self.endpoint.timeout_s:g}, test_timeout_s {self.test_timeout_s:g}: "
                    f"a call needs {OVERHEAD_S:g} s more than its test"
                )
            return self

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._context: RewardContext | None = None
        self._calls = 0

    @classmethod
    def check(cls) -> list[str]:
        """What calls need."""
        return [f"{name} is not installed: pip install 'r1core[judge]'" for name in lacking()]

    def prepare(self, context: RewardContext) -> None:
        """See that the server is there and tells right from wrong."""
        self._context = context
        asyncio.run(self._probe())

    def metrics(self) -> dict[str, float]:
        """`calls` since the last time."""
        calls, self._calls = self._calls, 0
        return {"calls": float(calls)}

    def score(self, problem: Problem, response: Response) -> Score:
        """What the tests say."""
        return self.score_all([(problem, response)])[0]

    def score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        """Many answers at once, in order."""
        return asyncio.run(self._score_all(asked))

    async def _score_all(self, asked: Sequence[tuple[Problem, Response]]) -> list[Score]:
        async with Client(self.config.endpoint) as client:
            judged = _Judged(client, self.config)
            waiting = [asyncio.ensure_future(judged.score(problem, response)) for problem, response in asked]
            try:
                while (await asyncio.wait(waiting, timeout=LOOK_S))[1] if waiting else ():
                    if self._context is not None and self._context.stopping():
                        raise Interrupted("stopped while a sandbox was asked", fix="the same command goes on")
            finally:
                for each in waiting:
                    each.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                self._calls += judged.calls
            return [each.result() for each in waiting]

    async def _probe(self) -> None:
        """The sentinels, without patience for a server that is not there."""
        async with Client(self.config.endpoint) as client:
            await client.post(fusion.PATH, fusion.request(HEALTHY[0], "", timeout_s=4.0, memory_mib=512), once=True)
            for each in self.sentinels():
                score = await _Judged(client, self.config).score(each.problem, each.response)
                if not score.known or abs(score.value - each.value) > 1e-9:
                    raise RefusedError(
                        f"a program that is worth {each.value:g} got {score.value:g} ({score.reason})",
                        where=f"reward {self.name}, {self.config.endpoint.origin}",
                        fix="mend the sandbox server: its Python must be 3.10 or later",
                    )


class _Judged:
    """Answers before one client's server."""

    def __init__(self, client: Client, config: RemoteCode.Config) -> None:
        self._client, self._config = client, config
        self._room = asyncio.Semaphore(config.concurrency)
        self.calls = 0

    async def score(self, problem: Problem, response: Response) -> Score:
        """One answer's."""
        try:
            reference = read_reference(problem.reference)
        except UntestableError as error:
            return _unknown(f"no_tests: {error}")
        if response.finish == "length":
            return Score(value=0.0, reason="truncated")
        if not response.answer:
            return Score(value=0.0, reason="no_answer")
        program = program_of(response.answer)
        if len(program) > MOST_PROGRAM:  # else it could have itself declined
            return Score(value=0.0, reason="too_long")
        try:
            return await self._tested(program, reference)
        except fusion.SandboxTroubleError as error:
            if await self._is_healthy():
                return Score(value=float("nan"), status="answer_failure", reason="sandbox_error")
            return _unknown(f"sandbox: {error}")
        except (EndpointError, ValueError) as error:
            return _unknown(f"sandbox: {error.what if isinstance(error, EndpointError) else error}")

    async def _tested(self, program: str, reference: Reference) -> Score:
        passed, reason, total = 0, "", len(reference.tests)
        for number, test in enumerate(reference.tests, start=1):
            failure = await self._failure(program, reference.entry_point, test)
            passed += not failure
            if failure and not reason:
                reason = f"test {number} of {total}: {failure}"
            if failure and self._config.score == "all":
                break
        value = passed / total if self._config.score == "share" else float(passed == total)
        return Score(value=value, reason=reason or "correct")

    async def _failure(self, program: str, entry_point: str | None, test: Test) -> str:
        """Why one test failed, "" where it did not."""
        nonce = secrets.token_hex(8)
        code, stdin = program, test.stdin
        if entry_point is not None:
            code, stdin = fusion.caller(program, entry_point, test.arguments, nonce)
        try:
            stdout = await self._run(code, stdin)
            if entry_point is None:
                same = same_text(test.output, stdout, self._config.tolerance)
            else:
                same = same_value(test.output, fusion.returned(stdout, nonce), self._config.tolerance)
        except CellError as error:
            return error.reason
        return "" if same else "wrong"

    async def _run(self, code: str, stdin: str) -> str:
        """What a program printed. A reply that is none, and a sandbox that says it failed, are asked again once."""
        body = fusion.request(code, stdin, timeout_s=self._config.test_timeout_s, memory_mib=self._config.memory_mib)
        for last in (False, True):
            try:
                async with self._room:
                    self.calls += 1
                    return fusion.printed(await self._client.post(fusion.PATH, body))
            except (BadReply, ValueError, fusion.SandboxTroubleError):
                if last:
                    raise
        raise AssertionError("the second attempt ends it")

    async def _is_healthy(self) -> bool:
        """Whether the sandbox runs a program that has no fault."""
        try:
            return (await self._run(HEALTHY[0], "")).strip() == HEALTHY[1]
        except (EndpointError, ValueError, CellError, fusion.SandboxTroubleError):
            return False


def _unknown(reason: str) -> Score:
    return Score(value=float("nan"), status="infrastructure", reason=reason)
