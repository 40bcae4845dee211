"""The suite of samplers that grade (`score`): what they say of a text is what their model says, token by token.

class TestMine(TeacherSuite):
    component = "mine/teacher"
    policy, architecture, source = "transformers", {"model_type": "llama", ...}, "playground_corpus"

    @contextlib.contextmanager
    def serving(self, policy):
        with my_server_of(policy) as url:        # one that has the policy's model
            yield {"endpoint": {"url": url}}     # the options that lead there
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from r1core.components import Policy, Sampler
from r1core.testing.promise import promise
from r1core.testing.suite import ComponentSuite, fail
from r1core.testing.tasks import TEXTS, component, made, sequences
from r1core.types import TopLogprobs, TrainSequence

K = 4
PARTS = ("top_logprobs", "logprobs")


class TeacherSuite(ComponentSuite):
    """What a sampler with `score` promises."""

    kind = "sampler"
    policy: ClassVar[str | Mapping[str, Any]] = ""
    """A policy, as a recipe names it, that tells the likeliest tokens of the model that is served."""
    architecture: ClassVar[Mapping[str, Any]] = {}
    """What the policy's `create` gets."""
    source: ClassVar[str | Mapping[str, Any]] = ""
    """The problem source that brings the model's tokenizer."""
    tolerance: ClassVar[float] = 1e-3
    """Nats by which a log-prob may differ from the policy's: float32 engines 1e-6, bfloat16 0.01."""

    # --- for tests -------------------------------------------------------------------------------

    def serving(self, policy: Policy) -> contextlib.AbstractContextManager[Mapping[str, Any]]:
        """A server of the policy's model at work, and the options by which the sampler finds it."""
        fail(f"{type(self).__name__} has no server: give it a `serving`")

    @contextlib.contextmanager
    def grading(self, folder: Path) -> Iterator[tuple[Sampler, Policy, list[TrainSequence]]]:
        """The sampler, synced; the policy with the same model; and texts of both kinds, long and empty."""
        here = Path(inspect.getfile(type(self))).parent
        policy: Policy = component("policy", self.policy, here)
        made(folder, policy, component("source", self.source, here), self.architecture)
        policy.open(folder, trainable=False)
        with self.serving(policy) as options:
            sampler: Sampler = self.build(**options)
            sampler.sync(policy)
            yield sampler, policy, sequences(policy, TEXTS)

    def _compare(self, found: Sequence[TopLogprobs], wanted: Sequence[TopLogprobs], what: str) -> None:
        if len(found) != len(wanted):
            fail(f"{len(found)} verdicts come for {len(wanted)} texts")
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            shapes = [[np.shape(part) for part in told] for told in (ours, theirs)]
            if shapes[0] != shapes[1]:
                fail(f"what it says of text {number} has the shapes {shapes[0]}, not {shapes[1]}")
            for name, own, other in zip(PARTS, ours[1:], theirs[1:], strict=True):
                if own.size and not np.abs(own - other).max() <= self.tolerance:
                    worst = float(np.abs(own - other).max())
                    fail(f"its {name} of text {number} differ by {worst:.3g} nats from {what}")

    # --- the promises ----------------------------------------------------------------------------

    @promise
    def test_it_says_what_its_model_says(self, tmp_path: Path) -> None:
        """The likeliest tokens in each counted place, the end token's among them, and each token's own log-prob, given
        the tokens before it."""
        with self.grading(tmp_path) as (sampler, policy, texts):
            found = sampler.score(texts, top_k=K, temperature=1.0)
            wanted = policy.top_logprobs(texts, k=K, temperature=1.0)
        self._compare(found, wanted, "the model's")
        for number, ((ids, tops, _), (their_ids, _, _)) in enumerate(zip(found, wanted, strict=True)):
            clear = tops > tops[:, -1:] + 2 * self.tolerance  # of tokens as likely as the last any may be named
            named = (ids[:, :, None] == their_ids[:, None, :]).any(2)
            if not named[clear].all():
                fail(f"of text {number} it names other tokens than the model's likeliest")

    @promise
    def test_the_token_alone_may_be_asked_for(self, tmp_path: Path) -> None:
        """With a `top_k` of 0 the own log-probs come, and no others."""
        with self.grading(tmp_path) as (sampler, policy, texts):
            found = sampler.score(texts, top_k=0, temperature=1.0)
            wanted = policy.top_logprobs(texts, k=0, temperature=1.0)
        self._compare(found, wanted, "the model's")

    @promise
    def test_a_text_is_graded_by_itself(self, tmp_path: Path) -> None:
        """Whatever else is asked for, and in whichever order."""
        with self.grading(tmp_path) as (sampler, _, texts):
            together = sampler.score(texts, top_k=K, temperature=1.0)
            apart = [told for text in reversed(texts) for told in sampler.score([text], top_k=K, temperature=1.0)]
        self._compare(together, apart[::-1], "what it says of the text alone")
