"""A teacher behind HTTP: what it says is what the model says; servers that would say something else are refused.

tests/plugins/toy_grader.py is a real small model behind vLLM's protocol; tests/extras/test_vllm_remote_teacher.py asks
a real vLLM.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tiny_model
from toy_grader import RESET, ToyGrader, toy_grader

from r1_plugins.remote_teacher import RemoteTeacher
from r1core.components import Policy
from r1core.endpoints import GaveUp
from r1core.errors import RefusedError, SetupError
from r1core.testing.tasks import component, sequences
from r1core.types import TopLogprobs, TrainSequence

TEXTS = ("<think> w1 w2 w3 </think> <answer> w4 </answer>", "w5 w6 w5", "")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A small random model and its tokenizer."""
    folder = tmp_path_factory.mktemp("teacher")
    tiny_model.write_tokenizer(folder)
    made: Policy = component("policy", {"use": "transformers", "device": "cpu"}, folder)
    made.create(folder, tiny_model.ARCHITECTURE, seed=3)
    opened: Policy = made.open(folder, trainable=False)
    return opened


@pytest.fixture
def server(policy: Policy) -> Iterator[ToyGrader]:
    with toy_grader(policy) as toy:
        yield toy


def teacher(server: ToyGrader, policy: Policy, *, give_up_s: float = 5.0, **more: Any) -> RemoteTeacher:
    """The sampler that a recipe would make, with the policy's tokenizer."""
    options = {"endpoint": {"url": server.url, "give_up_s": give_up_s}, **more}
    made = RemoteTeacher(RemoteTeacher.Config.model_validate(options))
    made.sync(policy)
    return made


def assert_alike(found: list[TopLogprobs], expected: list[TopLogprobs]) -> None:
    assert len(found) == len(expected) > 0
    for (ids, tops, own), (their_ids, their_tops, their_own) in zip(found, expected, strict=True):
        assert ids.tolist() == their_ids.tolist()
        np.testing.assert_allclose(tops, their_tops, atol=1e-5)
        np.testing.assert_allclose(own, their_own, atol=1e-5)


@pytest.mark.parametrize(("k", "temperature"), [(4, 1.0), (12, 0.7), (0, 1.0), (1, 2.0)])
def test_it_says_what_the_model_says(server: ToyGrader, policy: Policy, k: int, temperature: float) -> None:
    asked = sequences(policy, TEXTS)
    found = teacher(server, policy).score(asked, top_k=k, temperature=temperature)
    assert_alike(found, policy.top_logprobs(asked, k=k, temperature=temperature))
    assert [len(own) for _, _, own in found] == [len(each.ids) - each.start for each in asked], "end tokens count"


def test_more_than_its_vocabulary_has_is_refused(server: ToyGrader, policy: Policy) -> None:
    server.most = 100
    with pytest.raises(RefusedError, match="gives 40 log-probs of token 1, not 50"):
        teacher(server, policy).score(sequences(policy, TEXTS), top_k=50, temperature=1.0)


def test_a_token_beyond_k_is_no_part_of_the_top(server: ToyGrader, policy: Policy) -> None:
    """The server adds the text's own token to its k likeliest."""
    asked = sequences(policy, TEXTS)
    found = teacher(server, policy).score(asked, top_k=2, temperature=1.0)
    beyond = [
        token not in ids
        for each, (top_ids, _, _) in zip(asked, found, strict=True)
        for token, ids in zip(each.ids[each.start :], top_ids, strict=True)
    ]
    assert any(beyond), "some tokens must be beyond the two likeliest, else nothing is shown"
    assert_alike(found, policy.top_logprobs(asked, k=2, temperature=1.0))


def test_places_without_a_word_have_no_signal(server: ToyGrader, policy: Policy) -> None:
    asked = [TrainSequence(ids=np.array([8, 9, 10, 9, 11]), start=1, columns={})]
    made = teacher(server, policy)
    made.score(asked, top_k=3, temperature=1.0)  # the probe is answered in full
    server.silent = {9}
    ((top_ids, top_logprobs, logprobs),) = made.score(asked, top_k=3, temperature=1.0)
    assert np.isnan(logprobs).tolist() == [True, False, True, False]
    assert (top_ids[0] == -1).all()
    assert (top_logprobs[0] == -np.inf).all()
    assert (top_ids[1] >= 0).all()


