"""`vllm_server` against a toy of vLLM's routes: which weights are where, what is asked, what comes back."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_vllm import END, GENERATE, ToyPolicy, ToyVllm, requests, toy_vllm

from r1_plugins.vllm_server import VllmServerSampler
from r1_plugins.vllm_server.nccl import init_info, update_info
from r1_plugins.vllm_server.transfer import buckets
from r1core.errors import SetupError
from r1core.keys import derive_key

QUICK = {"look_every_s": 0.1, "patience_s": 1.0, "bucket_mib": 1}


def sampler(folder: Path, *servers: ToyVllm, timeout_s: float = 10.0, **options: Any) -> Any:
    """One of these servers, impatient."""
    named = [{"url": server.url, "timeout_s": timeout_s} for server in servers]
    config = {"servers": named, "transfer": "files", "folder": str(folder / "weights"), **QUICK, **options}
    return VllmServerSampler(VllmServerSampler.Config.model_validate(config))


def samples(rollouts: Any) -> list[int]:
    """Which came."""
    return sorted(rollout.sample for rollout in rollouts)


@pytest.fixture
def two() -> Iterator[tuple[ToyVllm, ToyVllm]]:
    with toy_vllm() as first, toy_vllm() as second:
        yield first, second


# --- weights --------------------------------------------------------------------------------------------


def test_every_server_has_the_weights_after_a_sync(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    policy, asked = ToyPolicy(), sampler(tmp_path, *two)
    for change in (0.0, 3.0):
        policy.parameters = {name: weight + change for name, weight in policy.parameters.items()}
        asked.sync(policy)
        for server in two:
            assert server.weights.keys() == policy.parameters.keys()
            for name, weight in policy.parameters.items():
                assert torch.equal(server.weights[name], weight), "a bucket held what the buffer became later"
            assert len(server.files) == 4, "0.57 MiB each: one fits into a bucket of 1 MiB"
            assert not server.paused
    assert two[0].version == two[1].version
    assert two[0].version.endswith("-2")
    assert len(two[0].asked("/reset_prefix_cache")) == 2
    assert len(list((tmp_path / "weights").iterdir())) == 4, "new weights lie in the place of the old"


def test_the_files_go_with_the_sampler(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, *two)
    asked.sync(ToyPolicy())
    assert list((tmp_path / "weights").iterdir())
    del asked
    assert not list((tmp_path / "weights").iterdir())


def test_files_of_a_later_sampler_stay(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    earlier, later = sampler(tmp_path, two[0]), sampler(tmp_path, two[1])
    earlier.sync(ToyPolicy())
    later.sync(ToyPolicy())
    del earlier
    assert len(list((tmp_path / "weights").iterdir())) == 4


def test_buckets_are_bounded_and_a_larger_weight_goes_alone() -> None:
    sizes = [10, 20, 100, 30, 5, 5, 40]
    made = buckets(((f"w{place}", torch.zeros(size)) for place, size in enumerate(sizes)), 4 * 40)
    assert [[tensor.numel() for _, tensor in bucket] for bucket in made] == [[10, 20], [100], [30, 5, 5], [40]]


def test_an_update_that_another_process_left_open_is_ended(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    two[0].updating = True
    asked = sampler(tmp_path, *two)
    asked.sync(ToyPolicy())
    assert [len(server.asked("/start_weight_update")) for server in two] == [2, 2]
    assert samples(asked.generate(requests(4))) == list(range(8))


def test_rank_0_alone_gives_weights_and_all_ranks_ask(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    with _pair(tmp_path, two) as ranks:
        policies = [policy for _, policy in ranks]
        _together(lambda rank: ranks[rank][0].sync(policies[rank]))
        assert [policy.gone_through for policy in policies] == [4, 4]
        assert [len(server.asked("/finish_weight_update")) for server in two] == [2, 2], "one to meet, one to finish"
        came: dict[int, list[int]] = {}
        _together(lambda rank: came.__setitem__(rank, samples(ranks[rank][0].generate(requests(3)))))
        assert came == {0: list(range(6)), 1: list(range(6))}


def test_what_fails_on_rank_0_is_raised_on_all(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    two[1].fault = lambda path, number: (500, {}) if path == "/update_weights" and number == 1 else None
    with _pair(tmp_path, two) as ranks:
        raised: dict[int, str] = {}

        def sync(rank: int) -> None:
            with pytest.raises(SetupError) as error:
                ranks[rank][0].sync(ranks[rank][1])
            raised[rank] = str(error.value)

        _together(sync)
        assert two[1].faults == 1
        assert raised[0] == raised[1]
        assert "HTTP 500 at /update_weights" in raised[0]
        assert [policy.gone_through for _, policy in ranks] == [4, 4], "ranks that stop early hang the others"


class _World:
    """Two ranks as threads."""

    size = 2

    def __init__(self, rank: int, said: dict[int, Any], meet: threading.Barrier) -> None:
        self.rank, self._said, self._meet = rank, said, meet

    def first(self, mine: Any) -> Any:
        if self.rank == 0:
            self._said[0] = mine
        self._meet.wait(20)
        return self._said[0]

    def gather(self, mine: Any) -> Any: ...

    def any(self, mine: bool) -> Any: ...


@contextlib.contextmanager
def _pair(folder: Path, servers: tuple[ToyVllm, ToyVllm]) -> Iterator[list[tuple[Any, ToyPolicy]]]:
    said: dict[int, Any] = {}
    meet = threading.Barrier(2)
    yield [(sampler(folder, *servers), ToyPolicy(_World(rank, said, meet))) for rank in range(2)]


def _together(work: Any) -> None:
    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


# --- answers ----------------------------------------------------------------------------------------------


def test_answers_come_from_all_servers_each_once(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    policy, asked = ToyPolicy(), sampler(tmp_path, *two)
    asked.sync(policy)
    made = requests(12, samples=3)
    rollouts = list(asked.generate(made))
    assert samples(rollouts) == list(range(36))
    shares = [len(server.asked(GENERATE)) - 1 for server in two]
    assert sum(shares) == 36
    assert min(shares) >= 6, shares
    for rollout in rollouts:
        request = made[int(rollout.problem.id)]
        assert rollout.key == request.keys[rollout.sample % 3]
        assert rollout.weights_version == 1
        assert rollout.logprobs.tolist() == [-0.5] * len(rollout.completion_ids)
        assert rollout.response.text == policy.decode(rollout.completion_ids)
        assert rollout.response.prefilled == "<think>"
        assert rollout.response.finish == "stop"
        assert rollout.completion_ids[-1] == END


def test_a_request_says_what_the_core_asks_for(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, two[0])
    asked.sync(ToyPolicy())
    (request,) = requests(1, samples=1, most=3, temperature=0.5)
    (rollout,) = asked.generate([replace(request, prefix_ids=np.array([40, 41]), top_p=0.9)])
    body = two[0].asked(GENERATE)[-1]
    assert body["token_ids"] == [5, 6, 7, 40, 41]
    assert body["sampling_params"] == {
        "max_tokens": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": derive_key(0, 2**64 - 1, 2) >> 1,
        "stop_token_ids": [END],
        "ignore_eos": True,
        "logprobs": 0,
        "detokenize": False,
    }
    assert rollout.response.prefilled == "<think>" + ToyPolicy().decode([40, 41])
    assert rollout.response.finish == ("length" if rollout.completion_ids[-1] != END else "stop")


def test_an_answer_from_the_start_is_drawn_by_its_key_alone(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, two[0])
    asked.sync(ToyPolicy())
    list(asked.generate(requests(1, samples=2)))
    seeds = {body["sampling_params"]["seed"] for body in two[0].asked(GENERATE)[1:]}
    assert seeds == {2**63 - 1, 2**63 - 2}, "63 bits of 2**64 - 1 and 2**64 - 3"


def test_a_key_is_the_same_answer_on_whichever_server(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    found = []
    for servers in (two[:1], two[1:], two):
        asked = sampler(tmp_path, *servers)
        asked.sync(ToyPolicy())
        found.append({r.key: r.completion_ids.tolist() for r in asked.generate(requests(6))})
    assert found[0] == found[1] == found[2]


def test_no_server_is_asked_for_more_at_once_than_allowed(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    two[0].slow_s = 0.1
    asked = sampler(tmp_path, two[0], concurrent=3)
    asked.sync(ToyPolicy())
    assert samples(asked.generate(requests(6))) == list(range(12))
    times = two[0].when(GENERATE)[1:]
    assert all(later - earlier > 0.05 for earlier, later in zip(times, times[3:], strict=False)), times


def test_answers_go_on_while_whoever_asked_does_other_things(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, two[0], concurrent=1)
    asked.sync(ToyPolicy())
    coming = asked.generate(requests(10, samples=1))
    next(coming)
    deadline_s = time.monotonic() + 20
    while len(two[0].asked(GENERATE)) < 1 + 10 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert len(two[0].asked(GENERATE)) == 1 + 10, "the others were asked for though nobody took the first"
    assert len(list(coming)) == 9


def test_what_nobody_waits_for_any_more_is_given_up(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, two[0], concurrent=4)
    asked.sync(ToyPolicy())
    two[0].slow_s = 0.2
    coming = asked.generate(requests(50, samples=1))
    next(coming)
    coming.close()
    gc.collect()  # a connection that was left open warns here, and a warning is an error
    asked_for = len(two[0].asked(GENERATE))
    time.sleep(0.5)
    assert len(two[0].asked(GENERATE)) == asked_for < 20
    assert not [thread for thread in threading.enumerate() if thread.name == "vllm_server"]


def test_a_sync_ends_what_nobody_took(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = sampler(tmp_path, two[0], concurrent=2)
    asked.sync(ToyPolicy())
    left = asked.generate(requests(30))
    next(left)
    two[0].slow_s = 0.2
    asked.sync(ToyPolicy())
    looks = len(two[0].asked("/weight_info"))
    time.sleep(0.5)
    assert len(two[0].asked("/weight_info")) == looks, "else it would be given back the weights of before"
    assert len(two[0].asked(GENERATE)) < 20
    left.close()


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"servers": []}, "at least 1"),
        ({"servers": [{"url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.1:1/"}]}, "more than once"),
        ({"servers": [{"url": "http://127.0.0.1:1/v1"}]}, "without /v1"),
        ({"transfer": "files"}, "needs a folder"),
        ({"folder": "/tmp/x"}, "read by transfer files alone"),
        ({"servers": [{"url": "http://169.254.169.254"}]}, "must not be contacted"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        VllmServerSampler.Config.model_validate({"servers": [{"url": "http://127.0.0.1:1"}], **options})


def test_answers_before_a_sync_are_refused(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    with pytest.raises(SetupError, match="call sync"):
        list(sampler(tmp_path, *two).generate(requests(1)))


# --- from GPU to GPU: as far as it goes without one -------------------------------------------------------------


def test_native_transfer_without_a_gpu_says_so(two: tuple[ToyVllm, ToyVllm]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    named = VllmServerSampler.Config.model_validate({"servers": [{"url": two[0].url}], **QUICK})
    with pytest.raises(SetupError, match="transfer: files"):
        VllmServerSampler(named).sync(ToyPolicy())  # type: ignore[arg-type]


def test_what_native_transfer_tells_a_server() -> None:
    assert init_info(b"\x00" * 128, workers=4, bucket_bytes=1024) == {
        "rank_offset": 1,
        "world_size": 5,
        "nccl_unique_id_b64": "A" * 171 + "=",
        "packed": True,
        "packed_buffer_size_bytes": 1024,
        "packed_num_buffers": 2,
    }
    bucket = [("a", torch.zeros(2, 3)), ("b", torch.zeros(4, dtype=torch.bfloat16))]
    assert update_info(bucket) == {
        "names": ["a", "b"],
        "dtype_names": ["float32", "bfloat16"],
        "shapes": [[2, 3], [4]],
    }
