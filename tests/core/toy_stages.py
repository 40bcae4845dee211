"""Toy components that run whole pipelines in milliseconds, and the ways in which a stage can go wrong.

A model is one number: its skill, the chance that it answers a problem rightly. Recipes name these
classes as local code (`./toy_stages.py:Climb`), so every process finds them without an installation.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from r1core.choices import DataRef
from r1core.components import DataFilter, Policy, ProblemSource, Reward, Sampler, Trainer
from r1core.errors import RefusedError
from r1core.types import Group, Problem, Response, Rollout, SampleRequest, Score, Step, Tokens, Verdict

HERE = Path(__file__).resolve()
WEIGHTS = "model.safetensors"
PATIENCE_S = 30.0


class Numbers(ProblemSource):
    """Problems 0, 1, 2, ...: what is the number? Shifted by the run's seed."""

    name = "numbers"

    class Config(ProblemSource.Config):
        count: int = Field(1000, ge=0, description="problems")

    def problems(self, *, seed: int) -> Iterator[Problem]:
        for number in range(self.config.count):
            yield Problem(
                id=str(number),
                messages=({"role": "user", "content": f"say {number + 1000 * seed}"},),
                reference=str(number + 1000 * seed),
                domain="even" if number % 2 == 0 else "odd",
                meta={"digits": len(str(number))},
                completion=f"{number + 1000 * seed}",
            )

    def write_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


class Skill(Policy):
    """One number, kept as JSON in the file where weights belong."""

    name = "skill"
    skill = 0.0
    lag = 0.0
    """What the sampler's log-probs are off by."""

    def create(self, folder: Path, architecture: Any, *, seed: int) -> None:
        (folder / WEIGHTS).write_text(json.dumps({"skill": architecture["skill"] + (seed % 1000) * 1e-9}))

    def open(self, folder: Path, *, trainable: bool, head: str = "lm") -> Skill:
        self.skill = json.loads((folder / WEIGHTS).read_text())["skill"]
        return self

    def frozen(self, folder: Path) -> Skill:
        return Skill(self.config).open(folder, trainable=False)

    def prompt_ids(self, messages: Any) -> Tokens:
        return np.array([1], dtype=np.int64)

    def prefilled(self, messages: Any) -> str:
        return ""

    def completion_ids(self, text: str) -> Tokens:
        return np.arange(len(text), dtype=np.int64)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        return [self.completion_ids(text) for text in texts]

    def decode(self, ids: Tokens) -> str:
        return "".join(map(str, ids))

    def logprobs(self, sequences: Any) -> list[Any]:
        return [np.full(len(s.ids) - s.start, -0.5 - self.lag) for s in sequences]

    def update(self, sequences: Any, loss: Any, *, lr: float) -> dict[str, float]:
        self.skill = min(1.0, self.skill + lr)
        return {"loss": 1.0 - self.skill, "grad_norm": 1.0}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_text(json.dumps({"skill": self.skill}))

    def save(self, folder: Path) -> None:
        self.export(folder)

    def restore(self, folder: Path) -> None:
        self.open(folder, trainable=True)

    def module(self) -> Any:
        return self


class Guess(Sampler):
    """Right when the sample's key, as a share, lies below the skill; greedily right from a skill of one half on."""

    name = "guess"

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        for request in reversed(requests):  # in no particular order: the core sorts
            for key, sample in zip(request.keys, request.samples, strict=True):
                luck = key / 2**64 if request.temperature else 0.5
                said = request.problem.reference if luck <= self.policy.skill else "[bold]no[/bold]\x1b[31m"
                ids = np.arange(1 + len(said), dtype=np.int64)
                yield Rollout(
                    problem=request.problem,
                    sample=sample,
                    prompt_ids=request.prompt_ids,
                    completion_ids=ids,
                    logprobs=np.full(len(ids), -0.5),
                    response=Response.parse(f"<think>{key}</think><answer>{said}</answer>"),
                    key=key,
                )


class Exact(Reward):
    """1 when the answer is the reference. Asked in the stage's own process: toys need no worker."""

    name = "exact"
    runs = "stage"

    def score(self, problem: Problem, response: Response) -> Score:
        return Score(value=float(response.answer == problem.reference))


