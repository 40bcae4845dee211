"""`vllm_server`: samples from vLLM servers on other GPUs or machines, which take the policy's weights at each sync.

sampler: {use: vllm_server, servers: [{url: "http://127.0.0.1:8000"}, {url: "http://gpu2:8000", private: true}]}

r1 explain vllm_server      # how a server is started, and the options
"""

from __future__ import annotations

from r1_plugins.vllm_server.sampler import VllmServerSampler
from r1core.components import Sampler
from r1core.hookspecs import hookimpl

__all__ = ["VllmServerSampler", "r1_samplers"]


@hookimpl
def r1_samplers() -> list[type[Sampler]]:
    """`vllm_server`."""
    return [VllmServerSampler]
