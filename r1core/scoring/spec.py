"""A reward of a stage as plain data, enough to rebuild it in another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from r1core.components import Reward
from r1core.schedules import Window
from r1core.scoring.python import Interpreter
from r1core.scoring.questions import WorkerReward
from r1core.scoring.wire import Sees
from r1core.types import Problem


@dataclass(frozen=True, kw_only=True)
class RewardSpec:
    """A reward of a stage as plain data.

    `name` is what the recipe says ("accuracy", "chem/smiles", "./mine.py:Mine"); `target` is where the
    class is ("package.module:Class" or "/abs/file.py:Class"). An answer whose problem does not match
    all of `only_for` (problem fields or meta keys), or a step outside `active`, gets no such part.
    """

    name: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    only_for: Mapping[str, str] = field(default_factory=dict)
    active: Window | None = None
    gate: Mapping[str, float] = field(default_factory=dict)
    """Parts, by name, that must be at least so much, where the answer has them; else this one is worth `lowest`."""
    timeout_s: float = Reward.timeout_s
    lowest: float = Reward.lowest
    remote: bool = Reward.remote
    sees: Sees = "response"
    runs: Literal["worker", "stage"] = "worker"
    memory_mib: int = Reward.memory_mib
    judges_form: bool = False
    refuses: bool = False
    """Whether it may refuse a problem: only then it is asked."""
    interpreter: Interpreter | None = None
    """The one that it runs in; None for one like this process's."""

    @classmethod
    def of(
        cls,
        reward: type[Reward],
        *,
        name: str,
        target: str,
        options: Mapping[str, Any],
        weight: float = 1.0,
        only_for: Mapping[str, str] | None = None,
        active: Window | None = None,
        gate: Mapping[str, float] | None = None,
        interpreter: Interpreter | None = None,
    ) -> RewardSpec:
        """The spec of a reward class: what the class declares, and what the recipe says beside it.

        Where its `Config` has an option `sees`, the recipe decides what it is shown.
        """
        option = reward.Config.model_fields.get("sees")
        return cls(
            name=name,
            target=target,
            options=dict(options),
            weight=weight,
            only_for=dict(only_for or {}),
            active=active,
            gate=dict(gate or {}),
            timeout_s=reward.timeout_s,
            lowest=reward.lowest,
            remote=reward.remote,
            sees=reward.sees if option is None else options.get("sees", option.default),
            runs=reward.runs,
            memory_mib=reward.memory_mib,
            judges_form=reward.judges_form,
            refuses=reward.refuses is not Reward.refuses,
            interpreter=interpreter,
        )

    def applies(self, problem: Problem, *, step: int, total: int) -> bool:
        """Whether answers to `problem` get this part at `step` (from 0) of `total`."""
        if self.active is not None and not self.active.covers(step, total):
            return False
        return problem.matches(self.only_for)

    @property
    def python(self) -> str:
        """The interpreter that it runs in, "" for one like this process's."""
        return self.interpreter.python if self.interpreter is not None else ""

    def for_worker(self, index: int) -> WorkerReward:
        """What a worker needs of it."""
        return WorkerReward(
            index=index,
            name=self.name,
            target=self.target,
            options=self.options,
            sees=self.sees,
            timeout_s=self.timeout_s,
            lowest=self.lowest,
            remote=self.remote,
            source=self.interpreter.source if self.interpreter is not None else None,
        )
