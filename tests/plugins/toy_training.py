"""A stage without a model: a policy that records what it is asked, and rollouts made by a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from r1core.choices import Use
from r1core.keys import derive_key
from r1core.types import At, Floats, Group, Problem, Response, Rollout, Score, Tokens, TrainSequence

LOST = Score(value=float("nan"), status="infrastructure", reason="worker_died")


def problem(name: str) -> Problem:
    return Problem(id=name, messages=({"role": "user", "content": name},))


def rollout(
    asked: Problem, sample: int, tokens: Sequence[int] = (5, 6, 7), *, logprob: float | None = -0.5, **options: Any
) -> Rollout:
    return Rollout(
        problem=asked,
        sample=sample,
        prompt_ids=np.array([1, 2]),
        completion_ids=np.array(tokens, dtype=np.int64),
        logprobs=None if logprob is None else np.full(len(tokens), logprob),
        response=Response.parse("<think></think> 7", **options),
    )


def group(name: str, *scores: float | Score, tokens: Sequence[Sequence[int]] | None = None) -> Group:
    """The group of problem `name`: one rollout for each score."""
    asked = problem(name)
    answers = tokens or [(5, 6, 7)] * len(scores)
    return Group(
        problem=asked,
        rollouts=tuple(rollout(asked, number, answer) for number, answer in enumerate(answers)),
        scores=tuple(score if isinstance(score, Score) else Score(value=score) for score in scores),
    )


class ToyPolicy:
    """Answers every log-prob with one number, so that a column shows who computed it. Tokens are letters."""

    positions: int | None = None

    def __init__(self, logprob: float = -1.0) -> None:
        self.logprob = logprob
        self.updates: list[list[TrainSequence]] = []
        self.rates: list[float] = []
        self.losses: list[Any] = []
        self.asked = 0

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        self.asked += len(sequences)
        return [np.full(len(sequence.ids) - sequence.start, self.logprob) for sequence in sequences]

    def values(self, sequences: Sequence[TrainSequence]) -> list[Floats]:
        """Half of the tokens' numbers, as a critic might say."""
        return [sequence.ids[sequence.start :] / 2 for sequence in sequences]

    def update(self, sequences: Sequence[TrainSequence], loss: Any, *, lr: float) -> dict[str, float]:
        assert sequences, "an optimizer step needs sequences"
        for sequence in sequences:
            for name, column in sequence.columns.items():
                assert column.shape == (len(sequence.ids) - sequence.start,), name
                assert np.isfinite(column).all(), name
        self.updates.append(list(sequences))
        self.rates.append(lr)
        self.losses.append(loss)
        return {"loss": 0.25, "grad_norm": 1.5}

    def prompt_ids(self, messages: Sequence[Mapping[str, str]]) -> Tokens:
        return self.document_ids([messages[-1]["content"]])[0]

    def completion_ids(self, text: str) -> Tokens:
        return np.append(self.document_ids([text])[0], 0)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        return [np.array([ord(letter) for letter in text], dtype=np.int64) for text in texts]

    def decode(self, ids: Tokens) -> str:
        return "".join(chr(token) for token in ids if token)

    def prefilled(self, messages: Sequence[Mapping[str, str]]) -> str:
        return ""

    @property
    def text_marks(self) -> Mapping[str, str]:
        return {}


class ToyContext:
    """A stage: `groups(at)` are its rollouts, `examples` its data, `extra` its extensions, `built` its components."""

    def __init__(
        self,
        groups: Callable[[At], list[Group]] | None = None,
        *,
        examples: Sequence[Problem] = (),
        extra: Sequence[int] = (),
        built: Sequence[Any] = (),
    ) -> None:
        self.policy: Any = ToyPolicy()
        self.teacher = ToyPolicy(-3.0)
        self.refreshed: list[int] = []
        self.references = 0
        self.asked: list[tuple[At, int, int]] = []
        self.states: list[tuple[Rollout, int]] = []
        self.continuation_reward: Callable[[Rollout, int], Floats] = lambda rollout, kept: np.full(2, 0.5)
        self.greedy_reward: Callable[[Problem], float] = lambda problem: 0.25
        self.greedily: list[str] = []
        self.second = ToyPolicy()
        self.critics: list[str | None] = []
        self.notes: list[str] = []
        self.told: dict[str, dict[str, str | float]] = {}
        self.chosen: list[tuple[str, str]] = []
        self._groups = groups
        self._examples = list(examples)
        self._extra = extra
        self._built = built
        self._step = -1

    def steps(self, planned: int) -> Iterator[At]:
        for length in (planned, *self._extra):
            for position in range(length):
                self._step += 1
                yield At(step=self._step, position=position, length=length)

    def examples(self) -> list[Problem]:
        return self._examples

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        assert self._groups is not None
        self.asked.append((at, prompts, samples))
        return self._groups(at)

    def continuations(self, at: At, states: Sequence[tuple[Rollout, int]], *, samples: int) -> list[Floats]:
        self.states += states
        return [self.continuation_reward(rollout, kept) for rollout, kept in states]

    def greedy(self, at: At, problems: Sequence[Problem]) -> Floats:
        self.greedily += [problem.id for problem in problems]
        return np.array([self.greedy_reward(problem) for problem in problems])

    def critic(self, ref: str | None = None) -> Any:
        assert ref in (None, "judge")
        self.critics.append(ref)
        return self.second

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tell(self, name: str, facts: Mapping[str, str | float]) -> None:
        self.told.setdefault(name, {}).update(facts)

    def model(self, ref: str) -> Any:
        assert ref == "teacher"
        return self.teacher

    def reference(self, *, refresh: bool = False) -> Any:
        self.references += 1
        if refresh:
            self.refreshed.append(self._step)
        return ToyPolicy(-10.0 - self.references)

    def build(self, use: Use, kind: str) -> Any:
        self.chosen.append((kind, use.use))
        component = next(c for c in self._built if (c.kind, c.name) == (kind, use.use))
        return component(component.Config.model_validate(use.options))

    def key(self, *parts: int | str) -> int:
        return derive_key(0, *parts)
