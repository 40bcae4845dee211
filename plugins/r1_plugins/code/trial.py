"""One answer before its tests: which of them it passes, and what is wrong with the first that it does not.

A function's tests are asked in one cell, in order, each input only when its turn has come; a cell that breaks or hangs
costs the test that it was at, and the next test gets a new one. A program gets a new cell for each test. What does not
come back in time, or not at all, has failed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from r1_plugins.code.comparison import same_text, same_value
from r1_plugins.code.pipes import CellError
from r1_plugins.code.reference import Reference, Test
from r1_plugins.code.sandbox import MOST_PRINTED, Cell, Sandbox

WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How an answer is tested. `isolated`: every test of a function has its own cell; `all_or_nothing`: the first
    failure ends it."""

    test_timeout_s: float
    answer_timeout_s: float
    tolerance: float
    isolated: bool
    all_or_nothing: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many tests passed, and why the first one that did not ("" where all did)."""

    passed: int
    total: int
    reason: str


def try_out(sandbox: Sandbox, program: str, reference: Reference, rules: Rules) -> Outcome:
    """Run the tests. Raises SandboxError when the machine fails."""
    trial = _Trial(sandbox, program, reference, rules)
    passed, reason, total = 0, "", len(reference.tests)
    for number, failure in enumerate(trial.failures(), start=1):
        passed += not failure
        if failure and not reason:
            reason = f"test {number} of {total}: {failure}"
        if failure and rules.all_or_nothing:
            break
    return Outcome(passed=passed, total=total, reason=reason)


class _Trial:
    def __init__(self, sandbox: Sandbox, program: str, reference: Reference, rules: Rules) -> None:
        self._sandbox, self._program = sandbox, program
        self._reference, self._rules = reference, rules
        self._ends = time.monotonic() + rules.answer_timeout_s

    def failures(self) -> Iterator[str]:
        """For each test in order why it failed, "" where it did not."""
        if self._reference.entry_point is None:
            return (self._of_program(test) for test in self._reference.tests)
        return self._of_function(list(self._reference.tests))

    def _of_program(self, test: Test) -> str:
        most = max(MOST_PRINTED, 2 * len(test.output.encode()))
        try:
            self._refuse_late()
            with self._sandbox.cell(self._program, None, test.stdin.encode("utf-8", "surrogateescape")) as cell:
                printed = cell.finish(self._until(), most)
        except CellError as error:
            return error.reason
        same = same_text(test.output, printed.decode("utf-8", "replace"), self._rules.tolerance)
        return "" if same else WRONG

    def _of_function(self, left: list[Test]) -> Iterator[str]:
        while left:
            together = left[:1] if self._rules.isolated else left
            done = 0
            try:
                self._refuse_late()
                with self._sandbox.cell(self._program, self._reference.entry_point) as cell:
                    cell.load(self._until())
                    for test in together:
                        failure = self._called(cell, test)
                        done += 1
                        yield failure
            except CellError as error:
                done += 1
                yield error.reason
            left = left[done:]

    def _called(self, cell: Cell, test: Test) -> str:
        """Why a test failed that left its cell alive; CellError where it did not."""
        try:
            got = cell.call(test.arguments, self._until())
        except CellError as error:
            if error.reason.startswith("raised ") or error.reason == "unsupported_type":
                return error.reason
            raise
        return "" if same_value(test.output, got, self._rules.tolerance) else WRONG

    def _until(self) -> float:
        return min(time.monotonic() + self._rules.test_timeout_s, self._ends)

    def _refuse_late(self) -> None:
        if time.monotonic() >= self._ends:
            raise CellError("timeout")
