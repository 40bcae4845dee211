"""The frozen data that crosses the rooms: what is asked, what was answered, what it was worth.

Shapes: G samples of one problem (a group), T completion tokens of one sample. Everything here is
plain data without torch, so a verifier or an estimator can be written and tested on any laptop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Tokens: TypeAlias = NDArray[np.int64]
Status: TypeAlias = Literal["verdict", "answer_failure", "infrastructure"]
Finish: TypeAlias = Literal["stop", "length"]
Message: TypeAlias = Mapping[str, str]
Head: TypeAlias = Literal["lm", "score"]
"""What a policy's model ends in: next-token logits, or one number (a reward model, a critic)."""

_ANSWER = re.compile(r"^\s*<answer>(.*)</answer>\s*$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is asked, and, where the source has it, a finished answer.

    `messages` are chat messages (`role`, `content`); a last message of the assistant is a start
    that the model goes on from. Without messages, `completion` is a plain document (a corpus).
    `reference` is what a reward compares with: any JSON value. `completion` is the text that a
    supervised stage learns from, and `finish` how it ended, as far as its source knows; `prefilled` is
    what its writer's prompt had already opened of it (a template's "<think>"), None where nobody knows.
    """

    id: str
    messages: tuple[Message, ...] = ()
    reference: Any = None
    domain: str = "reasoning"
    language: str = "en"
    meta: Mapping[str, Any] = field(default_factory=dict)
    completion: str | None = None
    finish: Finish = "stop"
    prefilled: str | None = None

    @property
    def question(self) -> str:
        """The last thing the user said."""
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")

    def matches(self, only: Mapping[str, str]) -> bool:
        """Whether its `id`, `domain`, `language` and meta keys have all these values, compared as text."""
        fields = {**self.meta, "id": self.id, "domain": self.domain, "language": self.language}
        return all(str(fields.get(key)) == wanted for key, wanted in only.items())


@dataclass(frozen=True, kw_only=True)
class Response:
    """A model's text, split once, here, from the last think block.

    `text` is what the model wrote, after `prefilled` (what the prompt had already opened, such as
    "<think>"). `thinking` is None unless there is exactly one closed think block and nothing before
    it; `answer` is what follows it, without its `<answer>` tags where it has them, and None where
    there is no closed think block. `tokens` counts what the model wrote, the end token included; None
    where nobody counted (a text that a person has edited). `apart`: the answer came apart from the thinking, as
    endpoints send it: `answer` is all of it, with or without a think block before it and tags around it.
    """

    text: str
    thinking: str | None
    answer: str | None
    tagged: bool
    finish: Finish = "stop"
    prefilled: str = ""
    tokens: int | None = None
    apart: bool = False

    @classmethod
    def parse(cls, text: str, *, finish: Finish = "stop", prefilled: str = "", apart: bool = False) -> Response:
        """Split `prefilled + text` at its last `</think>`; `tagged` says whether the answer has its tags. Of one that
        came `apart` all is the answer where there is no think tag."""
        whole = prefilled + text
        head, closed, tail = whole.rpartition("</think>")
        if not closed and (not apart or "<think>" in whole):
            return cls(text=text, thinking=None, answer=None, tagged=False, finish=finish, prefilled=prefilled)
        before, opened, thinking = head.partition("<think>")
        well_formed = bool(opened) and not before.strip() and "<think>" not in thinking and "</think>" not in thinking
        match = _ANSWER.match(tail)
        tagged = match is not None and match[1].count("<answer>") == 0 and match[1].count("</answer>") == 0
        return cls(
            text=text,
            thinking=thinking.strip() if well_formed else None,
            answer=(match[1] if match is not None and tagged else tail).strip(),
            tagged=tagged,
            finish=finish,
            prefilled=prefilled,
            apart=apart,
        )

    def unthought(self) -> Response:
        """The same where thinking is optional: all of a text without think tags is its answer."""
        if self.answer is not None:
            return self
        whole = Response.parse(self.text, finish=self.finish, prefilled=self.prefilled, apart=True)
        return replace(whole, tokens=self.tokens)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an answer was worth. Three outcomes, never a silent zero:

    a `verdict`; an `answer_failure` (the answer broke the check: worth the reward's `lowest`, with
    its reason); an `infrastructure` failure (`value` is NaN; taken out before the estimator).
    `parts` names the value of each reward that went into it. A reward may say what final answer it read,
    `extracted`, equal texts for equal answers: a majority is counted by it. `extracts` has those of the parts; neither
    makes another score.
    """

    value: float
    status: Status = "verdict"
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    extracted: str = field(default="", compare=False)
    extracts: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def known(self) -> bool:
        """Whether there is a number to learn from."""
        return self.status != "infrastructure"


@dataclass(frozen=True, kw_only=True)
class Sentinel:
    """An answer whose worth a reward knows beforehand, to find out whether a grader still works."""

    problem: Problem
    response: Response
    value: float


