"""The options of `vllm_server`: which servers, how they get the weights, how long anything may take."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from r1core.choices import Uncounted
from r1core.components import Sampler
from r1core.endpoints import Endpoint


class VllmServerConfig(Sampler.Config):
    """Where answers are sampled. None of it changes which."""

    servers: Annotated[tuple[Endpoint, ...], Uncounted()] = Field(
        min_length=1,
        description="vLLM servers of models of the policy's architecture, [{url: http://host:8000}, ..], without /v1; "
        "timeout_s bounds each step of a sync",
    )
    transfer: Annotated[Literal["native", "files"], Uncounted()] = Field(
        "native",
        description="how weights reach them. native: vLLM's own transfer over NCCL, from GPU to GPU; files: through a "
        "folder, which any device can read",
    )
    folder: Annotated[str, Uncounted()] = Field(
        "",
        description="for transfer files: a folder of this run alone that all servers see under the same path, with "
        "room for the weights; on one machine take one below /dev/shm",
    )
    bucket_mib: Annotated[int, Uncounted()] = Field(
        256, ge=1, le=1024, description="weights that are sent at a time, MiB; a larger one goes alone"
    )
    concurrent: Annotated[int, Uncounted()] = Field(
        256, ge=1, description="answers that each rank asks one server for at once"
    )
    answer_s: Annotated[float, Uncounted()] = Field(
        1800.0, gt=0, le=3600, description="longest that one answer may take, seconds; then another server is asked"
    )
    look_every_s: Annotated[float, Uncounted()] = Field(
        5.0, gt=0, description="seconds between looks at a server: is it there, and which weights does it have"
    )
    patience_s: Annotated[float, Uncounted()] = Field(
        300.0, gt=0, description="longest wait for servers when none can be asked, seconds; then the run stops (exit 3)"
    )
    tries: Annotated[int, Uncounted()] = Field(
        5, ge=1, description="how often one answer is asked for in vain before the run stops (exit 3)"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        urls = [server.url.rstrip("/") for server in self.servers]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            raise ValueError(f"servers names {', '.join(twice)} more than once")
        versioned = [url for url in urls if url.endswith("/v1")]
        if versioned:
            raise ValueError(f"{versioned[0]} must be the server itself, without /v1")
        if self.transfer == "files" and not self.folder:
            raise ValueError("transfer files needs a folder that all servers see: folder: /dev/shm/my-run")
        if self.transfer != "files" and self.folder:
            raise ValueError("folder is read by transfer files alone: say transfer: files, or leave it out")
        return self
