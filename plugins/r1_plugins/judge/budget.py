"""Caps on calls and on cost: an attempt is made only when the worst that it can cost still fits.

What is under way counts at its worst until its bill is known, so no number of calls at once goes over a cap; what was
sent and came to nothing counts at its worst for ever. A token is at least a byte of text, so the prompt's bytes bound
its tokens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
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
        self._changed = asyncio.Event()

    def book(self, worst: float) -> bool:
        """Whether an attempt fits; if so it counts at its worst, USD, until it is settled."""
        if self._over(worst):
            return False
        self._calls += 1
        self._usd += worst
        return True

    def settle(self, worst: float) -> None:
        """The attempt is at its end; what it cost is in the record."""
        self._calls -= 1
        self._usd = self._usd - worst if self._calls else 0.0
        self._changed.set()

    async def others(self, worst: float) -> None:
        """Wait for another's bill, which may be less than its worst. Raises RefusedError where none is due."""
        if not self._calls:
            raise self._spent(self._over(worst))
        self._changed.clear()
        await self._changed.wait()

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
