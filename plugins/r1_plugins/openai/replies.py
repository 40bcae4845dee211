r"""What a chat completion says: thinking and answer in one text, as a model of ours writes them, or a refusal.

    reasoning_content: R, content: A      DeepSeek, older vLLM        <think>\nR\n</think>\n\nA
    reasoning: R, content: A              OpenRouter, newer vLLM      the same
    content: <think>R</think>A            no parser on the server     as it is
    content: R</think>A                   its template opened it      <think>\n in front

An answer that was cut off while it was thinking has an open think block, as one of ours would. Content without think
tags of its own is the answer (`apart`): the server may have dropped tags around it, or any thinking. No content, with
an end that says so, is an empty answer: its thinking was hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from r1core.types import Finish

OPEN, CLOSE = "<think>", "</think>"
FILTERED = "content_filter"
BUSY = frozenset({"insufficient_system_resource", "error", "abort", "tool_calls", "function_call"})
"""Ends of a reply that is no answer, and was not meant to be one."""
FINISHES = ("length", "model_length", "max_tokens")
EMPTY = ("stop", *FINISHES)
"""Ends at which a reply without content is an answer: nothing was written, or hidden thinking came to the limit."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer; tokens are None where the server does not count them. `refused`: why there is no text."""

    text: str
    finish: Finish = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None
    refused: str = ""
    apart: bool = False

    @classmethod
    def of(cls, raw: Any) -> Reply | None:
        """The first choice of a chat completion, None where there is none to read."""
        try:
            choice = raw["choices"][0]
            message, finish = choice["message"], choice.get("finish_reason")
            content, thinking = message.get("content"), _thinking(message)
        except (TypeError, KeyError, IndexError, AttributeError):
            return None
        usage = raw.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        refused = "refusal" if message.get("refusal") and not content else ""
        refused = FILTERED if finish == FILTERED else refused
        if refused:
            return cls(text="", tokens_in=tokens_in, tokens_out=tokens_out, refused=refused)
        if finish in BUSY or not isinstance(content, str | None):
            return None
        if content is None and not thinking and not _is_empty(message, finish):
            return None
        return cls(
            text=_whole(thinking, content or "", is_cut=finish in FINISHES),
            finish="length" if finish in FINISHES else "stop",
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            apart=bool(content and content.strip()) and OPEN not in content and CLOSE not in content,
        )


def _is_empty(message: Any, finish: Any) -> bool:
    """Whether a message without content is an answer all the same: its content is null, and it came to its end."""
    return "content" in message and finish in EMPTY and not message.get("tool_calls")


def _thinking(message: Any) -> str:
    """The thinking, in whichever field it came."""
    found = (message.get(name) for name in ("reasoning_content", "reasoning"))
    return next((text for text in found if isinstance(text, str) and text.strip()), "")


def _whole(thinking: str, content: str, *, is_cut: bool) -> str:
    if content.lstrip().startswith(OPEN):
        return content
    if not thinking:
        return f"{OPEN}\n{content}" if CLOSE in content and OPEN not in content else content
    if is_cut and not content.strip():
        return f"{OPEN}\n{thinking.strip()}"
    return f"{OPEN}\n{thinking.strip()}\n{CLOSE}\n\n{content.strip()}"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
