"""Samplers elsewhere that break one promise each, for tests of the suite that must notice; `Sound` breaks none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from r1core.components import Sampler
from r1core.contexts import SampleRecord
from r1core.types import Response, Rollout, SampleRequest

NONE = np.array([], dtype=np.int64)


class Sound(Sampler):
    name = "sound"
    remote = True

    def identity(self) -> Mapping[str, str]:
        return {"model": "m"}

    def prepare(self, record: SampleRecord) -> None:
        self.record = record

    def sync(self, policy: Any) -> None: ...

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in requests:
            for place in request.samples:
                yield self.answer(request, place)

    def answer(self, request: SampleRequest, place: int) -> Rollout:
        self.record.asking(place, usd=0.0)
        rollout = self.rollout(request, place)
        self.record.keep(rollout, usd=0.0, tokens_in=None)
        return rollout

    def rollout(self, request: SampleRequest, place: int) -> Rollout:
        return Rollout(
            problem=request.problem,
            sample=place,
            prompt_ids=NONE,
            completion_ids=NONE,
            logprobs=None,
            response=Response.parse("<think>hm</think>42"),
        )


class Hasty(Sound):
    """Gives an answer before it is kept."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in requests:
            for place in request.samples:
                self.record.asking(place, usd=0.0)
                yield self.rollout(request, place)
                self.record.keep(self.rollout(request, place), usd=0.0, tokens_in=None)


class Unasked(Sound):
    """Puts down no call."""

    def answer(self, request: SampleRequest, place: int) -> Rollout:
        rollout = self.rollout(request, place)
        self.record.keep(rollout, usd=0.0, tokens_in=None)
        return rollout


class Greedy(Sound):
    """Asks for what it has."""

    def answer(self, request: SampleRequest, place: int) -> Rollout:
        super().answer(request, place)
        return super().answer(request, place)


class Unsettled(Sound):
    """Puts down a call that comes to no end."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        self.record.asking(10_000, usd=0.0)
        yield from super().generate(requests)


class Forgetful(Sound):
    """Leaves out the last answer."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in requests:
            yield from (self.answer(request, place) for place in request.samples[:-1])


class Mistaken(Sound):
    """Takes one problem for another."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request, other in zip(requests, requests[::-1], strict=True):
            yield from (self.answer(replace(request, problem=other.problem), place) for place in request.samples)


class Unbilled(Sound):
    """Counts no calls."""

    def answer(self, request: SampleRequest, place: int) -> Rollout:
        self.record.asking(place, usd=0.0)
        rollout = self.rollout(request, place)
        self.record.keep(rollout, usd=0.0, tokens_in=None, calls=0)
        return rollout


class Tokenised(Sound):
    """Has ids from nowhere."""

    def rollout(self, request: SampleRequest, place: int) -> Rollout:
        return replace(super().rollout(request, place), completion_ids=np.arange(3))


class Thoughtless(Sound):
    """Loses the thinking."""

    def rollout(self, request: SampleRequest, place: int) -> Rollout:
        return replace(super().rollout(request, place), response=Response.parse("42"))


class Thorough(Sound):
    """Asks for all samples, whatever is left."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in requests:
            for place in request.samples:
                yield self.answer(request, place)
                if len(request.samples) < 4:
                    yield self.answer(request, place + 100)


class Nobody(Sound):
    """Does not say who answers."""

    def identity(self) -> Mapping[str, str]:
        return {}


class Changeable(Sound):
    """Says something else each time."""

    def identity(self) -> Mapping[str, str]:
        return {"model": str(id(self))}


class Near(Sound):
    """Is not remote."""

    remote = False
