"""`vllm_server` when servers fail: what was asked there is asked elsewhere, and no answer of other weights is taken."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_vllm_server import sampler, samples
from toy_vllm import GENERATE, HANG, RESET, Fault, ToyPolicy, ToyVllm, requests, toy_vllm

from r1core.endpoints import EndpointError
from r1core.errors import SetupError


@pytest.fixture
def two() -> Iterator[tuple[ToyVllm, ToyVllm]]:
    with toy_vllm() as first, toy_vllm() as second:
        yield first, second


def synced(folder: Path, *servers: ToyVllm, **options: Any) -> Any:
    """A sampler whose servers have the weights."""
    asked = sampler(folder, *servers, **options)
    asked.sync(ToyPolicy())
    return asked


def on(path: str, fault: Fault, *, numbers: Callable[[int], bool] = lambda number: True) -> Callable[..., Fault]:
    """The fault, for requests to this path."""
    return lambda asked, number: fault if asked == path and numbers(number) else None


# --- in the middle of a batch --------------------------------------------------------------------------------


def test_answers_that_end_in_500_are_asked_for_elsewhere(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two)
    two[0].fault = on(GENERATE, (500, {}), numbers=lambda number: number in (1, 2, 3))
    assert samples(asked.generate(requests(10))) == list(range(20))
    assert 1 <= two[0].faults <= 3
    assert len(two[0].asked(GENERATE)) > 1 + two[0].faults, "a look found it well, and it was asked again"


def test_a_server_that_says_later_is_left_alone_so_long(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two, concurrent=1)
    two[0].fault = on(GENERATE, (429, {"Retry-After": "1"}), numbers=lambda number: number == 1)
    two[1].slow_s = 0.1
    assert samples(asked.generate(requests(12))) == list(range(24))
    assert two[0].faults == 1
    _, told, after = two[0].when(GENERATE)[:3]
    assert after - told >= 1.0


def test_a_lone_server_that_says_later_is_waited_for(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, two[0], patience_s=20)
    two[0].fault = on(GENERATE, (503, {}), numbers=lambda number: number in (1, 2))
    assert samples(asked.generate(requests(2))) == list(range(4))
    assert two[0].faults == 2


def test_a_server_that_says_later_for_ever_ends_the_patience(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, two[0])
    two[0].fault = on(GENERATE, (429, {}))
    with pytest.raises(SetupError, match="1 of 1 servers") as error:
        list(asked.generate(requests(1)))
    assert two[0].faults >= 1
    assert "said later" in str(error.value)


def test_an_answer_that_hangs_is_asked_for_elsewhere(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two, answer_s=0.5)
    two[0].fault = on(GENERATE, HANG, numbers=lambda number: number == 1)
    assert samples(asked.generate(requests(4))) == list(range(8))
    assert two[0].faults == 1


def test_what_a_hung_server_was_asked_is_not_waited_for(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two, timeout_s=0.5, answer_s=600)
    two[0].fault = lambda path, number: HANG
    begun_s = time.monotonic()
    assert samples(asked.generate(requests(4))) == list(range(8))
    assert two[0].faults >= 2, "a look and an answer hung"
    assert time.monotonic() - begun_s < 15, "though an answer may take ten minutes"


def test_connections_that_break_lose_no_answer(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two)
    two[0].fault = on(GENERATE, RESET, numbers=lambda number: number % 2 == 1)
    two[1].fault = on(GENERATE, RESET, numbers=lambda number: number == 2)
    assert samples(asked.generate(requests(10))) == list(range(20))
    assert two[0].faults >= 1
    assert two[1].faults == 1


def test_a_server_that_dies_loses_no_answer(tmp_path: Path) -> None:
    with toy_vllm() as stays, contextlib.ExitStack() as dying:
        dies = dying.enter_context(toy_vllm())
        asked = synced(tmp_path, stays, dies, concurrent=2)
        stays.slow_s = dies.slow_s = 0.05
        coming = asked.generate(requests(20))
        first = next(coming)
        dies.fault = on(GENERATE, RESET)
        dying.close()
        assert samples([first, *coming]) == list(range(40))
        assert dies.faults >= 1 or "ConnectError" in asked._servers[1].out
        assert len(stays.asked(GENERATE)) > 20


def test_when_all_are_gone_it_says_who_and_why(tmp_path: Path) -> None:
    with contextlib.ExitStack() as running:
        gone = [running.enter_context(toy_vllm()) for _ in range(2)]
        asked = synced(tmp_path, *gone)
        running.close()
    begun_s = time.monotonic()
    with pytest.raises(SetupError, match="2 of 2 servers cannot be asked") as error:
        list(asked.generate(requests(2)))
    assert 1.0 <= time.monotonic() - begun_s < 10, "patience is a second"
    assert error.value.exit_code == 3
    assert all(f"{server.url}: " in str(error.value) for server in gone)
    assert "ConnectError" in str(error.value)


def test_an_answer_that_fails_everywhere_ends_the_run(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two, tries=3, patience_s=60)
    for server in two:
        server.fault = on(GENERATE, (500, {}))
    with pytest.raises(SetupError, match="asked for 3 times in vain") as error:
        list(asked.generate(requests(1, samples=1)))
    assert sum(server.faults for server in two) == 3
    assert str(error.value).count("HTTP 500") == 3


def test_a_request_that_all_refuse_ends_the_run(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two)
    for server in two:
        server.fault = on(GENERATE, (400, {}))
    with pytest.raises(EndpointError, match="HTTP 400"):
        list(asked.generate(requests(1, samples=1)))
    assert [server.faults for server in two] == [1, 1]


def test_what_one_of_them_refuses_is_asked_for_elsewhere(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two)
    two[0].fault = on(GENERATE, (404, {}))
    assert samples(asked.generate(requests(4))) == list(range(8))
    assert two[0].faults > 0


def test_an_answer_that_is_cut_off_says_which_option_to_raise(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, two[0])
    two[0].longest = 2
    with pytest.raises(SetupError, match="after 2 of 40 tokens") as error:
        list(asked.generate(requests(1)))
    assert "--max-model-len 43" in str(error.value)


# --- other weights ---------------------------------------------------------------------------------------------


def test_no_answer_of_a_restarted_server_is_taken_before_it_has_the_weights(
    tmp_path: Path, two: tuple[ToyVllm, ToyVllm]
) -> None:
    asked = synced(tmp_path, *two, concurrent=2)
    two[0].slow_s = two[1].slow_s = 0.1
    coming = asked.generate(requests(40))
    first = next(coming)
    version, before = two[1].version, len(two[0].asked(GENERATE))
    two[0].restart()
    rollouts = [first, *coming]
    assert samples(rollouts) == list(range(80))
    assert all(rollout.logprobs[0] == -0.5 for rollout in rollouts), "an answer of the weights it was started on"
    assert two[0].version == version, "a look found it there, and gave it the files of the last sync"
    assert two[0].weights.keys() == ToyPolicy().parameters.keys()
    assert len(two[0].asked(GENERATE)) > before
    assert asked._servers[0].out == ""


def test_answers_with_older_weights_of_this_run_are_refused(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    asked = synced(tmp_path, *two, concurrent=2)
    older = two[0].version
    asked.sync(ToyPolicy())
    two[0].version = older
    two[0].fault = on("/start_weight_update", (500, {}))
    two[0].slow_s = two[1].slow_s = 0.1
    assert samples(asked.generate(requests(6))) == list(range(12))
    assert two[0].faults >= 1, "it was not given the present ones"
    assert len(two[1].asked(GENERATE)) == 1 + 12, "so all answers are the other's"


def test_weights_that_somebody_else_gave_stop_the_run(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    one, other = synced(tmp_path / "one", *two), sampler(tmp_path / "other", *two)
    assert samples(one.generate(requests(2))) == list(range(4))
    other.sync(ToyPolicy())
    with pytest.raises(SetupError, match="was given other weights") as error:
        list(one.generate(requests(2)))
    assert "give each its own" in str(error.value)
    assert samples(other.generate(requests(2))) == list(range(4))


# --- in the middle of a sync -----------------------------------------------------------------------------------


def test_a_server_that_fails_to_take_weights_is_left_out_and_comes_back(
    tmp_path: Path, two: tuple[ToyVllm, ToyVllm]
) -> None:
    asked = synced(tmp_path, *two, look_every_s=30)
    two[0].fault = on("/update_weights", (500, {}), numbers=lambda number: number == 5)
    asked.sync(ToyPolicy())
    assert two[0].faults == 1
    assert "HTTP 500 at /update_weights" in asked._servers[0].out
    assert two[0].version.endswith("updating"), "it has a part of them, and does not say that it has them"
    two[0].fault = lambda path, number: None
    asked.sync(ToyPolicy())
    assert asked._servers[0].out == ""
    assert two[0].version == two[1].version
    assert not two[0].updating
    assert samples(asked.generate(requests(8))) == list(range(16))
    assert len(two[0].asked(GENERATE)) > 1


def test_a_server_that_is_gone_at_a_sync_is_left_out(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    with toy_vllm() as third:
        asked = synced(tmp_path, *two, third)
    asked.sync(ToyPolicy())
    assert "ConnectError" in asked._servers[2].out
    assert samples(asked.generate(requests(4))) == list(range(8))


def test_the_first_sync_wants_every_server(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    with toy_vllm() as gone:
        asked = sampler(tmp_path, *two, gone)
    with pytest.raises(SetupError, match="1 of 3 servers") as error:
        asked.sync(ToyPolicy())
    assert gone.url in str(error.value)
    assert "ConnectError" in str(error.value)


def test_the_first_sync_waits_for_a_server_that_starts(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    two[1].fault = on("/weight_info", RESET, numbers=lambda number: number < 2)
    asked = sampler(tmp_path, *two, patience_s=20)
    asked.sync(ToyPolicy())
    assert two[1].faults == 2
    assert two[0].version == two[1].version


def test_a_cache_that_does_not_forget_keeps_a_server_out(
    tmp_path: Path, two: tuple[ToyVllm, ToyVllm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r1_plugins.vllm_server.updates.RESET_EVERY_S", 0.01)
    asked = synced(tmp_path, *two, look_every_s=30)
    reply = two[0].reply
    two[0].reply = lambda path, body: (  # type: ignore[method-assign]
        (200, {"success": False}) if path == "/reset_prefix_cache" else reply(path, body)
    )
    asked.sync(ToyPolicy())
    assert "does not forget" in asked._servers[0].out
    assert len(two[0].asked("/reset_prefix_cache")) > 5, "it was asked again: a request may still hold a part"


@pytest.mark.parametrize("path", ["/weight_info", "/pause?mode=abort"])
def test_a_server_without_the_routes_says_how_to_start_it(
    tmp_path: Path, two: tuple[ToyVllm, ToyVllm], path: str
) -> None:
    two[1].fault = on(path, (404, {}))
    with pytest.raises(SetupError, match="VLLM_SERVER_DEV_MODE=1 vllm serve"):
        sampler(tmp_path, *two).sync(ToyPolicy())
    assert two[1].faults == 1


def test_logprobs_before_temperature_are_refused(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    two[1].raw_logprobs = True
    with pytest.raises(SetupError, match="--logprobs-mode processed_logprobs") as error:
        sampler(tmp_path, *two).sync(ToyPolicy())
    assert two[1].url in str(error.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, two: tuple[ToyVllm, ToyVllm]) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(SetupError, match="weights cannot be written") as error:
        sampler(tmp_path, *two).sync(ToyPolicy())
    assert str(tmp_path / "weights") in str(error.value)
