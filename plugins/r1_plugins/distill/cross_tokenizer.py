"""A teacher with another tokenizer: its distributions on the same text, where both can be compared.

The text is written out in the teacher's tokens, under the teacher's own prompt. Wherever a token of both begins at the
same byte, both models say what follows the same text: there the student learns, and nowhere else. Two ways to compare:

* aligned: the teacher's `top_k` likeliest tokens that the student has, too (the same bytes), and the rest as one more
  token of both (`r1core.nn.on_support`), so that what cannot be matched is left mass and not lost mass.
* uld: both sorted (arXiv:2402.12030), whatever the tokens are.

How far this reaches is told: `live/aligned`, the share of the student's tokens that begin where one of the teacher's
does, and `<name>/matched_mass`, what the teacher gives to tokens that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from r1core.components import Policy
from r1core.types import Message, Tokens, TrainSequence

if TYPE_CHECKING:
    import torch

    from r1core.nn import LMHead, Measure, TokenView

TEXT, THEIRS = "text", "theirs"
"""Columns: the number of the text, and which of the teacher's counted tokens begins where this one does, or -1."""


class Translation:
    """Texts of one tokenizer in another's tokens."""

    def __init__(self, student: Policy, teacher: Policy) -> None:
        """Raises SetupError where the tokens of either do not say which bytes they stand for."""
        from r1core.nn import matching

        self.student, self.teacher = student, teacher
        self.own, self.theirs = student.pieces, teacher.pieces
        self.table = matching(self.own, self.theirs)
        """The student's id of each of the teacher's tokens, or -1."""
        self.texts: list[TrainSequence] = []
        """In the teacher's tokens, by number."""

    def add(self, messages: Sequence[Message], sequence: TrainSequence) -> TrainSequence:
        """The sequence with its columns; its text in the teacher's tokens is kept. Where they cannot be compared at all
        (the teacher's template begins the answer otherwise) no token has a partner."""
        from r1core.nn import END, comparable, starts

        spelled = b"".join(self.own[number] for number in sequence.ids[sequence.start :])
        text, begun = spelled.removesuffix(END), self.student.prefilled(messages).encode()
        opened = self.teacher.prefilled(messages).encode()
        partners = np.full(len(sequence.ids) - sequence.start, -1, dtype=np.int64)
        whole = begun + text
        if whole.startswith(opened):
            their_text = whole.removeprefix(opened)
            theirs = self._in_their_tokens(messages, their_text, ended=spelled.endswith(END))
            sides = (
                (self.own, sequence, text, len(begun)),
                (self.theirs, theirs, their_text, len(opened)),
            )
            begins = [starts(side.ids[side.start :], pieces, said) for pieces, side, said, _ in sides]
            if begins[0] is not None and begins[1] is not None:
                mine, other = comparable(begins[0] + len(begun), begins[1] + len(opened))
                predicted = (mine >= _unpredicted(sequence)) & (other >= _unpredicted(theirs))
                partners[mine[predicted]] = other[predicted] - _unpredicted(theirs)
            self.texts.append(theirs)
        else:
            self.texts.append(TrainSequence(ids=np.zeros(1, dtype=np.int64), start=1, columns={}))
        numbers = np.full(len(partners), len(self.texts) - 1, dtype=np.int64)
        return replace(sequence, columns={**sequence.columns, TEXT: numbers, THEIRS: partners})

    def _in_their_tokens(self, messages: Sequence[Message], text: bytes, *, ended: bool) -> TrainSequence:
        prompt = self.teacher.prompt_ids(messages)
        answer: Tokens = self.teacher.completion_ids(text.decode("utf-8", "replace"))
        answer = answer if ended else answer[:-1]
        return TrainSequence(ids=np.concatenate([prompt, answer]), start=len(prompt), columns={})


def _unpredicted(sequence: TrainSequence) -> int:
    """Counted tokens that nothing predicts: the first of a document."""
    return int(sequence.start == 0)


class FromOtherTokens:
    """The distance to a live teacher with another tokenizer, on tokens that have a partner."""

    reads = frozenset({"head"})

    def __init__(self, name: str, translation: Translation, how: Literal["aligned", "uld"], measure: Measure) -> None:
        """`measure`: of `uld` the temperature alone."""
        self.name = name
        self.translation = translation
        self.how = how
        self.measure = measure

    def __call__(self, view: TokenView) -> torch.Tensor:
        import torch

        from r1core.nn import on_support

        there = view.columns[THEIRS] >= 0
        mine, temperature = view.take(there), self.measure.temperature
        teacher = self._partners(mine)
        if self.how == "uld":
            value = mine.head.sorted_distance(teacher, temperature)
        else:
            ids, logprobs = teacher.likeliest(self.measure.top_k, temperature)
            table = torch.from_numpy(self.translation.table).to(ids.device)
            own = torch.where(ids >= 0, table[ids.clamp(min=0)], -1)
            value = on_support(mine.head.logprobs_at(own, temperature), logprobs, own >= 0, self.measure)
            mine.record(f"{self.name}/matched_mass", torch.where(own >= 0, logprobs.exp(), 0.0).sum(1))
        return torch.zeros(len(there), dtype=value.dtype, device=value.device).masked_scatter(there, value)

    def _partners(self, view: TokenView) -> LMHead:
        """The teacher's head at the partner of each token."""
        import torch

        numbers, owner = torch.unique(view.columns[TEXT], return_inverse=True)
        texts = [self.translation.texts[int(number)] for number in numbers]
        counted = [len(text.ids) - text.start - _unpredicted(text) for text in texts]
        before = torch.tensor([0, *np.cumsum(counted)], device=owner.device)
        return self.translation.teacher.head_on(texts).take(before[owner] + view.columns[THEIRS])
