"""`vllm_server` with real vLLM servers: the weights that they answer with, and what happens when they are killed.

    pip install -e '.[dev,vllm]'

The tests of faults come last, and in order: they kill the servers that all share.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from vllm_processes import VllmProcess, running

from r1_plugins.vllm_server import VllmServerSampler, nccl
from r1core.batching import weighted
from r1core.components import Policy
from r1core.errors import SetupError
from r1core.losses import CrossEntropy
from r1core.testing import SamplerSuite
from r1core.testing.tasks import component, made, sequence
from r1core.types import Rollout

ON_CPU = {"use": "transformers", "device": "cpu"}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
}
"""Tied: a CPU packs the output layer's weight apart from the embedding that comes, and must pack it again."""
GAP = 1e-4
"""Nats by which any token's log-probability may differ; seen: 2e-6."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("vllm")
    made(here / "model", component("policy", ON_CPU, here), component("source", "playground_corpus", here), LLAMA)
    return here


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[list[VllmProcess]]:
    with running(folder / "model", 2, folder) as started:
        yield started


@pytest.fixture
def policy(folder: Path) -> Policy:
    opened: Policy = component("policy", ON_CPU, folder).open(folder / "model", trainable=True)
    return opened


def options(folder: Path, servers: Sequence[VllmProcess], **more: Any) -> dict[str, Any]:
    """All that a recipe would say."""
    ways = {"transfer": "files", "folder": str(folder / "weights"), "look_every_s": 0.5, "patience_s": 5.0}
    return {"servers": [{"url": server.url} for server in servers], **ways, **more}


def sampler(folder: Path, servers: Sequence[VllmProcess], **more: Any) -> Any:
    """One of these servers."""
    return VllmServerSampler(VllmServerSampler.Config.model_validate(options(folder, servers, **more)))


def gap(policy: Policy, rollouts: Sequence[Rollout]) -> float:
    """The largest difference to what the policy says of the tokens."""
    own = policy.logprobs([sequence(r.prompt_ids, r.completion_ids) for r in rollouts])
    return max(float(np.abs(theirs.logprobs - ours).max()) for theirs, ours in zip(rollouts, own, strict=True))


def learn(policy: Policy, rollouts: Sequence[Rollout]) -> None:
    """Until old weights would be seen."""
    learned = weighted([sequence(r.prompt_ids, r.completion_ids) for r in rollouts[:2]], "token_mean")
    for _ in range(5):
        policy.update(learned, CrossEntropy(), lr=1e-2)
    assert gap(policy, rollouts) > 100 * GAP, "the weights have not changed enough to see"


class TestVllmServer(SamplerSuite):
    component = "vllm_server"
    policy: ClassVar = ON_CPU
    architecture = LLAMA
    source = "playground_corpus"

    @pytest.fixture(autouse=True)
    def _servers(self, servers: list[VllmProcess], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "options", options(folder, servers[:1]))


def test_three_syncs_leave_no_gap(folder: Path, servers: list[VllmProcess], policy: Policy) -> None:
    asked = sampler(folder, servers)
    before = [server.answered() for server in servers]
    for _ in range(3):
        asked.sync(policy)
        rollouts = list(asked.generate(SamplerSuite.requests(policy)))
        assert gap(policy, rollouts) <= GAP
        learn(policy, rollouts)
    assert all(server.answered() > count + 3 for server, count in zip(servers, before, strict=True))


@pytest.mark.parametrize(("temperature", "top_p"), [(0.5, 1.0), (1.0, 0.6), (0.0, 1.0)])
def test_logprobs_follow_the_same_convention_as_the_native_sampler(
    folder: Path, servers: list[VllmProcess], policy: Policy, temperature: float, top_p: float
) -> None:
    asked = sampler(folder, servers)
    asked.sync(policy)
    requests = [replace(r, top_p=top_p) for r in SamplerSuite.requests(policy, temperature=temperature)]
    for rollout in asked.generate(requests):
        wanted = drawn_from(policy, rollout, temperature, top_p)
        assert float(np.abs(rollout.logprobs - wanted).max()) <= GAP


def drawn_from(policy: Policy, rollout: Rollout, temperature: float, top_p: float) -> Any:
    """Each token's log-probability after temperature and top-p, at temperature 0 the plain one."""
    ids = torch.tensor(np.concatenate([rollout.prompt_ids, rollout.completion_ids]))[None]
    with torch.no_grad():
        logits_TV = policy.module()(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].double()
    chances_TV = torch.softmax(logits_TV / (temperature or 1.0), dim=-1)
    ordered, order = chances_TV.sort(dim=-1, descending=True)
    kept = torch.where(ordered.cumsum(-1) - ordered < top_p, ordered, 0.0)
    chances_TV = torch.zeros_like(chances_TV).scatter(1, order, kept / kept.sum(-1, keepdim=True))
    return chances_TV.gather(1, torch.tensor(rollout.completion_ids)[:, None]).squeeze(1).log().numpy()


