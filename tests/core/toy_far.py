"""A toy teacher elsewhere: it says how often it was asked, and refuses, dies or loses what it is told to.

`say 7` is answered "7" for 0.5 USD. Every question that it is asked is a line of the file that `log` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from r1core.choices import Uncounted
from r1core.components import Sampler
from r1core.contexts import SampleRecord
from r1core.errors import SetupError
from r1core.types import Response, Rollout, SampleRequest


class Far(Sampler):
    """Asks nobody, and keeps the record as a sampler elsewhere has to."""

    name = "far"
    remote = True

    class Config(Sampler.Config):
        log: Annotated[str, Uncounted()] = Field(description="file with a line for each question")
        model: str = Field("m", description="who is asked")
        cuts: str = Field("", description="the number whose thinking comes to no end")
        dies_after: Annotated[int, Uncounted()] = Field(1000, description="questions of a process that are answered")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.left = config.dies_after

    def identity(self) -> Mapping[str, str]:
        return {"model": self.config.model}

    def prepare(self, record: SampleRecord) -> None:
        self.record = record

    def sync(self, policy: Any) -> None: ...

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        none = np.array([], dtype=np.int64)
        for request in reversed(requests):
            for key, place in zip(request.keys, request.samples, strict=True):
                question = request.problem.messages[-1]["content"]
                self.record.asking(place, usd=2.0)
                with Path(self.config.log).open("a") as log:
                    log.write(f"{question}\n")
                if not self.left:
                    raise SetupError("it is dead", where="far away", fix="wait")
                self.left -= 1
                said = question.rpartition(" ")[2]
                is_cut = said == self.config.cuts
                text, finish = (f"<think>{key}", "length") if is_cut else (f"<think>{key}</think>{said}", "stop")
                rollout = Rollout(
                    problem=request.problem,
                    sample=place,
                    prompt_ids=none,
                    completion_ids=none,
                    logprobs=None,
                    response=Response.parse(text, finish=finish),
                    refused="too odd" if said.endswith("7") else "",
                )
                self.record.keep(rollout, usd=0.5, tokens_in=3)
                yield rollout
