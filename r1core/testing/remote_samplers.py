"""The suite of samplers that ask elsewhere: each answer once, put down before it is given, and every call settled.

class TestMine(RemoteSamplerSuite):
    component = "mine/sampler"

    @contextlib.contextmanager
    def serving(self):
        with my_toy_server() as url:         # one that answers every question, with a thought
            yield {"endpoint": {"url": url}}     # the options that lead there
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from r1core.components import Sampler
from r1core.keys import derive_key
from r1core.testing.promise import promise
from r1core.testing.suite import ComponentSuite, fail
from r1core.testing.tasks import PROBLEMS
from r1core.types import Rollout, SampleRequest

SAMPLES = 4
"""Answers to each problem."""


class Record:
    """A record in memory (`contexts.SampleRecord`), which notices what a sampler may not do."""

    def __init__(self) -> None:
        self.kept: dict[int, Rollout] = {}
        self.under_way: set[int] = set()
        self.calls = 0
        self.usd = 0.0

    @property
    def answers(self) -> int:
        """Answers that are kept."""
        return len(self.kept)

    def asking(self, place: int, *, usd: float) -> None:
        """A call is about to be made."""
        if place in self.kept or place in self.under_way:
            fail(f"answer {place} is asked for while it is {'kept' if place in self.kept else 'under way'} already")
        self.under_way.add(place)

    def lost(self, place: int) -> None:
        """It came to nothing."""
        self.under_way.remove(place)
        self.calls += 1

    def unbilled(self, place: int) -> None:
        """It was turned away."""
        self.under_way.remove(place)

    def keep(self, rollout: Rollout, *, usd: float, tokens_in: int | None, calls: int = 1) -> None:
        """It brought this answer."""
        if rollout.sample not in self.under_way:
            fail(f"answer {rollout.sample} is kept and was not asked for: `asking` comes before the call")
        self.under_way.remove(rollout.sample)
        self.kept[rollout.sample] = rollout
        self.calls, self.usd = self.calls + calls, self.usd + usd

    def note(self, text: str) -> None:
        """Nobody watches."""

    def stopping(self) -> bool:
        """Nobody asks it to."""
        return False


class RemoteSamplerSuite(ComponentSuite):
    """What a sampler with `remote` promises."""

    kind = "sampler"

    # --- for tests -------------------------------------------------------------------------------

    def serving(self) -> contextlib.AbstractContextManager[Mapping[str, Any]]:
        """A server at work, and the options by which the sampler finds it."""
        fail(f"{type(self).__name__} has no server: give it a `serving`")

    @staticmethod
    def requests() -> list[SampleRequest]:
        """One for each problem, as the core makes them: no prompt has tokens, samples are numbered through."""
        return [
            SampleRequest(
                problem=problem,
                prompt_ids=np.array([], dtype=np.int64),
                keys=tuple(derive_key(0, "suite", place, sample) for sample in range(SAMPLES)),
                samples=tuple(place * SAMPLES + sample for sample in range(SAMPLES)),
                max_new_tokens=64,
            )
            for place, problem in enumerate(PROBLEMS)
        ]

    def asked(self, options: Mapping[str, Any], requests: list[SampleRequest]) -> tuple[Record, list[Rollout]]:
        """What a new instance gives, each answer kept by the time it comes."""
        sampler: Sampler = self.build(**options)
        record, came = Record(), []
        sampler.prepare(record)
        for rollout in sampler.generate(requests):
            if rollout.sample not in record.kept:
                fail(f"answer {rollout.sample} is given before it is kept: a kill now would have it asked for again")
            came.append(rollout)
        if record.under_way:
            fail(f"{len(record.under_way)} calls that were put down by `asking` came to no end")
        return record, came

    # --- the promises ----------------------------------------------------------------------------

    @promise
    def test_every_answer_is_asked_for_once_and_kept_before_it_is_given(self) -> None:
        """Each sample of each request is one rollout, put down by then, and every call is settled."""
        with self.serving() as options:
            record, came = self.asked(options, self.requests())
        wanted = {place: request.problem.id for request in self.requests() for place in request.samples}
        if sorted(rollout.sample for rollout in came) != sorted(wanted):
            fail(f"of {len(wanted)} samples came {len({rollout.sample for rollout in came})}, in {len(came)} rollouts")
        if wrong := [rollout for rollout in came if rollout.problem.id != wanted[rollout.sample]]:
            fail(f"answer {wrong[0].sample} is said to be one to problem {wrong[0].problem.id!r}")
        if record.calls < len(wanted):
            fail(f"{record.calls} calls are told of for {len(wanted)} answers")

    @promise
    def test_answers_are_texts_with_thinking_and_no_tokens_of_ours(self) -> None:
        """A rollout has text and thinking, a count of tokens or none, and neither ids nor log-probs."""
        with self.serving() as options:
            _, came = self.asked(options, self.requests())
        for rollout in came:
            if len(rollout.prompt_ids) or len(rollout.completion_ids) or rollout.logprobs is not None:
                fail("an answer from elsewhere has ids or log-probs: whose tokens are they?")
            if not rollout.response.thinking or not rollout.response.answer:
                fail(f"no thinking and answer are found in {rollout.response.text[:100]!r}")

    @promise
    def test_only_what_is_left_is_asked_for(self) -> None:
        """A request may be for some samples of a problem: the others are not asked for."""
        some = [replace(each, keys=each.keys[1:3], samples=each.samples[1:3]) for each in self.requests()]
        with self.serving() as options:
            record, came = self.asked(options, some)
        if sorted(record.kept) != sorted(place for request in some for place in request.samples):
            fail(f"asked for {[r.samples for r in some]}, it kept {sorted(record.kept)}")
        if len(came) != len(record.kept):
            fail(f"it kept {len(record.kept)} answers and gave {len(came)}")

    def test_it_says_who_answers(self) -> None:
        """`identity` is told, as text, before anything is asked, and the same by each instance."""
        with self.serving() as options:
            first, second = (self.build(**options).identity() for _ in range(2))
        if not first or first != second or not all(isinstance(value, str) for value in first.values()):
            fail(
                f"identity() says {first!r}, and {second!r} of another instance: texts are wanted that tell the teacher"
            )
        if not self.loaded.cls.remote:  # type: ignore[attr-defined]
            fail(f"{self.component} is not `remote`: its suite is SamplerSuite")
