"""The suite of samplers: each answer once, a function of its key alone, with the log-probabilities of the policy.

class TestMine(SamplerSuite):
    component = "mine/sampler"
    policy = "mine/policy"                                           # whose model it samples from
    architecture = {"model_type": "llama", "hidden_size": 32, ...}   # what the policy makes: keep it tiny
    source = "mine/source"                                           # its tokenizer is the model's
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from r1core.batching import weighted
from r1core.components import Policy, Sampler
from r1core.keys import derive_key
from r1core.losses import CrossEntropy
from r1core.testing.promise import promise
from r1core.testing.suite import ComponentSuite, fail
from r1core.testing.tasks import PROBLEMS, component, made, sequence
from r1core.types import Floats, Response, Rollout, SampleRequest, Tokens

SAMPLES = 6
"""Answers to each problem."""
LONGEST = 24
"""Their most tokens."""
MOST_UPDATES = 50
"""After so many updates other weights must show."""


class SamplerSuite(ComponentSuite):
    """What a sampler promises."""

    kind = "sampler"
    policy: ClassVar[str | Mapping[str, Any]] = ""
    """The policy that it samples from, as a recipe names it."""
    architecture: ClassVar[Mapping[str, Any]] = {}
    """What the policy's `create` gets."""
    source: ClassVar[str | Mapping[str, Any]] = ""
    """The problem source that brings the model's tokenizer."""
    lr: ClassVar[float] = 1e-2
    """A learning rate at which the policy changes visibly in a few updates."""
    tolerance: ClassVar[float] = 1e-3
    """Mean nats a token by which sampler and policy may differ: float32 engines 1e-6, bfloat16 0.01."""

    # --- for tests -------------------------------------------------------------------------------

    def opened(self, folder: Path) -> Policy:
        """The policy with a model of its own."""
        here = Path(inspect.getfile(type(self))).parent
        for what in ("policy", "source"):
            if not getattr(self, what):
                fail(f'{type(self).__name__} has no {what}: set {what} = "name"')
        policy: Policy = component("policy", self.policy, here)
        made(folder, policy, component("source", self.source, here), self.architecture)
        return policy.open(folder, trainable=True)

    def synced(self, policy: Policy) -> Sampler:
        """A new instance with the policy's weights."""
        sampler: Sampler = self.build()
        sampler.sync(policy)
        return sampler

    @staticmethod
    def requests(policy: Policy, *, most: int = LONGEST, temperature: float = 1.0) -> list[SampleRequest]:
        """One request for each problem; samples are numbered through, as the core does."""
        return [
            SampleRequest(
                problem=problem,
                prompt_ids=policy.prompt_ids(problem.messages),
                keys=tuple(derive_key(0, "suite", place, sample) for sample in range(SAMPLES)),
                samples=tuple(place * SAMPLES + sample for sample in range(SAMPLES)),
                max_new_tokens=most,
                temperature=temperature,
            )
            for place, problem in enumerate(PROBLEMS)
        ]

    # --- which answers ------------------------------------------------------------------------------

    @promise
    def test_every_sample_comes_exactly_once(self, tmp_path: Path) -> None:
        """Each key of each request is one rollout, with its problem, number, key and prompt."""
        policy = self.opened(tmp_path / "model")
        asked = self.requests(policy)
        wanted = [(r.problem.id, s, k) for r in asked for s, k in zip(r.samples, r.keys, strict=True)]
        rollouts = list(self.synced(policy).generate(asked))
        came = [(r.problem.id, r.sample, r.key) for r in rollouts]
        if sorted(came) != sorted(wanted):
            lost, more = len(set(wanted) - set(came)), len(came) - len(set(came) & set(wanted))
            fail(f"of {len(wanted)} samples {lost} never came, and {more} came twice or were not asked for")
        prompts = {request.problem.id: request.prompt_ids for request in asked}
        if not all(np.array_equal(rollout.prompt_ids, prompts[rollout.problem.id]) for rollout in rollouts):
            fail("a rollout's prompt_ids are not those of its request")

    @promise
    def test_an_answer_depends_on_its_key_alone(self, tmp_path: Path) -> None:
        """The same tokens whatever else is in the batch, in which order, and however often it is asked."""
        policy = self.opened(tmp_path / "model")
        asked = self.requests(policy)
        plain = self._tokens(policy, asked)
        single = [replace(r, keys=(k,), samples=(s,)) for r in asked for k, s in zip(r.keys, r.samples, strict=True)]
        companies = {"asked again": asked, "in another order": asked[::-1], "each by itself": single}
        for company, requests in companies.items():
            found = self._tokens(policy, requests)
            if differ := [sample for sample in plain if plain[sample] != found.get(sample)]:
                fail(f"{len(differ)} of {len(plain)} answers are others when the same keys are {company}")
        alone = [token for request in asked[:1] for token in self._tokens(policy, [request]).items()]
        if any(plain[sample] != tokens for sample, tokens in alone):
            fail("answers are others when their problem is the only one")

    @promise
    def test_other_keys_give_other_answers(self, tmp_path: Path) -> None:
        """At temperature 1 some of a problem's answers differ."""
        policy = self.opened(tmp_path / "model")
        asked = self.requests(policy)
        found = self._tokens(policy, asked)
        if not any(len({found[sample] for sample in request.samples}) > 1 for request in asked):
            fail(f"all {SAMPLES} answers to each of {len(asked)} problems are the same: is the key used?")

    @promise
    def test_no_answer_is_longer_than_asked(self, tmp_path: Path) -> None:
        """`max_new_tokens` holds; what it cuts off says finish "length" and is the beginning of the longer answer."""
        policy = self.opened(tmp_path / "model")
        whole = self._tokens(policy, self.requests(policy))
        end, most, cut = int(policy.completion_ids("")[-1]), 2, 0
        for rollout in self.synced(policy).generate(self.requests(policy, most=most)):
            ids = tuple(rollout.completion_ids.tolist())
            if len(ids) > most:
                fail(f"an answer has {len(ids)} tokens where max_new_tokens is {most}")
            if ids != whole[rollout.sample][: len(ids)]:
                fail("an answer that is cut off is not the beginning of the answer with the same key")
            is_cut = len(ids) == most and ids[-1] != end
            cut += is_cut
            if rollout.response.finish != ("length" if is_cut else "stop"):
                fail(f"an answer that {'was cut off' if is_cut else 'ended'} says finish {rollout.response.finish!r}")
        if not cut:
            fail(f"no answer was longer than {most} tokens, so nothing was cut off: take another architecture")

    @promise
    def test_temperature_nought_is_greedy(self, tmp_path: Path) -> None:
        """The same answer for all keys, and no sampled one begins with a likelier token."""
        policy = self.opened(tmp_path / "model")
        sampler = self.synced(policy)
        greedy = list(sampler.generate(self.requests(policy, temperature=0.0)))
        for problem in PROBLEMS:
            if len({tuple(r.completion_ids.tolist()) for r in greedy if r.problem.id == problem.id}) != 1:
                fail("at temperature 0 the answer depends on the key")
        best = {r.problem.id: float(self._own(policy, [r])[0][0]) for r in greedy}
        for rollout in sampler.generate(self.requests(policy)):
            first = float(self._own(policy, [rollout])[0][0])
            if first > best[rollout.problem.id] + self.tolerance:
                lost = first - best[rollout.problem.id]
                fail(f"at temperature 0 the first token is {lost:.3g} nats less likely than one that was sampled")

    # --- what is told of them ---------------------------------------------------------------------------

    @promise
    def test_logprobs_are_the_policys(self, tmp_path: Path) -> None:
        """At temperature 1 each token's log-probability is what the policy says of it, (T,)."""
        policy = self.opened(tmp_path / "model")
        self._agree(policy, list(self.synced(policy).generate(self.requests(policy))), "the policy's")

    @promise
    def test_a_response_is_what_was_decoded(self, tmp_path: Path) -> None:
        """`Response.parse` of the completion's text, with what the prompt had opened."""
        policy = self.opened(tmp_path / "model")
        started = ({"role": "user", "content": "What comes after 9?"}, {"role": "assistant", "content": "<think>One"})
        begun = replace(PROBLEMS[0], id="begun", messages=started)
        asked = self.requests(policy)
        asked.append(replace(asked[0], problem=begun, prompt_ids=policy.prompt_ids(started)))
        for rollout in self.synced(policy).generate(asked):
            self._parsed(policy, rollout, policy.prefilled(rollout.problem.messages))

    @promise
    def test_a_prefix_is_gone_on_from(self, tmp_path: Path) -> None:
        """`prefix_ids` are context: the completion starts after them, and `response.prefilled` ends with them."""
        policy = self.opened(tmp_path / "model")
        sampler = self.synced(policy)
        first = max(sampler.generate(self.requests(policy)), key=lambda rollout: len(rollout.completion_ids))
        ids = first.completion_ids
        if len(ids) < 2:
            fail("no answer has two tokens, so there is none to go on from: take another architecture")
        prefix = ids[: max(1, len(ids) // 2)]
        request = next(r for r in self.requests(policy) if r.problem.id == first.problem.id)
        went_on = list(sampler.generate([replace(request, prefix_ids=prefix)]))
        before = policy.prefilled(first.problem.messages) + policy.decode(prefix)
        for rollout in went_on:
            if len(prefix) > 2 and np.array_equal(rollout.completion_ids[: len(prefix)], prefix):
                fail(f"the prefix of {len(prefix)} tokens is repeated in completion_ids")
            self._parsed(policy, rollout, before)
        self._agree(policy, went_on, "the policy's after the prefix", prefix=prefix)
        self._greedily(policy, sampler)

    @promise
    def test_weights_are_counted(self, tmp_path: Path) -> None:
        """`weights_version` goes up by one with each `sync`."""
        policy = self.opened(tmp_path / "model")
        sampler = self.synced(policy)
        versions = []
        for _ in range(3):
            versions.append({rollout.weights_version for rollout in sampler.generate(self.requests(policy)[:1])})
            sampler.sync(policy)
        begun = min(versions[0])
        if versions != [{begun}, {begun + 1}, {begun + 2}]:
            fail(f"weights_version is {[sorted(each) for each in versions]} after one, two and three syncs")

    @promise
    def test_after_a_sync_the_weights_are_the_new_ones(self, tmp_path: Path) -> None:
        """An update and a `sync`: the log-probabilities are the changed policy's. Stale weights train on the wrong
        gradient."""
        policy = self.opened(tmp_path / "model")
        sampler = self.synced(policy)
        before = list(sampler.generate(self.requests(policy)))
        self._change(policy, before)
        sampler.sync(policy)
        after = list(sampler.generate(self.requests(policy)))
        self._agree(policy, after, "the policy's after an update and a sync")

    # --- shared ----------------------------------------------------------------------------------------

    def _tokens(self, policy: Policy, requests: Sequence[SampleRequest]) -> dict[int, tuple[int, ...]]:
        """The completion of each sample."""
        rollouts = self.synced(policy).generate(requests)
        return {rollout.sample: tuple(rollout.completion_ids.tolist()) for rollout in rollouts}

    @staticmethod
    def _own(policy: Policy, rollouts: Sequence[Rollout], prefix: Tokens | None = None) -> list[Floats]:
        """What the policy says of the completions."""
        given = np.zeros(0, dtype=np.int64) if prefix is None else prefix
        return policy.logprobs([sequence(np.concatenate([r.prompt_ids, given]), r.completion_ids) for r in rollouts])

    def _agree(self, policy: Policy, rollouts: Sequence[Rollout], whose: str, prefix: Tokens | None = None) -> None:
        own = self._own(policy, rollouts, prefix)
        gaps = []
        for rollout, wanted in zip(rollouts, own, strict=True):
            shape = None if rollout.logprobs is None else rollout.logprobs.shape
            if rollout.logprobs is None or shape != wanted.shape:
                fail(f"logprobs of {len(wanted)} tokens have the shape {shape}, not {wanted.shape}")
            gaps.append(np.abs(rollout.logprobs - wanted))
        gap = float(np.concatenate(gaps).mean())
        if not gap <= self.tolerance:
            fail(f"log-probs differ by {gap:.3g} nats a token from {whose} (tolerance {self.tolerance:g})")

    @staticmethod
    def _parsed(policy: Policy, rollout: Rollout, before: str) -> None:
        said = policy.decode(rollout.completion_ids)
        wanted = Response.parse(said, finish=rollout.response.finish, prefilled=before)
        if rollout.response != wanted:
            fail(f"response is {rollout.response!r}, where {said!r} after {before!r} parses as {wanted!r}")

    def _greedily(self, policy: Policy, sampler: Sampler) -> None:
        """At temperature 0, going on from the first half of an answer gives the second."""
        for request in self.requests(policy, temperature=0.0):
            once = replace(request, keys=request.keys[:1], samples=request.samples[:1])
            whole = next(iter(sampler.generate([once]))).completion_ids
            kept = len(whole) // 2
            if kept:
                rest = replace(once, prefix_ids=whole[:kept], max_new_tokens=LONGEST - kept)
                found = next(iter(sampler.generate([rest]))).completion_ids
                if not np.array_equal(found, whole[kept:]):
                    fail("at temperature 0 an answer that is gone on from its half ends otherwise than the whole one")

    def _change(self, policy: Policy, rollouts: Sequence[Rollout]) -> None:
        """Update until every log-prob of the old weights would be seen to be wrong."""
        learned = weighted([sequence(r.prompt_ids, r.completion_ids) for r in rollouts[:1]], "token_mean")
        before = np.concatenate(self._own(policy, rollouts))
        for _ in range(MOST_UPDATES):
            policy.update(learned, CrossEntropy(), lr=self.lr)
            if np.abs(np.concatenate(self._own(policy, rollouts)) - before).mean() > 20 * self.tolerance:
                return
        fail(f"{MOST_UPDATES} updates at lr {self.lr:g} change log-probs too little to see: raise `lr`")
