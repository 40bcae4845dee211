"""Caps on calls and on cost: a call is made only when the worst that it can cost still fits.

What is under way counts at its worst until its bill is known, so no number of calls at once goes over a cap. A token is
at least a byte of text, so the prompt's bytes bound its tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from r1_plugins.judge.config import JudgeConfig
from r1_plugins.judge.record import Record
from r1_plugins.judge.replies import Reply
from r1core.errors import RefusedError

TEMPLATE_TOKENS = 64
"""What a chat template adds to two messages, at most."""


class Budget:
    """One session's view of what the record says was spent. Lives in one event loop."""

    def __init__(self, config: JudgeConfig, record: Record) -> None:
        self._config = config
        self._record = record
        self._calls = 0
        self._usd = 0.0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def call(self, body: Mapping[str, Any]) -> AsyncIterator[None]:
        """A call that fits; waits for the bills of others where it might not. Raises RefusedError where it does not."""
        worst = self.worst(body)
        async with self._changed:
            while (over := self._over(worst)) and self._calls:
                await self._changed.wait()
            if over:
                raise self._spent(over)
            self._calls += 1
            self._usd += worst
        try:
            yield
        finally:
            self._calls -= 1
            self._usd -= worst
            async with self._changed:
                self._changed.notify_all()

    def worst(self, body: Mapping[str, Any]) -> float:
        """The most that a call can cost, USD."""
        prompt = sum(len(message["content"].encode()) for message in body["messages"])
        schema = len(json.dumps(body.get("response_format", "")))
        limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        longest = max((limit for limit in limits if isinstance(limit, int)), default=self._config.max_tokens)
        return self._price(prompt + schema + TEMPLATE_TOKENS, longest)

    def bill(self, body: Mapping[str, Any], reply: Reply | None) -> float:
        """What a call cost, USD; the most that it can have cost where the server does not say."""
        if reply is None or reply.tokens_in is None or reply.tokens_out is None:
            return self.worst(body)
        return self._price(reply.tokens_in, reply.tokens_out)

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        prices = self._config.prices
        return (tokens_in * prices.input + tokens_out * prices.output) / 1e6 if prices is not None else 0.0

    def _over(self, worst: float) -> str:
        """The cap that one more call may break, "" for none."""
        config = self._config
        if config.max_calls is not None and self._record.calls + self._calls + 1 > config.max_calls:
            return "max_calls"
        if config.max_usd is not None and self._record.usd + self._usd + worst > config.max_usd:
            return "max_usd"
        return ""

    def _spent(self, cap: str) -> RefusedError:
        spent = f"{self._record.calls} calls"
        spent += f" and {self._record.usd:.4f} USD" if self._config.prices is not None else ""
        return RefusedError(
            f"{spent} are spent; one more could go beyond {cap}, {getattr(self._config, cap):g}",
            where=f"reward judge, model {self._config.model}",
            fix=f"raise {cap} and run the same command again: every verdict is kept, none is paid twice",
        )
