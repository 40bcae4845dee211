"""What a reward model is asked, whoever made it: the tokens, and what of a conversation they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from r1_plugins.reward_models.text import Sees
from r1core.types import Message, Problem, Response, Tokens

Layout: TypeAlias = Literal["trained", "chat", "pair"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The tokens that a model is asked about; for some, which of two texts each belongs to."""

    ids: Tokens
    kinds: tuple[int, ...] | None = None


def conversation(problem: Problem, response: Response, sees: Sees) -> tuple[tuple[Message, ...], str | None]:
    """The messages before the answer, and what is seen of it; a start that was given to the model is part of that."""
    messages = tuple(problem.messages)
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    return messages, response.answer if sees == "answer" else response.prefilled + response.text
