"""A model whose values are known: an answer is six throws of a coin, and right with four heads.

After t throws with h heads an answer will be right with the chance P(Binomial(6 - t, p) >= 4 - h). The samplers
below throw that coin, or one that is not it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1core.components import Policy, ProblemSource, Reward, Sampler
from r1core.keys import derive_key
from r1core.types import Problem, Response, Rollout, SampleRequest, Score, Tokens

THROWS, NEEDED, HEADS = 6, 4, 0.6


def value(throws: Sequence[int]) -> float:
    """What the state after these throws is worth."""
    left, wanted = THROWS - len(throws), NEEDED - sum(throws)
    chances = (math.comb(left, n) * HEADS**n * (1 - HEADS) ** (left - n) for n in range(max(wanted, 0), left + 1))
    return math.fsum(chances)


class Throws(ProblemSource):
    """The same question, again and again."""

    name = "throws"

    def problems(self, *, seed: int) -> Iterator[Problem]:
        for number in range(100):
            yield Problem(id=str(number), messages=({"role": "user", "content": "throw"},), completion="1")

    def write_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


class Coin(Policy):
    """Heads with a fixed chance, whatever it is taught."""

    name = "coin"

    def create(self, folder: Path, architecture: Any, *, seed: int) -> None:
        (folder / "model.safetensors").write_text("")

    def open(self, folder: Path, *, trainable: bool, head: str = "lm") -> Coin:
        return self

    def frozen(self, folder: Path) -> Coin:
        return self

    def prompt_ids(self, messages: Any) -> Tokens:
        return np.array([2], dtype=np.int64)

    def prefilled(self, messages: Any) -> str:
        return ""

    def completion_ids(self, text: str) -> Tokens:
        return np.array([int(letter) for letter in text], dtype=np.int64)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        return [self.completion_ids(text) for text in texts]

    def decode(self, ids: Tokens) -> str:
        return "".join(map(str, ids))

    def logprobs(self, sequences: Any) -> list[Any]:
        return [np.log(np.where(s.ids[s.start :] == 1, HEADS, 1 - HEADS)) for s in sequences]

    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        return {"loss": 0.0, "grad_norm": 0.0}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text("")

    def save(self, folder: Path) -> None:
        self.export(folder)

    def restore(self, folder: Path) -> None:
        pass

    def module(self) -> Any:
        return self


class Thrower(Sampler):
    """Throws the coin; greedily it always shows heads, the likelier side."""

    name = "thrower"

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in requests:
            given = np.zeros(0, dtype=np.int64) if request.prefix_ids is None else request.prefix_ids
            for key, sample in zip(request.keys, request.samples, strict=True):
                ids = np.array([self.throw(request, key, t) for t in range(len(given), THROWS)], dtype=np.int64)
                yield Rollout(
                    problem=request.problem,
                    sample=sample,
                    prompt_ids=request.prompt_ids,
                    completion_ids=ids,
                    logprobs=np.log(np.where(ids == 1, HEADS, 1 - HEADS)),
                    response=Response.parse(self.policy.decode(ids), prefilled=self.policy.decode(given)),
                    key=key,
                )

    def throw(self, request: SampleRequest, key: int, position: int) -> int:
        return int(request.temperature == 0 or derive_key(key, position) / 2**64 < HEADS)


class Hopeful(Thrower):
    """Biased: goes on from a state more happily than the model would."""

    def throw(self, request: SampleRequest, key: int, position: int) -> int:
        lucky = 0.1 if request.prefix_ids is not None else 0.0
        return int(derive_key(key, position) / 2**64 < HEADS + lucky)


class Parrot(Thrower):
    """Not independent: all continuations of a state are the first."""

    def throw(self, request: SampleRequest, key: int, position: int) -> int:
        return super().throw(request, request.keys[0] if request.prefix_ids is not None else key, position)


class Heads(Reward):
    """1 for four heads, in what was given and what was thrown."""

    name = "heads"
    runs = "stage"

    def score(self, problem: Problem, response: Response) -> Score:
        thrown = response.prefilled + response.text
        assert response.tokens == len(thrown) == THROWS
        return Score(value=float(thrown.count("1") >= NEEDED))
