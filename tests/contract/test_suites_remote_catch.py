"""Every promise of the suite of samplers elsewhere can be broken, and the breach is said in one sentence."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from r1core.testing import RemoteSamplerSuite

ONCE = "every_answer_is_asked_for_once_and_kept_before_it_is_given"
TEXTS = "answers_are_texts_with_thinking_and_no_tokens_of_ours"
BROKEN = [
    (ONCE, "Hasty", "answer 0 is given before it is kept"),
    (ONCE, "Unasked", "answer 0 is kept and was not asked for"),
    (ONCE, "Greedy", "answer 0 is asked for while it is kept already"),
    (ONCE, "Unsettled", "1 calls that were put down by `asking` came to no end"),
    (ONCE, "Forgetful", "of 12 samples came 9, in 9 rollouts"),
    (ONCE, "Mistaken", "answer 0 is said to be one to problem '2'"),
    (ONCE, "Unbilled", "0 calls are told of for 12 answers"),
    (TEXTS, "Tokenised", "has ids or log-probs"),
    (TEXTS, "Thoughtless", "no thinking and answer are found in '42'"),
    ("only_what_is_left_is_asked_for", "Thorough", r"asked for \[\(1, 2\), .*, it kept \[1, 2, "),
    ("it_says_who_answers", "Nobody", r"identity\(\) says {}"),
    ("it_says_who_answers", "Changeable", "of another instance"),
    ("it_says_who_answers", "Near", "is not `remote`"),
]
PROMISES = [name for name in vars(RemoteSamplerSuite) if name.startswith("test_")]


def suite_of(toy: str) -> Any:
    """The suite of a toy, as its author would write it."""
    attributes = {
        "component": f"./toy_remote.py:{toy}",
        "serving": lambda self: contextlib.nullcontext({}),
        "__module__": __name__,
    }
    return type(f"Suite{toy}", (RemoteSamplerSuite,), attributes)()


@pytest.mark.parametrize(("promise", "toy", "said"), BROKEN, ids=[f"{toy}-{promise}" for promise, toy, _ in BROKEN])
def test_a_broken_promise_is_said_in_a_sentence(promise: str, toy: str, said: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=said):
        getattr(suite_of(toy), f"test_{promise}")()


@pytest.mark.parametrize("promise", PROMISES)
def test_a_sound_sampler_breaks_none(promise: str) -> None:
    getattr(suite_of("Sound"), promise)()


def test_every_promise_is_broken_by_some_toy() -> None:
    assert {f"test_{promise}" for promise, _, _ in BROKEN} == set(PROMISES)


def test_a_suite_without_a_server_says_so() -> None:
    class Unserved(RemoteSamplerSuite):
        component = "./toy_remote.py:Sound"

    with pytest.raises(pytest.fail.Exception, match="Unserved has no server"):
        Unserved().serving()
