"""The decoder that takes requests while it runs: the same tokens as alone, rows given up, no letter cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import ARCHITECTURE, write_tokenizer

from r1core.nn import Decoder, LiveDecoder, create_model, end_token_ids, load_lm
from r1core.types import Problem, SampleRequest


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import torch

    folder: Path = tmp_path_factory.mktemp("model")
    write_tokenizer(folder)
    create_model(folder, ARCHITECTURE, seed=0)
    return load_lm(folder, dtype=torch.float32).eval()


def request(number: int, *, tokens: int = 20, keys: int = 1) -> SampleRequest:
    return SampleRequest(
        problem=Problem(id=str(number)),
        prompt_ids=np.arange(2, 4 + number % 7, dtype=np.int64),
        keys=tuple(1000 * number + i for i in range(keys)),
        samples=tuple(range(keys)),
        max_new_tokens=tokens,
        top_p=0.9,
    )


def alone(module: Any, asked: SampleRequest) -> dict[int, list[int]]:
    decoder = Decoder(module, ends=end_token_ids(module), max_rows=8, compact_at=0.25)
    return {each.sample: each.ids.tolist() for each in decoder.decode([asked])}


def test_requests_that_come_at_any_time_draw_what_they_draw_alone(module: Any) -> None:
    asked = [request(n, tokens=5 + 9 * (n % 4), keys=1 + n % 3) for n in range(14)]
    live = LiveDecoder(module, ends=end_token_ids(module), max_rows=5)
    got: dict[tuple[int, int], list[int]] = {}
    finished, number_of, waiting = [], {}, list(enumerate(asked))
    steps = 0
    while waiting or live.busy:
        if waiting and steps % 3 == 0:
            n, each = waiting.pop(0)
            number_of[live.add(each)] = n
        for drawn in live.step():
            got.setdefault((number_of[drawn.number], drawn.sample), []).append(drawn.id)
            if drawn.finish:
                finished.append((number_of[drawn.number], drawn.sample))
        assert live.alive <= 5
        steps += 1
    assert sorted(finished) == [(n, s) for n, each in enumerate(asked) for s in each.samples]
    for n, each in enumerate(asked):
        assert {s: got[n, s] for s in each.samples} == alone(module, each)


def test_a_cancelled_request_frees_its_row_and_disturbs_nobody(module: Any) -> None:
    live = LiveDecoder(module, ends=[], max_rows=2)
    first, second, third = (live.add(request(n, tokens=30)) for n in (1, 2, 3))
    assert (len(live.step()), live.alive, live.waiting) == (4, 2, 1)
    assert live.cancel(second) == 1
    seen = {drawn.number for drawn in live.step()}
    assert seen == {first, third}
    assert live.cancel(second) == 0
    assert live.cancel(third) == 1
    tokens = [drawn.id for _ in range(27) for drawn in live.step() if drawn.number == first]
    assert len(tokens) == 27
    assert not live.busy


def test_work_that_waits_can_be_cancelled(module: Any) -> None:
    live = LiveDecoder(module, ends=[], max_rows=1)
    live.add(request(1, tokens=3))
    second = live.add(request(2, tokens=50))
    assert live.waiting == 2
    assert live.cancel(second) == 0
    assert live.waiting == 1
    while live.busy:
        live.step()
