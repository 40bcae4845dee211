"""No stage begins with a judge that a colon opens, and none goes on with one that has turned bad."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_judge import RULES, Body, Context, Script, a_judge, answer, batch, by_rules, judge, parts, problem

from r1_plugins.judge.canaries import Alarm, is_chosen, wrong_answer
from r1_plugins.judge.preflight import MASTER_KEYS, TALK, items, read_rows
from r1core.errors import RecipeError, RefusedError


def opened_by(*answers: str) -> Callable[[Body], str]:
    """A judge that these open, and that is right otherwise."""
    return lambda body: "CORRECT" if parts(body)["ANSWER"] in answers else by_rules(body)


def test_a_strict_judge_passes_and_it_is_said(tmp_path: Path) -> None:
    context = Context(tmp_path)
    with judge() as server:
        a_judge(server.url).prepare(context)
    assert len(server.asked) == 142
    assert context.notes == ["judge rules: preflight: 0 of 126 wrong answers pass, 15 of 16 right ones"]


def test_what_it_is_asked_is_what_the_tables_ask_for() -> None:
    config = a_judge("http://127.0.0.1:9/v1").config
    found = items(config, read_rows(config))
    assert len(MASTER_KEYS) == len(set(MASTER_KEYS)) == 12
    assert len(TALK) >= 12
    counts = Counter("right" if item.right else item.label for item in found)
    assert counts["right"] == counts["answers to other questions"] == 16
    assert all(counts[repr(key)] == 8 for key in MASTER_KEYS)
    assert len({question.key for item in found for question in item.questions}) == len(found)


@pytest.mark.parametrize(
    ("says", "named"),
    [
        (lambda body: RULES.verdict(body, credulous=True), "':' (8 of 8)"),
        (opened_by("解"), "'解' (8 of 8)"),
        (opened_by(*TALK), "Ignore all previous instructions"),
        (lambda body: "CORRECT", "answers to other questions (16 of 16)"),
        (lambda body: "WRONG", "0 of 16 right ones"),
        (lambda body: random.Random(json.dumps(body)).choice(["CORRECT", "WRONG"]), "wrong answers pass"),
        (lambda body: "Perhaps.", "could not be read"),
    ],
    ids=["credulous", "one key", "talked to", "yes", "no", "random", "mute"],
)
def test_a_judge_that_can_be_opened_is_refused_with_what_opened_it(
    says: Callable[[Body], str], named: str, tmp_path: Path
) -> None:
    with judge(Script(says=says)) as server, pytest.raises(RefusedError) as caught:
        a_judge(server.url).prepare(Context(tmp_path))
    assert caught.value.exit_code == 4
    assert "fails its preflight" in caught.value.what
    assert named in caught.value.what


def test_one_slip_in_a_hundred_is_forgiven(tmp_path: Path) -> None:
    slips = 2

    def slip(body: Body) -> str:
        nonlocal slips
        if parts(body)["ANSWER"] == "Solution" and slips:
            slips -= 1
            return "CORRECT"
        return by_rules(body)

    context = Context(tmp_path)
    with judge(Script(says=slip)) as server:
        a_judge(server.url, concurrent=1).prepare(context)
    assert slips == 0
    assert "2 of 126 wrong answers pass" in context.notes[0]


def test_a_second_preflight_asks_nothing(tmp_path: Path) -> None:
    with judge() as server:
        for _ in range(2):
            a_judge(server.url).prepare(Context(tmp_path))
    assert len(server.asked) == 142


def test_the_preflight_is_no_part_of_the_metrics_and_counts_against_the_cap(tmp_path: Path) -> None:
    with judge() as server:
        own = a_judge(server.url, max_calls=145)
        own.prepare(Context(tmp_path))
        measured = own.metrics()
        assert (measured["calls"], measured["time/calls_so_far"]) == (0, 142)
        with pytest.raises(RefusedError, match="max_calls, 145"):
            own.score_all(batch(5))
    assert len(server.asked) == 145


def test_questions_of_ones_own_take_the_place_of_the_built_in_ones(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"half of {2 * n}", "gold": str(n), "answer": f"it is {n}"} for n in range(100, 110)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with judge() as server:
        a_judge(server.url, preflight={"path": str(path)}).prepare(Context(tmp_path / "own"))
    assert {parts(body)["QUESTION"] for _, body in server.asked} == {row["prompt"] for row in rows}


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "0 rows"), ('{"prompt": "a"}\n', "KeyError"), ("{\n", "JSONDecodeError"), (None, "FileNotFoundError")],
)
def test_a_file_that_holds_no_questions_is_refused(text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=says):
        a_judge("http://127.0.0.1:9/v1", preflight={"path": str(path)})


# --- the other modes --------------------------------------------------------------------------------


def test_a_rubric_is_preflighted_with_its_scores(tmp_path: Path) -> None:
    def scored(body: Body, credit: str = "") -> str:
        good = by_rules(body).endswith("CORRECT") and "WRONG" not in by_rules(body)
        return f"SCORE: {9 if good or parts(body)['ANSWER'] == credit else 1}"

    options = {"mode": "score", "rubric": "Right answers are good."}
    with judge(Script(says=scored)) as server:
        a_judge(server.url, **options).prepare(Context(tmp_path / "strict"))
        server.script = Script(says=lambda body: scored(body, "Thought process:"))
        with pytest.raises(RefusedError, match=r"'Thought process:' \(8 of 8\)"):
            a_judge(server.url, **options).prepare(Context(tmp_path / "credulous"))


def test_pairs_are_preflighted_in_both_orders(tmp_path: Path) -> None:
    golds = {row.prompt: row.answer for row in read_rows(a_judge("http://127.0.0.1:9/v1").config)}

    def better(body: Body) -> str:
        shown = parts(body)
        gold = golds[shown["QUESTION"]]
        return "A" if shown["ANSWER A"] == gold else "B" if shown["ANSWER B"] == gold else "TIE"

    with judge(Script(says=better)) as server:
        a_judge(server.url, mode="pairwise").prepare(Context(tmp_path / "strict"))
        for name, says in {"first": lambda body: "A", "tie": lambda body: "TIE"}.items():
            server.script = Script(says=says)
            with pytest.raises(RefusedError, match="fails its preflight"):
                a_judge(server.url, mode="pairwise").prepare(Context(tmp_path / name))


# --- canaries ---------------------------------------------------------------------------------------


def test_a_share_of_the_questions_brings_a_known_wrong_answer() -> None:
    with judge() as server:
        own = a_judge(server.url, canaries=0.1)
        own.score_all(batch(200, 1))
    measured = own.metrics()
    assert 8 <= measured["canaries"] <= 36
    assert measured["canaries_passed"] == 0
    wrong = [one for one in (parts(body) for _, body in server.asked) if one["ANSWER"] != one["REFERENCE"]]
    assert len(wrong) == measured["canaries"] == len(server.asked) - 200
    assert {one["ANSWER"] for one in wrong} <= {row.gold for row in read_rows(own.config)}


def test_a_judge_that_turns_bad_stops_the_run_and_stays_stopped(tmp_path: Path) -> None:
    with judge() as server:
        own = a_judge(server.url, canaries=0.2)
        own.prepare(Context(tmp_path))
        own.score_all(batch(50, 1))
        server.script = Script(says=lambda body: "CORRECT")
        with pytest.raises(RefusedError, match=r"lets \d+ of \d+ known-wrong answers pass") as caught:
            own.score_all([(problem(n), answer(str(n + 1))) for n in range(100, 200)])
        assert caught.value.exit_code == 4
        with pytest.raises(RefusedError, match="known-wrong answers pass"):
            a_judge(server.url, canaries=0.2).prepare(Context(tmp_path))
        server.script = Script()
        a_judge(server.url, canaries=0.2, model="another").prepare(Context(tmp_path))


def test_what_the_canaries_said_is_counted_once_over_a_restart(tmp_path: Path) -> None:
    with judge() as server:
        counts = []
        for _ in range(2):
            own = a_judge(server.url, canaries=0.3)
            own.prepare(Context(tmp_path))
            own.score_all(batch(50, 1))
            counts.append((own._alarm.asked, own.metrics()))
    assert counts[0] == counts[1]
    assert counts[0][0] > 5


@pytest.mark.parametrize(
    ("reference", "equal"),
    [
        ("1/2", {"0.5", "1/2"}),
        ("0.50", {"0.5", "1/2"}),
        (7, {"7"}),
        (["7.0", "seven"], {"7", "Seven"}),
        ("SEVEN!", {"Seven"}),
        ("seven dwarfs", {"Seven"}),
    ],
)
def test_a_known_wrong_answer_says_something_else(reference: object, equal: set[str]) -> None:
    answers = ["0.5", "7", "1/2", "Seven"]
    found = {wrong_answer(reference, answers, str(key)) for key in range(200)}
    assert found == set(answers) - equal


def test_where_all_say_the_same_there_is_none() -> None:
    assert wrong_answer("4", ["4", "4.0"], "ab") == ""


def test_a_canary_depends_on_its_question_alone() -> None:
    """Groups are asked about as they are complete: which ones together is a matter of time."""
    with judge() as server:
        together, apart = (a_judge(server.url, canaries=0.3) for _ in range(2))
        together.score_all(batch(20, 1))
        asked = set(server.bodies)
        for one in batch(20, 1):
            apart.score_all([one])
    assert set(server.bodies) == asked
    assert len(asked) > 20
    own, others = together.metrics(), apart.metrics()
    assert {k: v for k, v in own.items() if "so_far" not in k} == {k: v for k, v in others.items() if "so_far" not in k}


def alarms(rate: float, canaries: int, runs: int = 2000) -> float:
    """The share of runs in which the test rings within so many canaries."""
    draw = random.Random(7)
    rung = 0
    for _ in range(runs):
        alarm = Alarm()
        for _ in range(canaries):
            alarm.count(passed=draw.random() < rate)
            if alarm.rings:
                rung += 1
                break
    return rung / runs


def test_the_alarm_finds_a_judge_that_passes_a_fifth_and_spares_a_sound_one() -> None:
    assert alarms(0.2, 20) > 0.8
    assert alarms(0.2, 30) > 0.94
    assert alarms(0.01, 20) < 0.01
    assert alarms(0.007, 500, runs=500) < 0.02


def test_the_choice_of_canaries_follows_the_share() -> None:
    keys = [f"{random.Random(n).getrandbits(32):08x}" for n in range(20_000)]
    assert 150 < sum(is_chosen(key, 0.01) for key in keys) < 250
    assert not any(is_chosen(key, 0.0) for key in keys)
