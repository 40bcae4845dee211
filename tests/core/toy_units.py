"""Toys for stages that go on after a kill: a filter that remembers, and samplers that have nothing to say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from r1core.components import DataFilter, Policy, Sampler
from r1core.store import StageDirectory
from r1core.types import Group, Response, Rollout, SampleRequest, Verdict

HERE = Path(__file__).resolve()
FINGERPRINT = "toy"


class Novel(DataFilter):
    """Keeps an answer the first time it is given in the whole stage."""

    name = "novel"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.seen: set[str] = set()

    def state(self) -> dict[str, Any]:
        return {"seen": sorted(self.seen)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.seen = set(state["seen"])

    def judge(self, group: Group) -> list[Verdict]:
        verdicts = []
        for rollout in group.rollouts:
            answer = rollout.response.answer or ""
            verdicts.append(Verdict(keep=answer not in self.seen, reason="seen" if answer in self.seen else ""))
            self.seen.add(answer)
        return verdicts


class Mute(Sampler):
    """Says nothing, or is cut off in the middle of its thinking."""

    name = "mute"

    class Config(Sampler.Config):
        how: Literal["empty", "truncated"] = Field("empty", description="what is wrong with every answer")

    def sync(self, policy: Policy) -> None:
        pass

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        truncated = self.config.how == "truncated"
        for request in requests:
            for key, sample in zip(request.keys, request.samples, strict=True):
                ids = np.arange(request.max_new_tokens if truncated else 0, dtype=np.int64)
                yield Rollout(
                    problem=request.problem,
                    sample=sample,
                    prompt_ids=request.prompt_ids,
                    completion_ids=ids,
                    logprobs=np.zeros(len(ids)),
                    response=Response.parse("<think>so" if truncated else "", finish="length" if truncated else "stop"),
                    key=key,
                )


def begun(folder: Path) -> StageDirectory:
    """A stage's folder, ready for another attempt, without a pipeline around it."""
    stage = StageDirectory(folder)
    stage.begin(FINGERPRINT, inputs={}, resume=True)
    return stage


def rows_of(results: Path) -> Any:
    """The rows of a `results.json`."""
    return json.loads(results.read_text())["rows"]


class Piecemeal(DataFilter):
    """Keeps everything and learns every text."""

    name = "piecemeal"

    def judge(self, group: Group) -> list[Verdict]:
        self.new = [*getattr(self, "new", []), *(rollout.response.text for rollout in group.rollouts)]
        return [Verdict(keep=True)] * len(group.rollouts)

    def learned(self) -> bytes:
        piece, self.new = " ".join(self.new).encode(), []
        return piece