class Brief(Reward):
    """How short the thinking is; infrastructure fails on the problems it is told."""

    name = "brief"
    runs = "stage"

    class Config(Reward.Config):
        down: list[str] = Field(default_factory=list, description="ids of problems whose verdict never comes")

    def score(self, problem: Problem, response: Response) -> Score:
        if problem.id in self.config.down:
            return Score(value=float("nan"), status="infrastructure", reason="no host")
        return Score(value=1.0 / (1 + len(response.thinking or "")))


class Right(DataFilter):
    """Keeps what the exact reward calls right; may reject without a word."""

    name = "right"

    class Config(DataFilter.Config):
        reason: str = Field("wrong", description="why an answer is rejected")

    def judge(self, group: Group) -> list[Verdict]:
        return [Verdict(keep=s.value >= 1, reason="" if s.value >= 1 else self.config.reason) for s in group.scores]


class Climb(Trainer):
    """Adds `gain` to the skill with each step; what else it does at the step `at` is up to `then`."""

    name = "climb"

    class Config(Trainer.Config):
        steps: int = Field(2, ge=1, description="planned steps")
        gain: float = Field(0.1, description="skill added by a step")
        data: list[DataRef] = Field(default_factory=list, description="datasets it waits for")
        at: int = Field(0, ge=0, description="the step at which `then` happens")
        then: Literal["nothing", "refuse", "wait_and_refuse", "bug", "die", "exit", "hang", "meet", "once", "print"] = (
            Field("nothing", description="what happens")
        )
        where: str = Field("", description="a folder that outlives the stage")
        bad: list[int] = Field(default_factory=list, description="steps whose loss is not finite")
        skipped: list[int] = Field(default_factory=list, description="steps that the policy skips")
        rollouts: bool = Field(False, description="sample, and learn nothing from it")
        batch: int = Field(1, ge=1, description="steps after which the stage can be gone on from")
        idle: list[int] = Field(default_factory=list, description="steps that have nothing to learn from")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"problems", "rewards"} if self.config.rollouts else ())

    @property
    def planned_steps(self) -> int:
        return self.config.steps

    def run(self, context: Any) -> Iterator[Step]:
        for at in context.steps(self.config.steps):
            if at.step == self.config.at:
                self._misbehave()
            groups = context.rollouts(at, prompts=2, samples=3) if self.config.rollouts else []
            metrics = context.policy.update([], None, lr=self.config.gain)
            if at.step in self.config.bad:
                metrics["loss"] = float("nan")
            if at.step in self.config.skipped:
                metrics["skipped"] = 1.0
            first = groups[0] if groups else None
            shown = {"sample": first.rollouts[0], "score": first.scores[0]} if first else {}
            yield Step(
                metrics={**metrics, "position": float(at.position)},
                resumable=(at.step + 1) % self.config.batch == 0,
                note="nothing to learn from" if at.step in self.config.idle else "",
                **shown,
            )

    def _misbehave(self) -> None:
        then, where = self.config.then, Path(self.config.where)
        if then == "wait_and_refuse":
            self._until(lambda: list(where.glob("*.pids")))
        if then in ("refuse", "wait_and_refuse"):
            raise RefusedError("enough is enough", where="toy", fix="ask for less")
        if then == "bug":
            raise ZeroDivisionError("a bug of the toy")
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if then == "exit":
            print("famous last words", flush=True)
            os._exit(7)
        if then == "print":
            print("PRINTED BY A STAGE", flush=True)
        if then == "hang":
            self._hang(where)
        if then == "meet":
            self._meet(where)
        if then == "once" and not (where / "been").exists():
            (where / "been").touch()
            raise RefusedError("not the first time", where="toy")

    def _hang(self, where: Path) -> None:
        """Start a child of its own and wait for the end, unless someone has opened the way by now."""
        if (where / "open").exists():
            return
        child = subprocess.Popen(["sleep", "600"])
        draft = where / "draft"
        draft.write_text(f"{os.getpid()} {child.pid}")
        draft.rename(where / f"{os.getpid()}.pids")
        time.sleep(600)

    def _meet(self, where: Path) -> None:
        """Wait until another stage is here, too: two that run one after the other never meet."""
        (where / str(os.getpid())).touch()
        self._until(lambda: len(list(where.iterdir())) >= 2)

    def _until(self, true: Callable[[], Any]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > until:
                raise RefusedError("nobody came", where="toy")
            time.sleep(0.01)
