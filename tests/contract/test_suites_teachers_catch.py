"""Every promise of the suite of samplers that grade can be broken, and the breach is said in one sentence."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from tiny_engines import LLAMA, ON_CPU

from r1core.testing import TeacherSuite

MODEL = "it_says_what_its_model_says"
BROKEN = [
    (MODEL, "Late", r"its top_logprobs of text 0 differ by .* nats from the model's"),
    (MODEL, "Endless", r"what it says of text 0 has the shapes .*, not "),
    (MODEL, "Renaming", r"of text 0 it names other tokens than the model's likeliest"),
    (MODEL, "Sparing", r"1 verdicts come for 12 texts"),
    ("the_token_alone_may_be_asked_for", "Generous", r"has the shapes \[\(\d+, 1\)"),
    ("a_text_is_graded_by_itself", "Sociable", r"its logprobs of text 0 differ by .* of the text alone"),
]
PROMISES = [name for name in vars(TeacherSuite) if name.startswith("test_")]


def suite_of(toy: str) -> Any:
    """The suite of a toy, as its author would write it."""
    attributes = {
        "component": f"./toy_teachers.py:{toy}",
        "policy": ON_CPU,
        "architecture": LLAMA,
        "source": "playground_corpus",
        "serving": lambda self, policy: contextlib.nullcontext({}),
        "__module__": __name__,
    }
    return type(f"Suite{toy}", (TeacherSuite,), attributes)()


@pytest.mark.parametrize(("promise", "toy", "said"), BROKEN, ids=[f"{toy}-{promise}" for promise, toy, _ in BROKEN])
def test_a_broken_promise_is_said_in_a_sentence(promise: str, toy: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=said):
        getattr(suite_of(toy), f"test_{promise}")(tmp_path)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_sound_teacher_breaks_none(promise: str, tmp_path: Path) -> None:
    getattr(suite_of("Sound"), promise)(tmp_path)


def test_every_promise_is_broken_by_some_toy() -> None:
    assert {f"test_{promise}" for promise, _, _ in BROKEN} == set(PROMISES)


def test_a_suite_without_a_server_says_so() -> None:
    class Unserved(TeacherSuite):
        component = "./toy_teachers.py:Sound"

    with pytest.raises(pytest.fail.Exception, match="Unserved has no server"):
        Unserved().serving(None)  # type: ignore[arg-type]
