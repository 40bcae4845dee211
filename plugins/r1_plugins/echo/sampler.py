"""The sampler `echo`: decoding held to four candidate answers, by the likelihood of whatever policy it is given.

The candidates are the four forms of forms.py. Where their tokens part, the next token is drawn in
proportion to the policy's own probabilities of those that are left, with the request's key; where they do
not, the token follows. With the policy `echo` that is its whole distribution; with any other it is that
policy made to answer in one of four ways. For testing plugins: it is told the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from r1_plugins.echo.forms import FORMS, written
from r1core.components import Policy, Sampler
from r1core.errors import SetupError
from r1core.keys import derive_key
from r1core.types import Floats, Problem, Rollout, SampleRequest, Tokens, TrainSequence

KEYS = 2**64


class EchoSampler(Sampler):
    """Draws one of four ready-made answers as the policy likes them. To test plugins: it looks at the reference."""

    name = "echo"

    class Config(Sampler.Config):
        """No options."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.policy: Policy | None = None
        self.weights_version = 0

    def sync(self, policy: Policy) -> None:
        """Ask this policy from now on, itself and no copy of it: this only counts."""
        self.policy = policy
        self.weights_version += 1

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts, request by request."""
        if self.policy is None:
            raise SetupError("it has no weights yet", where="sampler echo", fix="call sync(policy) first")
        for request in requests:
            yield from self._answers(self.policy, request)

    def _answers(self, policy: Policy, request: SampleRequest) -> Iterator[Rollout]:
        prefix = np.zeros(0, dtype=np.int64) if request.prefix_ids is None else request.prefix_ids
        given = self.start_of(policy, request)
        candidates = [policy.completion_ids(text) for text in continuations(request.problem, given)]
        prompt = np.concatenate([request.prompt_ids, prefix]).astype(np.int64)
        # One request at a time: with others in the batch a policy's numbers may differ in their last digits.
        logprobs = policy.logprobs(
            [TrainSequence(ids=np.concatenate([prompt, ids]), start=len(prompt), columns={}) for ids in candidates]
        )
        plain = request.temperature == 1 and request.top_p == 1
        for place, key in enumerate(request.keys):
            chosen = _walk(candidates, logprobs, request, key=key)
            ids = candidates[chosen][: request.max_new_tokens].copy()
            finish: Any = "stop" if len(ids) == len(candidates[chosen]) else "length"
            yield self.rollout_of(
                policy,
                request,
                place,
                start=given,
                ids=ids,
                logprobs=logprobs[chosen][: len(ids)].copy() if plain else None,
                finish=finish,
                weights_version=self.weights_version,
            )


def continuations(problem: Problem, given: str) -> list[str]:
    """What is left of each candidate that begins with `given`; all of them, after it, where none does."""
    texts = [written(form, problem.question, problem.reference) for form in range(len(FORMS))]
    return [text.removeprefix(given) for text in texts if text.startswith(given)] or texts


def _walk(candidates: Sequence[Tokens], logprobs: Sequence[Floats], request: SampleRequest, *, key: int) -> int:
    """The candidate that is left when at each parting of their tokens one was drawn."""
    alive = list(range(len(candidates)))
    for position in range(max(len(ids) for ids in candidates)):
        next_of = {c: int(candidates[c][position]) for c in alive if position < len(candidates[c])}
        first_with = {token: c for c, token in reversed(next_of.items())}
        if len(first_with) > 1:
            ways = sorted(first_with)
            chances = _chances(np.array([logprobs[first_with[token]][position] for token in ways]), request)
            drawn = derive_key(key, position) / KEYS
            token = ways[min(int(np.searchsorted(np.cumsum(chances), drawn, side="right")), len(ways) - 1)]
            alive = [c for c, own in next_of.items() if own == token]
    return alive[0]


def _chances(logprobs: Floats, request: SampleRequest) -> Floats:
    """The probability of each way, at the request's temperature and within its nucleus."""
    best = logprobs == logprobs.max()
    if request.temperature == 0:
        return np.eye(len(logprobs))[int(np.argmax(best))]
    shares = np.exp((logprobs - logprobs.max()) / request.temperature)
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    before = np.cumsum(shares[order]) - shares[order]
    shares[order[before >= request.top_p]] = 0.0
    nucleus: Floats = shares / shares.sum()
    return nucleus
