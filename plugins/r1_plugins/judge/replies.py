"""What a judge's reply says: a token of a closed set, on the last line or in the one field of a JSON object.

Searching a reply for CORRECT finds it in INCORRECT, in "not CORRECT" and in prose. So the last line must be
the token and nothing else; a reply with another token on a line of its own, or that was cut off, says nothing.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One reply as it came; tokens are None where the server does not count them."""

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None

    @classmethod
    def of(cls, raw: Any) -> Reply | None:
        """The first choice of a chat completion, None where it is none."""
        try:
            choice = raw["choices"][0]
            text, finish = choice["message"]["content"], choice.get("finish_reason")
        except (TypeError, KeyError, IndexError, AttributeError):
            return None
        if not isinstance(text, str):
            return None
        usage = raw.get("usage") if isinstance(raw.get("usage"), dict) else {}
        return cls(
            text=text,
            finish=finish if isinstance(finish, str) else "",
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
        )

    @property
    def said(self) -> str:
        """What it says behind its thinking, "" where it was cut off."""
        if self.finish == "length":
            return ""
        _, closed, tail = self.text.rpartition("</think>")
        return "" if "<think>" in tail else tail if closed else self.text


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A closed set of tokens, each with its worth."""

    worth: dict[str, float]

    @property
    def asked_for(self) -> str:
        """The set in words."""
        *first, last = self.worth
        return f"{', '.join(first)} or {last}"

    @property
    def schema(self) -> dict[str, Any]:
        """What a JSON reply must be."""
        return _object({"type": "string", "enum": list(self.worth)})

    def in_line(self, line: str) -> float | None:
        """The worth of a line that is a token."""
        return self.worth.get(line)

    def in_json(self, value: Any) -> float | None:
        """The worth of the field's value."""
        return self.worth.get(value) if isinstance(value, str) else None


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers of a closed range, written `SCORE: 7`; worth 0 at `low`, 1 at `high`."""

    low: float
    high: float

    @property
    def asked_for(self) -> str:
        """The set in words."""
        return f"SCORE: followed by a number from {self.low:g} to {self.high:g}"

    @property
    def schema(self) -> dict[str, Any]:
        """What a JSON reply must be."""
        return _object({"type": "number", "minimum": self.low, "maximum": self.high})

    def in_line(self, line: str) -> float | None:
        """The worth of a line that is a score."""
        label, colon, number = line.partition(":")
        number = number.strip()
        return self._worth(float(number)) if label == "SCORE" and colon and NUMBER.fullmatch(number) else None

    def in_json(self, value: Any) -> float | None:
        """The worth of the field's value."""
        return self._worth(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _worth(self, number: float) -> float | None:
        inside = math.isfinite(number) and self.low <= number <= self.high
        return (number - self.low) / (self.high - self.low) if inside else None


def read(reply: Reply, allowed: Tokens | Range, *, form: str) -> float | None:
    """The worth that the reply tells, between 0 and 1; None where it tells none, or more than one."""
    return _json(reply.said, allowed) if form == "json" else _line(reply.said, allowed)


def _line(text: str, allowed: Tokens | Range) -> float | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or allowed.in_line(lines[-1]) is None:
        return None
    told = {worth for line in lines if (worth := allowed.in_line(line)) is not None}
    return told.pop() if len(told) == 1 else None


def _json(text: str, allowed: Tokens | Range) -> float | None:
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return allowed.in_json(value["verdict"]) if isinstance(value, dict) and value.keys() == {"verdict"} else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key that stands twice says two things")
    return dict(pairs)


def _object(field: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"verdict": field}, "required": ["verdict"], "additionalProperties": False}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
