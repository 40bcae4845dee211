"""The sampler `openai`: `{use: openai, endpoint: {url: .., key: {env: NAME}}, model: ..}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1_plugins.openai.config import OpenAIConfig
from r1_plugins.openai.session import Session
from r1core.components import Policy, Sampler
from r1core.contexts import SampleRecord
from r1core.endpoints import lacking
from r1core.estimates import Quote, Range
from r1core.types import Rollout, SampleRequest

TOKEN_BYTES = Range(2.5, 4.0, 5.5)
"""Bytes of text that make a token: code and numbers few, plain English many."""
ANSWER = Range(0.1, 0.4, 1.0)
"""Share of the longest answer that one has, thinking included."""
TOKENS_PER_S = Range(15.0, 40.0, 100.0)
"""What a hosted model writes in one answer."""


class OpenAISampler(Sampler):
    """Answers of a model behind an OpenAI-compatible endpoint, thinking included; one call for each.

    Asks `concurrent` at once. What fails is tried again; what the server refuses is put down with its reason and not
    asked for again; where it does not answer any more, the run stops (exit 3), and the same command goes on.
    """

    name = "openai"
    extra = "judge"
    remote = True

    class Config(OpenAIConfig):
        """Which model is asked, and how it is paid for."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._record: SampleRecord | None = None

    @classmethod
    def check(cls) -> list[str]:
        """Which of the packages that calls need are not installed."""
        return [f"{', '.join(lacking())} not installed: pip install 'r1core[judge]'"] if lacking() else []

    def identity(self) -> Mapping[str, str]:
        """Who answers: the endpoint or the name that stands for it, the model, and what each request says beside the
        question."""
        own = self.config
        whose = own.teacher or own.endpoint.url
        request = json.dumps({**own.request, "seeded": own.seeded}, sort_keys=True)
        return {"url": whose.rstrip("/"), "model": own.model, "revision": own.revision, "request": request}

    def prepare(self, record: SampleRecord) -> None:
        """Where calls are put down."""
        self._record = record

    def sync(self, policy: Policy) -> None:
        """Its model is its own."""

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Each answer as it comes, on record by then.

        Raises SetupError when the server does not answer or does not take any question, RefusedError when a cap is
        reached, Interrupted when the run is asked to stop; by then all that was paid for is kept.
        """
        assert self._record is not None, "it is prepared before it is asked"
        answers = Session(self.config, self._record).ask(requests)

        async def one() -> Rollout | None:
            return await anext(answers, None)

        async def no_more() -> None:
            await answers.aclose()

        with asyncio.Runner() as runner:
            try:
                while (rollout := runner.run(one())) is not None:
                    yield rollout
            finally:
                runner.run(no_more())

    def quote(self, calls: int, *, prompt_bytes: Range, max_new_tokens: int) -> Quote:
        """What so many calls take, by tokens for a byte, the share of the longest answer, and tokens a second."""
        tokens_in = prompt_bytes.over(TOKEN_BYTES)
        tokens_out = ANSWER * (calls * max_new_tokens)
        prices, at_once = self.config.prices, max(1, min(calls, self.config.concurrent))
        usd = Range(*map(prices.usd, tokens_in.all, tokens_out.all)) if prices is not None else None
        time_s = tokens_out.over(TOKENS_PER_S) * (1 / at_once)
        return Quote(calls=calls, tokens_in=tokens_in, tokens_out=tokens_out, usd=usd, time_s=time_s)
