"""Replies that cannot be read: who is to blame for them. It does not pay to break the judge."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from toy_judge import Body, Raw, Script, Server, a_judge, answer, batch, chat, judge, opened, parts, problem, right

# --- replies that cannot be read --------------------------------------------------------------------

UNREADABLE = {
    "malformed JSON": (200, {}, b'{"choices": [{'),
    "not JSON at all": (200, {}, b"<html>busy</html>"),
    "no choices": (200, {}, b'{"choices": []}'),
    "no text": (200, {}, b'{"choices": [{"message": {"content": null}}]}'),
    "a list": (200, {}, b"[1, 2]"),
    "both verdicts": chat("CORRECT\nWRONG"),
    "a verdict in prose": chat("I would say that it is CORRECT."),
    "cut off": chat("CORRECT", finish="length"),
    "a megabyte of nothing": chat("x" * 1_000_000),
    "more than is read": (200, {}, b'"' + b"CORRECT\\n" * 200_000 + b'"'),
    "the token inside another": chat("INCORRECT"),
    "NaN": (200, {}, b'{"choices": NaN}'),
}


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_asked_for_once_more(raw: Raw) -> None:
    with judge(Script(fault=lambda server, n, body: raw if n == 0 else None)) as server:
        score = a_judge(server.url).score(problem(1), answer("2"))
    assert server.faults == 1
    assert (score.value, score.reason) == (1.0, "correct")
    assert len(server.asked) == 2
    assert "not counted" in server.asked[1][1]["messages"][1]["content"]


@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_answer_that_makes_replies_unreadable_is_to_blame_when_the_judge_is_well(raw: Raw, tmp_path: Path) -> None:
    def mad(server: Server, number: int, body: Body) -> Raw | None:
        return raw if parts(body)["ANSWER"] == "boom" else None

    with judge(Script(fault=mad)) as server:
        own = a_judge(server.url)
        opened(own, tmp_path)
        score = own.score(problem(1), answer("boom"))
        assert (score.value, score.status, score.reason) == (0.0, "answer_failure", "judge_unreadable")
        assert server.faults == 3
        assert len(server.asked) == 3 + 2
        metrics, before = own.metrics(), len(server.asked)
        again = a_judge(server.url)
        opened(again, tmp_path)
        assert again.score(problem(1), answer("boom")) == score
        assert again.metrics() == metrics
    assert len(server.asked) == before


def test_a_judge_that_has_gone_mad_says_nothing_of_any_answer() -> None:
    with judge(Script(fault=lambda server, n, body: chat("I cannot say."))) as server:
        scores = a_judge(server.url).score_all(batch(3))
    assert server.faults >= 18
    assert {(score.status, score.reason) for score in scores} == {("infrastructure", "judge_unreadable")}


def test_a_judge_that_says_correct_to_all_takes_no_blame_to_an_answer() -> None:
    """It is not well: it cannot tell the right answer of its own questions from the wrong one."""

    def lost(server: Server, number: int, body: Body) -> Raw | None:
        return chat("?") if parts(body)["ANSWER"] == "boom" else chat("CORRECT")

    with judge(Script(fault=lost)) as server:
        score = a_judge(server.url).score(problem(1), answer("boom"))
    assert score.status == "infrastructure"


@pytest.mark.parametrize("status", [400, 403, 413, 422, 500])
def test_an_answer_that_the_server_does_not_take_is_to_blame_when_others_are_taken(status: int) -> None:
    def touchy(server: Server, number: int, body: Body) -> Raw | None:
        return (status, {}, b"no") if "DROP TABLE" in parts(body)["ANSWER"] else None

    with judge(Script(fault=touchy)) as server:
        scores = a_judge(server.url, endpoint={"give_up_s": 1}).score_all(
            [*batch(5), (problem(9), answer("'; DROP TABLE x"))]
        )
    assert server.faults >= 2
    assert right(scores[:-1])
    assert (scores[-1].value, scores[-1].status) == (0.0, "answer_failure")
    assert scores[-1].reason == f"judge_failed: HTTP {status}"


def test_an_answer_to_which_no_reply_comes_is_no_verdict_although_others_are_answered() -> None:
    def slow(server: Server, number: int, body: Body) -> Raw | None:
        if "linger" in parts(body)["ANSWER"]:
            time.sleep(1.0)
        return None

    with judge(Script(fault=slow)) as server:
        endpoint = {"timeout_s": 0.2, "give_up_s": 0.5}
        scores = a_judge(server.url, endpoint=endpoint).score_all([*batch(5), (problem(9), answer("linger"))])
    assert len(server.asked) > 8, "the one was asked again, and the judge looked at"
    assert right(scores[:-1])
    assert (scores[-1].status, scores[-1].reason) == ("infrastructure", "judge_failed: no answer")


def test_a_reply_that_drips_for_ever_is_given_up_and_asked_for_again() -> None:
    with judge(Script(drip=lambda number: number == 0)) as server:
        score = a_judge(server.url, endpoint={"timeout_s": 0.5, "give_up_s": 20}).score(problem(1), answer("2"))
    assert len(server.asked) == 2
    assert score.value == 1.0


def test_in_pairs_the_one_that_breaks_the_judge_loses_to_all() -> None:
    def says(body: Body) -> str:
        shown = parts(body)
        if "boom" in shown.values():
            return "BOOM"
        first, second = len(shown["ANSWER A"]), len(shown["ANSWER B"])
        return "A" if first > second else "B"

    with judge(Script(says=says)) as server:
        own = a_judge(server.url, mode="pairwise")
        scores = own.score_all([(problem(1), answer(text)) for text in ("abc", "boom", "ab", "a")])
    assert [score.value for score in scores] == pytest.approx([1.0, 0.0, 2 / 3, 1 / 3])
    assert scores[1].status == "answer_failure"


def breaks(*texts: str) -> Script:
    """A judge that favours the longer answer, and that these texts break."""

    def fault(server: Server, number: int, body: Body) -> Raw | None:
        return chat("I cannot say.") if set(texts) & set(parts(body).values()) else None

    def says(body: Body) -> str:
        shown = parts(body)
        return "A" if len(shown["ANSWER A"]) > len(shown["ANSWER B"]) else "B"

    return Script(says=says, fault=fault)


@pytest.mark.parametrize(
    ("texts", "worth"),
    [
        (["boom", "ab"], [None, 1.0]),
        (["boom", "ab", ""], [None, 1.0, 0.0]),
        (["boom", "boom", "ab"], [None, None, 1.0]),
        (["boom", "bang", "ab"], [None, None, 1.0]),
        (["boom", "bang"], [None, None]),
    ],
)
def test_in_pairs_each_is_asked_about_alone_where_no_other_shows_who_broke_the_judge(
    texts: list[str], worth: list[float | None], tmp_path: Path
) -> None:
    with judge(breaks("boom", "bang")) as server:
        own = a_judge(server.url, mode="pairwise")
        opened(own, tmp_path)
        scores = own.score_all([(problem(1), answer(text)) for text in texts])
        assert server.faults > 3
        assert [score.value for score in scores] == [0.0 if each is None else each for each in worth]
        assert [score.status == "answer_failure" for score in scores] == [each is None for each in worth]
        before = len(server.asked)
        again = a_judge(server.url, mode="pairwise")
        opened(again, tmp_path)
        assert again.score_all([(problem(1), answer(text)) for text in texts]) == scores
    assert len(server.asked) == before


def test_of_a_pair_that_breaks_the_judge_only_together_nothing_is_said() -> None:
    def fault(server: Server, number: int, body: Body) -> Raw | None:
        return chat("I cannot say.") if {"ab", "abc"} <= set(parts(body).values()) else None

    with judge(Script(says=breaks().says, fault=fault)) as server:
        own = a_judge(server.url, mode="pairwise")
        scores = own.score_all([(problem(1), answer(text)) for text in ("ab", "abc")])
    assert server.faults >= 6
    assert {score.status for score in scores} == {"infrastructure"}
    assert {"ab", "abc"} <= {
        text for _, body in server.asked if "?" in parts(body).values() for text in parts(body).values()
    }
