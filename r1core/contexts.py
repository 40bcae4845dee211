"""What the core hands to components that work within a stage: a trainer, and a reward that runs there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from r1core.choices import Use
from r1core.types import Answer, At, Floats, Group, Problem, Rollout, Signal, Tokens

if TYPE_CHECKING:
    from r1core.components import Policy


class RewardContext(Protocol):
    """What the core hands a reward that runs in the stage, once, before the first answer."""

    folder: Path
    """A folder of its own for what came from outside and must not be asked, or paid, twice. It outlives a kill."""

    def note(self, text: str) -> None:
        """Say a line to whoever watches."""
        ...

    def stopping(self) -> bool:
        """Whether the run was asked to stop: what waits then raises `Interrupted`."""
        ...


class SampleRecord(Protocol):
    """What the core hands a sampler that asks elsewhere: what comes of each call is on disk before it is used, so that
    nothing is asked, or paid for, twice. `place` is the number that the request gives an answer (`samples`)."""

    @property
    def calls(self) -> int:
        """Calls to this teacher that may have been billed, by whoever has used the record."""
        ...

    @property
    def usd(self) -> float:
        """What they have cost, USD."""
        ...

    def asking(self, place: int, *, usd: float) -> None:
        """A call is about to be made, which can cost so much at most. It must end in one of the three below."""
        ...

    def lost(self, place: int) -> None:
        """It came to nothing, and may be billed all the same."""
        ...

    def unbilled(self, place: int) -> None:
        """It was turned away, and costs nothing."""
        ...

    def keep(self, rollout: Rollout, *, usd: float, tokens_in: int | None, calls: int = 1) -> None:
        """It brought this answer, or was `refused` for good. On disk when this returns. `calls`: 0 if not billed."""
        ...

    def note(self, text: str) -> None:
        """Say a line to whoever watches."""
        ...

    def stopping(self) -> bool:
        """Whether the run was asked to stop: what waits then raises `Interrupted`."""
        ...


class Signals(Protocol):
    """What a teacher said of texts, as a `signals` stage left it: read as it is asked for, never all at once."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What they are, from `signals.json`: `teacher` (who), `tokenizer` and `template` (the marks of
        `Policy.text_marks`), `temperature`, `k`, `scheme`, and the counts."""
        ...

    @property
    def lengths(self) -> Tokens:
        """(rows,) tokens of each text, prompt included."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Signal: ...


class TrainContext(Protocol):
    """What the core hands a trainer. All of it is derived from the plan and the seed."""

    policy: Policy

    def steps(self, planned: int) -> Iterator[At]:
        """Each optimizer step in turn; goes on past `planned` when the stage's `extend` says so."""
        ...

    def examples(self) -> list[Problem]:
        """Supervised data: the stage's `data`, in order."""
        ...

    def answers(self) -> list[Answer]:
        """Answers already written and scored: the rows of the stage's `data` that were kept, in order."""
        ...

    def signals(self, ref: str) -> Signals:
        """What a teacher said of texts: the artifact of a `signals` stage (a `SignalsRef` of the trainer's config)."""
        ...

    def rollouts(self, at: At, *, prompts: int, samples: int) -> list[Group]:
        """The next `prompts` problems, `samples` answers each, sampled with the present weights, sorted by
        (problem, sample), scored where the stage has rewards. May be asked more than once in a step."""
        ...

    def continuations(self, at: At, states: Sequence[tuple[Rollout, int]], *, samples: int) -> list[Floats]:
        """Monte-Carlo: for each state (a rollout and how many of its completion tokens are kept), the rewards of
        `samples` continuations, (samples,) each; NaN where infrastructure failed."""
        ...

    def greedy(self, at: At, problems: Sequence[Problem]) -> Floats:
        """The reward of one greedy answer to each problem, in order; NaN where infrastructure failed."""
        ...

    def critic(self, ref: str | None = None) -> Policy:
        """A second policy, with a score head, that is trained beside the first. It begins from another stage's model
        (a `ModelRef`), or from the one that the stage starts from; is saved and gone on with, but not exported."""
        ...

    def model(self, ref: str) -> Policy:
        """A frozen policy on another stage's model (a `ModelRef` of the trainer's config)."""
        ...

    def reference(self, *, refresh: bool = False) -> Policy:
        """The reference policy: frozen, as the policy was at the stage's start or at the last `refresh`."""
        ...

    def build(self, use: Use, kind: str) -> Any:
        """The component that a `Use` field of the trainer's config names."""
        ...

    def tell(self, name: str, facts: Mapping[str, str | float]) -> None:
        """Facts of how it trains that no option says by itself, for the stage's `stage.json`, under this name. What is
        told of one name in several calls stands there together. Each process of a stage tells them anew."""
        ...

    def key(self, *parts: int | str) -> int:
        """A 64-bit key derived from (seed, stage, *parts)."""
        ...

    def note(self, text: str) -> None:
        """Say a line to whoever watches."""
        ...
