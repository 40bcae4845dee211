"""Samplers that grade, and break one promise each, for tests of the suite that must notice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from r1core.components import Policy, Sampler
from r1core.types import Rollout, SampleRequest, TopLogprobs, TrainSequence


class Sound(Sampler):
    """Grades with the model of the policy that it was synced to."""

    name = "sound"
    writes = False

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        raise NotImplementedError

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        told = self.policy.top_logprobs(sequences, k=top_k, temperature=temperature)
        return [self.told(*each, top_k=top_k, texts=len(sequences)) for each in told]

    def told(self, ids: np.ndarray, tops: np.ndarray, own: np.ndarray, *, top_k: int, texts: int) -> TopLogprobs:
        return ids, tops, own


class Late(Sound):
    """Its places are off by one."""

    def told(self, ids: np.ndarray, tops: np.ndarray, own: np.ndarray, *, top_k: int, texts: int) -> TopLogprobs:
        return np.roll(ids, 1, axis=0), np.roll(tops, 1, axis=0), np.roll(own, 1)


class Endless(Sound):
    """Leaves the end token out."""

    def told(self, ids: np.ndarray, tops: np.ndarray, own: np.ndarray, *, top_k: int, texts: int) -> TopLogprobs:
        return ids[:-1], tops[:-1], own[:-1]


class Renaming(Sound):
    """The right log-probs of other tokens."""

    def told(self, ids: np.ndarray, tops: np.ndarray, own: np.ndarray, *, top_k: int, texts: int) -> TopLogprobs:
        return ids + 1, tops, own


class Generous(Sound):
    """Gives one token where none is asked for."""

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        return super().score(sequences, top_k=max(top_k, 1), temperature=temperature)


class Sociable(Sound):
    """Grades more mildly in company."""

    def told(self, ids: np.ndarray, tops: np.ndarray, own: np.ndarray, *, top_k: int, texts: int) -> TopLogprobs:
        return ids, tops, own * (1 if texts == 1 else 0.9)


class Sparing(Sound):
    """Grades the first text alone."""

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        return super().score(sequences[:1], top_k=top_k, temperature=temperature)
