"""The training loop, between whose steps the core works."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from r1core.components.base import Component
from r1core.estimates import Role, RolloutBatches
from r1core.types import Head, Step

if TYPE_CHECKING:
    from r1core.contexts import TrainContext


class Trainer(Component):
    """A training loop: `run` is a generator, one `Step` per optimizer step; the core logs, evaluates and saves between.

    After a kill a new process restores the policy, gives the trainer back its `state`, and runs it again:
    `context.steps` then begins after the last step that was saved. So what a step does must follow from
    `at`, the context and the state alone; nothing may happen between a `yield` and the next step's start.
    """

    kind = "trainer"
    head: ClassVar[Head] = "lm"
    """What the model that it trains ends in."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    preset_sources: ClassVar[Mapping[str, str]] = {}
    """Named sets of options, what the recipe says on top wins; and the paper that each follows, for `r1 explain`."""

    @property
    def reads(self) -> frozenset[str]:
        """What the stage must give it: of "problems", "rewards", "data"."""
        return frozenset()

    @property
    def measures(self) -> frozenset[str]:
        """Its own metrics that begin with "eval/", beside those of the stage's `evaluate`: a gate may use them."""
        return frozenset()

    @property
    def off_policy(self) -> bool:
        """Whether it can learn from answers of weights that are one rollout batch old: it corrects for that, and asks
        for each batch at once."""
        return False

    @property
    def planned_steps(self) -> int | None:
        """How many steps it will take; None when the data decides."""
        return None

    @property
    def rollout_batches(self) -> RolloutBatches | None:
        """What it samples of its own model; None: nothing, or the data decides. Where its options are `prompts`,
        `samples` (and `updates_per_rollout`), that follows from them and `planned_steps`."""
        prompts, samples = (getattr(self.config, name, None) for name in ("prompts", "samples"))
        steps, updates = self.planned_steps, getattr(self.config, "updates_per_rollout", 1)
        if not isinstance(prompts, int) or not isinstance(samples, int) or steps is None:
            return None
        return RolloutBatches(batches=-(-steps // updates), prompts=prompts, samples=samples, updates=updates)

    @property
    def learns_from(self) -> Sequence[str]:
        """What teaches, in lines for `--dry-run`: where that is a choice of its options."""
        return ()

    @property
    def models_beside(self) -> Mapping[Role, str | None]:
        """The models that it holds beside the one it trains, and the stage that each begins from (None: where its own
        begins). A critic counts where an estimator needs one."""
        return {}

    def update_tokens(self, length: int) -> int | None:
        """Tokens of one optimizer step at most, prompts included, where no sequence has more than `length`; None where
        the data decides."""
        return None

    @property
    def answers_beside(self) -> Mapping[str, int]:
        """Answers sampled beside the rollouts of a batch, at most, by what for: a need of estimators, or else."""
        return {}

    @abc.abstractmethod
    def run(self, context: TrainContext) -> Iterator[Step]:
        """Train `context.policy` in place."""
