"""The decoder that takes requests while it runs: the same tokens as alone, rows given up, no letter cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import ARCHITECTURE, write_tokenizer

from r1core.nn import Decoder, LiveDecoder, Unread, create_model, end_token_ids, load_lm
from r1core.nn.forward import Forward
from r1core.nn.open_batch import PROMPT_TOKENS
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


def alone(module: Any, asked: SampleRequest, ends: Collection[int] | None = None) -> dict[int, list[int]]:
    decoder = Decoder(module, ends=end_token_ids(module) if ends is None else ends, max_rows=8, compact_at=0.25)
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


def long_request(number: int, *, keys: int = 1) -> SampleRequest:
    """Its prompt is read in four parts."""
    prompt = np.arange(3 * PROMPT_TOKENS + 17, dtype=np.int64) % 30 + 8
    return dataclasses.replace(request(number, tokens=6, keys=keys), prompt_ids=prompt)


def test_a_long_prompt_is_read_in_parts_while_others_go_on(module: Any) -> None:
    import torch

    live, asked = LiveDecoder(module, ends=[], max_rows=3), long_request(2, keys=2)
    first = live.add(request(1, tokens=40))
    live.step()
    second, third = live.add(asked), live.add(request(3, tokens=3))
    steps = [live.step() for _ in range(4)]
    assert [[drawn.number for drawn in step] for step in steps[:3]] == [[first]] * 3
    assert {drawn.number for drawn in steps[3]} == {first, second}
    assert (live.alive, live.waiting) == (3, 1)
    drawn = [each for step in steps for each in step]
    while live.busy:
        drawn += live.step()
    assert sum(each.number == third for each in drawn) == 3
    for sample in range(2):
        mine = [each for each in drawn if (each.number, each.sample) == (second, sample)]
        ids = torch.tensor([[*asked.prompt_ids.tolist(), *(each.id for each in mine)]])
        with torch.no_grad():
            logs = module(ids).logits[0, len(asked.prompt_ids) - 1 : -1].log_softmax(-1)
        again = logs.gather(1, ids[0, len(asked.prompt_ids) :, None]).squeeze(1)
        assert (again - torch.tensor([each.logprob for each in mine])).abs().max() < 1e-5
        assert [each.id for each in mine] == alone(module, asked, ends=[])[sample]


def test_a_prompt_that_is_half_read_can_be_cancelled(module: Any) -> None:
    live = LiveDecoder(module, ends=[], max_rows=1)
    first, second = live.add(long_request(1)), live.add(request(2, tokens=3))
    assert (live.step(), live.waiting) == ([], 2)
    assert live.cancel(first) == 0
    assert live.waiting == 1
    assert {drawn.number for _ in range(3) for drawn in live.step()} == {second}
    assert not live.busy


def test_a_prompt_that_cannot_be_computed_is_lost_alone(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fired = Forward.__call__, []

    def small(self: Forward, ids: Any, lengths: Any, cache: Any) -> Any:
        if cache.live + ids.shape[1] > 2 * PROMPT_TOKENS:
            fired.append(tuple(ids.shape))
            raise MemoryError("no room for it")
        return real(self, ids, lengths, cache)

    monkeypatch.setattr(Forward, "__call__", small)
    live = LiveDecoder(module, ends=[], max_rows=2)
    first, second, third = live.add(request(1, tokens=12)), live.add(long_request(2)), live.add(request(3, tokens=4))
    ids: dict[int, list[int]] = {first: [], third: []}
    lost: list[int] = []
    causes: list[type] = []
    while live.busy:
        try:
            for drawn in live.step():
                ids[drawn.number].append(drawn.id)
        except Unread as unread:
            lost += unread.numbers
            causes.append(type(unread.__cause__))
    assert (lost, fired) == ([second], [(1, PROMPT_TOKENS)])
    assert causes == [MemoryError]
    monkeypatch.undo()
    assert ids[first] == alone(module, request(1, tokens=12), ends=[])[0]
    assert len(ids[third]) == 4


def test_work_that_waits_can_be_cancelled(module: Any) -> None:
    live = LiveDecoder(module, ends=[], max_rows=1)
    live.add(request(1, tokens=3))
    second = live.add(request(2, tokens=50))
    assert live.waiting == 2
    assert live.cancel(second) == 0
    assert live.waiting == 1
    while live.busy:
        live.step()
