"""Caps on calls and on cost: an attempt is made only when the worst that it can cost still fits.

What is under way counts at its worst until its bill is known, so no number of calls at once goes over a cap; what was
sent and came to nothing counts at its worst for ever. A token is at least a byte of text, so the prompt's bytes bound
its tokens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field

from r1core.choices import Options
from r1core.errors import RefusedError

TEMPLATE_TOKENS = 64
"""What a chat template adds to two messages, at most."""
MESSAGE_TOKENS = 16
"""And to each further one."""


class Prices(Options):
    """What the endpoint takes."""

    input: float = Field(ge=0, description="USD per million tokens that it reads")
    output: float = Field(ge=0, description="USD per million tokens that it writes")

    def usd(self, tokens_in: float, tokens_out: float) -> float:
        """What a call, or many, of so many tokens costs."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


class Spent(Protocol):
    """What was asked and paid by now, as a record on disk knows it."""

    @property
    def calls(self) -> int:
        """Calls that may have been billed."""
        ...

    @property
    def usd(self) -> float:
        """Their cost, USD."""
        ...


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How far it may go. `where` names who asks, `kept` what is not paid for twice ("every verdict"), for people."""

    prices: Prices | None
    max_calls: int | None
    max_usd: float | None
    max_tokens: int
    """Longest reply, where a request does not say."""
    where: str
    kept: str


class Budget:
    """One session's view of what the record says was spent. Lives in one event loop."""

    def __init__(self, caps: Caps, spent: Spent) -> None:
        self._caps = caps
        self._spent = spent
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
            raise self._refused(self._over(worst))
        self._changed.clear()
        await self._changed.wait()

    def worst(self, body: Mapping[str, Any]) -> float:
        """The most that a call can cost, USD."""
        messages = body["messages"]
        prompt = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)
        prompt += TEMPLATE_TOKENS + MESSAGE_TOKENS * max(0, len(messages) - 2)
        schema = len(json.dumps(body.get("response_format", "")))
        limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        longest = max((limit for limit in limits if isinstance(limit, int)), default=self._caps.max_tokens)
        return self._price(prompt + schema, longest)

    def bill(self, body: Mapping[str, Any], tokens_in: int | None, tokens_out: int | None) -> float:
        """What a call cost, USD; the most that it can have cost where the server does not count its tokens."""
        if tokens_in is None or tokens_out is None:
            return self.worst(body)
        return self._price(tokens_in, tokens_out)

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        return self._caps.prices.usd(tokens_in, tokens_out) if self._caps.prices is not None else 0.0

    def _over(self, worst: float) -> str:
        """The cap that one more call may break, "" for none."""
        caps = self._caps
        if caps.max_calls is not None and self._spent.calls + self._calls + 1 > caps.max_calls:
            return "max_calls"
        if caps.max_usd is not None and self._spent.usd + self._usd + worst > caps.max_usd:
            return "max_usd"
        return ""

    def _refused(self, cap: str) -> RefusedError:
        spent = f"{self._spent.calls} calls"
        spent += f" and {self._spent.usd:.4f} USD" if self._caps.prices is not None else ""
        return RefusedError(
            f"{spent} are spent; one more could go beyond {cap}, {getattr(self._caps, cap):g}",
            where=self._caps.where,
            fix=f"raise {cap} and run the same command again: {self._caps.kept} is kept, none is paid twice",
        )