def test_replies_become_arrays_when_they_come(server: ToyGrader, policy: Policy) -> None:
    """As they are read they take a hundred times as much: never are those of all texts in memory."""
    made = teacher(server, policy, concurrent=1)
    asked = [TrainSequence(ids=np.arange(120) % 30 + 8, start=1, columns={})] * 12
    made.score(asked[:1], top_k=20, temperature=1.0)
    peaks = []
    for some in (asked[:1], asked):
        tracemalloc.start()
        made.score(some, top_k=20, temperature=1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 2**19, "of one text there is something to measure"
    assert peaks[1] < 2 * peaks[0]


def test_it_is_probed_once_for_each_way_of_asking(server: ToyGrader, policy: Policy) -> None:
    made, asked = teacher(server, policy), sequences(policy, TEXTS)
    for k in (3, 3, 4):
        made.score(asked, top_k=k, temperature=1.0)
    assert len(server.asked) == 3 * len(asked) + 2 * 2


def test_it_tells_who_it_is(server: ToyGrader, policy: Policy) -> None:
    who = teacher(server, policy).identity()
    assert who == {
        "server": server.url.removesuffix("/v1"),
        "model": "teacher",
        "root": "/models/teacher",
        "max_model_len": "512",
    }


# --- servers that cannot be the teacher ------------------------------------------------------------


def _too_few(server: ToyGrader) -> None:
    server.most = 3


def _no_prompts(server: ToyGrader) -> None:
    server.knows_prompts = False


def _logits(server: ToyGrader) -> None:
    server.logits = True


def _early(server: ToyGrader) -> None:
    server.shift = 1


def _late(server: ToyGrader) -> None:
    server.late = 1


def _looks_ahead(server: ToyGrader) -> None:
    server.sees_last = True


def _other_words(server: ToyGrader) -> None:
    names = {4: "<thought>"}
    own = server.text
    server.text = lambda token: names.get(token, own(token))


def _no_words(server: ToyGrader) -> None:
    server.text = lambda token: None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (_too_few, r"gives no 4 log-probs.*max allowed: 3.*--max-logprobs 4"),
        (_no_prompts, r"gives no log-probs of a prompt.*vLLM"),
        (_logits, r"sum to .*no log-probs.*--logprobs-mode"),
        (_early, r"leaves out token \d+ of the text itself.*off by one"),
        (_late, r"what it expects last depends on what comes last.*off by one"),
        (_looks_ahead, r"token 1 of \d+ is worth .* nats more or less with another last token"),
        (_other_words, r"vocabulary is another: token 4 is '<thought>' there and '<think>' here"),
        (_no_words, r"does not tell its tokens' texts"),
    ],
)
def test_a_server_that_would_say_something_else_is_refused(
    server: ToyGrader, policy: Policy, wrong: Callable[[ToyGrader], None], said: str
) -> None:
    made, asked = teacher(server, policy), sequences(policy, TEXTS)
    wrong(server)
    with pytest.raises(RefusedError, match=rf"(?s){said}"):
        made.score(asked, top_k=4, temperature=1.0)
    assert 0 < len(server.asked) < 4, "it is refused by the probe, before it is asked for a text"


@pytest.mark.parametrize("k", [0, 1, 4, 20])
def test_a_server_that_computes_in_bfloat16_is_a_teacher(server: ToyGrader, policy: Policy, k: int) -> None:
    asked = sequences(policy, TEXTS)
    server.bfloat16 = True
    made = teacher(server, policy)
    first, again = (made.score(asked, top_k=k, temperature=1.0)[0][2] for _ in range(2))
    assert 0.05 < np.abs(first - again).max() < 0.3, "calls must differ, by steps of its numbers"
    np.testing.assert_allclose(first, policy.top_logprobs(asked, k=k, temperature=1.0)[0][2], atol=0.3)


def test_another_temperature_is_refused_where_it_is_ignored(server: ToyGrader, policy: Policy) -> None:
    server.tempers = False
    made, asked = teacher(server, policy), sequences(policy, TEXTS)
    with pytest.raises(RefusedError, match=r"(?s)at temperature 1 where 0\.7 is asked for.*temperature: 1\.0"):
        made.score(asked, top_k=4, temperature=0.7)
    assert_alike(made.score(asked, top_k=4, temperature=1.0), policy.top_logprobs(asked, k=4, temperature=1.0))


def test_a_model_that_is_not_there_is_named_with_those_that_are(server: ToyGrader, policy: Policy) -> None:
    server.models = ["one", "two"]
    with pytest.raises(SetupError, match=r"(?s)several models.*one, two"):
        teacher(server, policy).identity()
    with pytest.raises(SetupError, match=r"(?s)no model 'three'.*one, two"):
        teacher(server, policy, model="three").identity()
    assert teacher(server, policy, model="two").identity()["model"] == "two"


# --- servers that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [503, 429, RESET])
def test_calls_that_fail_are_made_again(server: ToyGrader, policy: Policy, fault: int) -> None:
    server.fault = lambda number: fault if number in (1, 3, 4) else None
    asked = sequences(policy, TEXTS)
    found = teacher(server, policy, give_up_s=60.0).score(asked, top_k=4, temperature=1.0)
    assert server.faults == 3
    assert_alike(found, policy.top_logprobs(asked, k=4, temperature=1.0))


def test_a_server_that_is_gone_is_an_environment_that_lacks_one(server: ToyGrader, policy: Policy) -> None:
    made, asked = teacher(server, policy, give_up_s=0.5), sequences(policy, TEXTS)
    made.score(asked, top_k=2, temperature=1.0)
    server.fault = lambda number: 503
    with pytest.raises(GaveUp, match="HTTP 503"):
        made.score(asked, top_k=2, temperature=1.0)
    assert server.faults > 0