def tokens_of_bytes(count: int) -> int:
    """About how many tokens a text of so many bytes has: four bytes each, as English has with large vocabularies."""
    return -(-count // 4)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One sampled answer. `completion_ids` and `logprobs` are (T,); `logprobs` are the sampler's own,
    at the temperature it sampled with, and None where the text did not come from a sampler of ours.

    A text from elsewhere has no ids at all: whoever learns from it reads it with its own tokenizer. `refused` says
    why there is no text, where whoever was asked would not give one."""

    problem: Problem
    sample: int
    prompt_ids: Tokens
    completion_ids: Tokens
    logprobs: Floats | None
    response: Response
    weights_version: int = 0
    key: int = 0
    refused: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of the answer; of a text from elsewhere as many as were counted there."""
        return len(self.completion_ids) or self.response.tokens or 0

    @property
    def about_tokens(self) -> int:
        """The same, or an estimate from the text where nobody counted."""
        return self.tokens or tokens_of_bytes(len(self.response.text.encode("utf-8", "replace")))


@dataclass(frozen=True, kw_only=True)
class Group:
    """The G rollouts of one problem, with their scores (empty before scoring)."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    scores: tuple[Score, ...] = ()

    def scored(self, scores: tuple[Score, ...]) -> Group:
        """The same group with one score for each rollout."""
        if len(scores) != len(self.rollouts):
            raise ValueError(f"{len(scores)} scores for {len(self.rollouts)} rollouts of problem {self.problem.id!r}")
        return replace(self, scores=scores)

    def keep(self, chosen: list[bool]) -> Group:
        """The rollouts (and scores) for which `chosen` is true."""
        rollouts = tuple(r for r, k in zip(self.rollouts, chosen, strict=True) if k)
        scores = tuple(s for s, k in zip(self.scores, chosen, strict=True) if k) if self.scores else ()
        return replace(self, rollouts=rollouts, scores=scores)

    @property
    def rewards_G(self) -> Floats:
        """The combined scores, (G,); NaN where infrastructure failed."""
        return np.array([score.value for score in self.scores], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A scored answer to a problem that lies in a dataset: text, not tokens."""

    problem: Problem
    response: Response
    score: Score


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A filter's decision on one rollout: filters mark, they do not delete."""

    keep: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class GroupSignals:
    """All that an advantage estimator may read of one group; what it did not ask for in `needs` is None.

    `rewards_G` (G,) has no NaN: infrastructure failures are taken out before. `components` maps each
    reward's name to its (G,) values. `lengths_G` (G,) counts completion tokens. For each sample
    `states_GK` holds the K token positions (the first is 0) at which an intermediate state was valued,
    and `values_GK` their (K,) values: the mean reward of continuations sampled from that state. What
    comes after the last token is worth the reward itself.
    """

    rewards_G: Floats
    lengths_G: NDArray[np.int64]
    components: Mapping[str, Floats] | None = None
    states_GK: tuple[Tokens, ...] | None = None
    values_GK: tuple[Floats, ...] | None = None
    greedy: float | None = None
    critic_GT: tuple[Floats, ...] | None = None
    penalties_GT: tuple[Floats, ...] | None = None

    def token_rewards_GT(self) -> list[Floats]:
        """Each sample's reward where it falls, (T,): the penalties token by token, the rest at the last one."""
        rewards = []
        for i, (reward, length) in enumerate(zip(self.rewards_G, self.lengths_G, strict=True)):
            rewards_T = -self.penalties_GT[i] if self.penalties_GT is not None else np.zeros(int(length))
            if length:
                rewards_T[-1] += reward - rewards_T.sum()
            rewards.append(rewards_T)
        return rewards


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """Ask for `len(keys)` completions of one prompt, computed once for all of them.

    `keys` are 64-bit; the t-th token of a sample depends on its key and t alone, never on what else
    is in the batch. `samples` are the numbers the rollouts carry. `prefix_ids` are completion tokens
    already given (a state to go on from); the rollout's `completion_ids` start after them.
    `temperature` 0 is greedy.
    """

    problem: Problem
    prompt_ids: Tokens
    keys: tuple[int, ...]
    samples: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    prefix_ids: Tokens | None = None


@dataclass(frozen=True, kw_only=True)
class TrainSequence:
    """One sequence to learn from: `ids` (N,); tokens from `start` on are counted (T = N - start).

    `columns` are arrays that the loss reads, (T,) or (T, K), aligned with the counted tokens: `weight` always
    (each token's share of the step's loss, so that no split into micro-batches changes the sum), and
    what the objective needs (`advantage`, `old_logprob`, `ref_logprob`, ...). Whole numbers stay whole.
    """

    ids: Tokens
    start: int
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What a teacher says of one finished text: `ids` (N,), whose tokens from `start` on are counted (T = N - start).

    Entry t tells of the counted token ids[start + t], given all before it, the end token included: `top_ids` and
    `top_logprobs` (T, K) are its K likeliest tokens, likeliest first, -1 and -inf where there are fewer (K is 0 where
    only the token itself was graded); `logprobs` (T,) is that of the token itself. All are at the temperature that
    they were stored for. Entries that are not `present` (T,) hold nothing: no signal is not "all of the tail".
    """

    ids: Tokens
    start: int
    top_ids: Tokens
    top_logprobs: NDArray[np.float32]
    logprobs: NDArray[np.float32]
    present: NDArray[np.bool_]


TopLogprobs: TypeAlias = tuple[Tokens, NDArray[np.float32], NDArray[np.float32]]
"""Of one text: `top_ids` (T, K), `top_logprobs` (T, K) and `logprobs` (T,), as `Signal` has them."""


@dataclass(frozen=True, kw_only=True)
class At:
    """Where training stands: `step` counts from 0 over the whole stage; `position` of `length` within the present
    leg (the planned steps, or one extension), which learning rates and schedules follow."""

    step: int
    position: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step of a trainer, as the core, the progress line and observers see it.

    `resumable`: a new process could go on from after this step; false within a rollout batch, whose
    remaining shares are in memory only. `note` is for people: why there was nothing to learn from.
    """

    metrics: Mapping[str, float]
    resumable: bool = True
    note: str = ""
    sample: Rollout | None = None
    score: Score | None = None