def test_a_part_of_the_weights_is_refused_and_all_of_them_are_taken_after_it(
    folder: Path, servers: list[VllmProcess], policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sampler(folder, servers[:1])
    asked.sync(policy)
    learn(policy, list(asked.generate(SamplerSuite.requests(policy))))
    some = [(name, weight.clone()) for name, weight in policy.weights() if "v_proj" not in name]
    with monkeypatch.context() as patched:
        patched.setattr(policy, "weights", lambda: iter(some))
        with pytest.raises(SetupError, match="HTTP 500 at /finish_weight_update"):
            asked.sync(policy)
    assert 0 < len(some) < sum(1 for _ in policy.weights())
    asked.sync(policy)
    assert gap(policy, list(asked.generate(SamplerSuite.requests(policy)))) <= GAP


def test_vllm_reads_what_native_transfer_would_tell_it() -> None:
    """The rest of that way needs GPUs."""
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferInitInfo, NCCLWeightTransferUpdateInfo

    told = NCCLWeightTransferInitInfo(**nccl.init_info(bytes(range(128)), workers=2, bucket_bytes=1024))
    assert told.nccl_unique_id_bytes == bytes(range(128))
    assert (told.rank_offset, told.world_size, told.packed, told.packed_buffer_size_bytes) == (1, 3, True, 1024)
    bucket = [("a", torch.zeros(2, 3)), ("b", torch.zeros(4, dtype=torch.bfloat16))]
    info = NCCLWeightTransferUpdateInfo(**nccl.update_info(bucket))
    assert [getattr(torch, name) for name in info.dtype_names] == [torch.float32, torch.bfloat16]


# --- faults: in order ------------------------------------------------------------------------------------------


def test_a_server_killed_in_mid_batch_loses_nothing_and_joins_again(
    folder: Path, servers: list[VllmProcess], policy: Policy
) -> None:
    asked = sampler(folder, servers, concurrent=8)
    asked.sync(policy)
    requests = [replace(r, max_new_tokens=100) for r in SamplerSuite.requests(policy)] * 3
    wanted = sorted(key for request in requests for key in request.keys)
    coming = asked.generate(requests)
    first = next(coming)
    servers[1].kill()
    servers[1].start()
    rollouts = [first, *coming]
    assert sorted(rollout.key for rollout in rollouts) == wanted, "each exactly once"
    assert asked._servers[1].out, "it was drained"
    assert gap(policy, rollouts) <= GAP

    servers[1].wait()
    learn(policy, rollouts)
    asked.sync(policy)
    assert asked._servers[1].out == ""
    rollouts = list(asked.generate(SamplerSuite.requests(policy)))
    assert servers[1].answered() > 3, "it takes its share again"
    assert gap(policy, rollouts) <= GAP


def test_when_all_servers_are_killed_it_says_so_within_its_patience(
    folder: Path, servers: list[VllmProcess], policy: Policy
) -> None:
    asked = sampler(folder, servers, patience_s=2.0)
    asked.sync(policy)
    requests = [replace(r, max_new_tokens=300) for r in SamplerSuite.requests(policy)]
    coming = asked.generate(requests)
    next(coming)
    for server in servers:
        server.kill()
    killed_s = time.monotonic()
    with pytest.raises(SetupError, match="2 of 2 servers cannot be asked") as error:
        list(coming)
    assert time.monotonic() - killed_s < 5 * 2.0
    assert all(server.process.returncode == -9 and server.url in str(error.value) for server in servers)
