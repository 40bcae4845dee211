"""The sampler `vllm_server`: `{use: vllm_server, servers: [{url: ..}, ..]}`.

Where ranks train together, rank 0 gives the weights to all servers, and each rank asks for its own share of answers.
Weights have a name that no other run gives them; every answer says with which it was sampled, and none of others is
taken.
"""

from __future__ import annotations

import importlib.util
import queue
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from r1_plugins.vllm_server.answers import Answer, Job, reply_kib
from r1_plugins.vllm_server.asking import Asking
from r1_plugins.vllm_server.config import VllmServerConfig
from r1_plugins.vllm_server.event_loop import EventLoop
from r1_plugins.vllm_server.nccl import Nccl
from r1_plugins.vllm_server.servers import WHERE, Fleet, Line, Server
from r1_plugins.vllm_server.transfer import MIB, Files, buckets
from r1_plugins.vllm_server.updates import Updates, reachable
from r1core.components import Policy, Sampler
from r1core.endpoints import lacking
from r1core.errors import R1Error, SetupError
from r1core.types import Rollout, SampleRequest

if TYPE_CHECKING:
    import torch


class VllmServerSampler(Sampler):
    """Asks vLLM servers, all at once, and goes on without those that fail. It may be asked from a thread beside the
    policy's training. One is started, on any model of the same architecture, by

        VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --tokens-only --logprobs-mode processed_logprobs
        --weight-transfer-config '{"backend": "nccl"}'

    and for transfer files by the same with

        --weight-transfer-config '{"backend": "r1_files"}'
        --worker-extension-cls r1_plugins.vllm_server.worker.Extension

    On a CPU add --no-enable-chunked-prefill: that build cannot cut a prompt whose answer has a seed.
    Whoever reaches a server's port can change its weights: let it listen on a network of your own.
    """

    name = "vllm_server"
    extra = "vllm"
    overlaps: ClassVar[bool] = True

    class Config(VllmServerConfig):
        """Which servers, how they get the weights, how long anything may take."""

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.weights_version = 0
        self._policy: Policy | None = None
        self._ends: frozenset[int] = frozenset()
        self._servers = [Server(endpoint) for endpoint in config.servers]
        self._run = ""
        self._version = ""
        self._gives = False
        self._asking: EventLoop | None = None
        self._way = Files(Path(config.folder)) if config.transfer == "files" else Nccl(config.bucket_mib * MIB)

    @classmethod
    def check(cls) -> list[str]:
        """Which of the packages that calls need are not installed."""
        absent = [*lacking(), *(name for name in ("torch",) if importlib.util.find_spec(name) is None)]
        return [f"{', '.join(absent)} not installed: pip install 'r1core[{cls.extra}]'"] if absent else []

    def sync(self, policy: Policy) -> None:
        """Give the weights to every server that is there; one that fails is left out until it has them."""
        from r1core.nn import end_token_ids

        if self._asking is not None:  # answers that nobody took: their servers must not be looked after any more
            self._asking.end()
        self._gives = policy.world.rank == 0
        self.weights_version += 1
        self._run = self._run or secrets.token_hex(4) + "-"
        weights = policy.weights()
        failure: R1Error | None = None
        if self._gives:
            try:
                self._give(weights)
            except R1Error as error:
                failure = error
        for _ in weights:  # ranks go through them together, each to the end, whatever happens
            pass
        failure, self._run, outs = policy.world.first((failure, self._run, [server.out for server in self._servers]))
        if failure is not None:
            raise failure
        for server, out in zip(self._servers, outs, strict=True):
            server.out = out
        self._version = f"{self._run}{self.weights_version}"
        self._policy = policy
        self._ends = end_token_ids(policy.module())

    def generate(self, requests: Sequence[SampleRequest]) -> Iterator[Rollout]:
        """Yield rollouts as they finish. Raises SetupError where no server is left."""
        if self._policy is None:
            raise SetupError("it has no weights yet", where=WHERE, fix="call sync(policy) first")
        jobs = [
            Job(request=request, number=number, place=place)
            for number, request in enumerate(requests)
            for place in range(len(request.keys))
        ]
        reload = self._reload if self._gives and isinstance(self._way, Files) else None
        fleet = self._fleet(reload=reload, reply_kib=reply_kib(jobs))
        came: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        asking = Asking(fleet, self.config, ends=self._ends, version=self._version, give=came.put)
        version = self.weights_version
        starts = [self.start_of(self._policy, request) for request in requests]
        with EventLoop() as loop:
            self._asking = loop
            try:
                done = loop.start(asking.all(jobs))
                done.add_done_callback(lambda _: came.put(None))
                while (answer := came.get()) is not None:
                    yield self.rollout_of(
                        self._policy,
                        answer.job.request,
                        answer.job.place,
                        start=starts[answer.job.number],
                        ids=answer.ids,
                        logprobs=answer.logprobs,
                        finish=answer.finish,
                        weights_version=version,
                    )
                done.result()
            finally:
                self._asking = None

    def _give(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        version = f"{self._run}{self.weights_version}"
        if isinstance(self._way, Files):
            self._way.begin()
        first = self.weights_version == 1
        with EventLoop() as loop:
            fleet = self._fleet(version=version)
            loop.run(fleet.__aenter__())
            try:
                lines = loop.run(reachable(fleet, self.config, all_of_them=first))
                updates = Updates(lines, self._way, run=self._run, version=version)
                loop.run(updates.begin())
                for bucket in buckets(weights, self.config.bucket_mib * MIB):
                    loop.run(updates.give(self._way.prepare(bucket, version=version)))
                loop.run(updates.finish())
                if not updates.taking or (first and len(updates.taking) < len(self._servers)):
                    fleet.give_up(0.0, [line for line in fleet.lines if line not in updates.taking])
            finally:
                loop.run(fleet.__aexit__(None, None, None))

    async def _reload(self, line: Line) -> None:
        """The files of the last sync, for a server that comes back."""
        assert isinstance(self._way, Files), "only files stay"
        updates = Updates([line], self._way, run=self._run, version=self._version)
        await updates.begin()
        for parcel in self._way.sent:
            await updates.give(parcel)
        await updates.finish()

    def _fleet(self, *, version: str = "", **ways: Any) -> Fleet:
        return Fleet(self._servers, self.config, run=self._run, version=version or self._version, **ways)
