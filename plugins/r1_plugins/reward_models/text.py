"""What a reward model is shown, the same in training and in use: the prompt, what it sees of an answer, the end token.

The answer's end token is the one that is scored: its state has seen everything. Policies score where a token is
predicted, so one more token follows it, which stands for nothing and is the only one that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np

from r1core.types import Message, Problem, Response, Tokens, TrainSequence

Sees: TypeAlias = Literal["answer", "response"]
OPEN, CLOSE = "<think>", "</think>"


class Text(Protocol):
    """A tokenizer with a chat template: a policy's, or a model folder's."""

    def prompt_ids(self, messages: Sequence[Message]) -> Tokens: ...

    def prefilled(self, messages: Sequence[Message]) -> str: ...

    def completion_ids(self, text: str) -> Tokens: ...


def scored_sequence(text: Text, problem: Problem, response: Response, sees: Sees) -> TrainSequence | None:
    """The answer as it is scored; None where the final answer is to be seen and there is none."""
    messages = tuple(problem.messages)
    if sees == "answer":
        if response.answer is None:
            return None
        while messages and messages[-1]["role"] == "assistant":
            messages = messages[:-1]
        whole = response.answer
    else:
        whole = response.prefilled + response.text
    shown = _after(text.prefilled(messages), whole)
    ids = np.concatenate([text.prompt_ids(messages), text.completion_ids(shown)])
    return TrainSequence(ids=np.append(ids, ids[-1]), start=len(ids), columns={})


def _after(opened: str, whole: str) -> str:
    """What is left to write of `whole` where the prompt has `opened` something; a think block that `whole` does not
    begin with is closed first."""
    if whole.startswith(opened.rstrip()):
        return whole.removeprefix(opened) if whole.startswith(opened) else whole.removeprefix(opened.rstrip())
    return CLOSE + whole if OPEN in opened else whole
