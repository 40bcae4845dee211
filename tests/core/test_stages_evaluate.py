"""Evaluation: the arithmetic of pass@k and its intervals, and a whole stage of it."""

from __future__ import annotations

import itertools
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy_runs import contents, job_of
from toy_stages import WEIGHTS

from r1core.events import StepDone
from r1core.recipe.schema import EvalSet
from r1core.stages import run_stage
from r1core.stages.estimates import broken_down, field_of, interval, mean, pass_at_k
from r1core.stages.measured import by_problem, correctness, details, measured
from r1core.store import read_json, read_rows, rollout_row, write_rows
from r1core.types import Problem, Response, Rollout, Score, Verdict

NAN = math.nan

# --- pass@k ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "correct", "k", "value"),
    [
        (4, 1, 2, 0.5),
        (4, 1, 1, 0.25),
        (4, 2, 2, 5 / 6),
        (5, 0, 3, 0.0),
        (5, 3, 3, 1.0),
        (64, 1, 64, 1.0),
        (10, 10, 1, 1.0),
        (1, 1, 1, 1.0),
        (3, 0, 5, 0.0),
        (3, 1, 5, 1.0),
    ],
)
def test_pass_at_k_golden(n: int, correct: int, k: int, value: float) -> None:
    assert pass_at_k(n, correct, k) == pytest.approx(value, abs=1e-12)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer(case: tuple[int, int, int]) -> None:
    n, correct, k = case
    draws = list(itertools.combinations([i < correct for i in range(n)], k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


# --- intervals ---------------------------------------------------------------------------------------

SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=40).map(np.array)


@given(SHARES)
def test_an_interval_holds_the_mean_within_0_and_1(values: np.ndarray) -> None:
    low, high = interval(values)
    assert 0 <= low <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= high <= 1


@given(SHARES)
@example(np.array([0.0, 0.0, 2.220446049250313e-16]))
def test_wrong_for_right_mirrors_the_interval(values: np.ndarray) -> None:
    low, high = interval(values)
    assert interval(1 - values) == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_an_interval_of_yes_and_no_is_wilsons() -> None:
    # 3 of 10 right; the unbiased spread is worth 9 trials: (.3 + z2/18 +- z sqrt(.21/9 + z2/324)) / (1 + z2/9)
    low, high = interval(np.array([1.0] * 3 + [0.0] * 7))
    assert (low, high) == pytest.approx((0.102147, 0.617511), abs=1e-6)


def test_an_interval_is_not_empty_where_all_are_right_or_wrong() -> None:
    low, high = interval(np.ones(24))
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(24 / (24 + 1.959964**2))
    assert interval(np.zeros(24)) == pytest.approx((0.0, 1 - low))


def test_more_problems_and_more_answers_make_surer() -> None:
    few, many = np.tile([0.0, 1.0], 20), np.tile([0.0, 1.0], 80)
    surer = np.tile([0.25, 0.75], 20)
    widths = [high - low for low, high in (interval(few), interval(many), interval(surer, answers=4))]
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.05)
    assert widths[2] == pytest.approx(widths[1], rel=0.05)


def test_like_values_are_no_surer_than_their_answers() -> None:
    like = np.full(10, 0.5)
    few, many = interval(like, answers=2), interval(like, answers=8)
    assert few[0] == pytest.approx(interval(np.tile([0.0, 1.0], 10))[0], abs=0.01)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


@given(SHARES, st.integers(0, 5))
def test_problems_without_a_verdict_count_nowhere(values: np.ndarray, lost: int) -> None:
    with_nan = np.concatenate([values, np.full(lost, NAN)])
    assert interval(with_nan) == interval(values)
    assert mean(with_nan) == pytest.approx(values.mean())


def test_nothing_known_says_nothing() -> None:
    assert math.isnan(mean([]))
    assert math.isnan(mean([NAN, NAN]))
    assert interval(np.array([NAN, 1.0])) == (0.0, 1.0)


# --- fields ------------------------------------------------------------------------------------------


def row(number: int = 0, *, language: str = "en", scored: Score | None = None, **meta: object) -> dict[str, Any]:
    """An answer of three tokens to problem `number`."""
    asked = Problem(id=str(number), domain="odd" if number % 2 else "even", language=language, meta=meta)
    ids = np.arange(3)
    rollout = Rollout(
        problem=asked, sample=0, prompt_ids=ids, completion_ids=ids, logprobs=None, response=Response.parse("")
    )
    return rollout_row(rollout, scored, Verdict(keep=True))


def test_results_are_broken_down_by_fields_and_by_meta() -> None:
    rows = [row(0, size=2), row(1, size=2), row(2, size=3), row(3)]
    found = broken_down("hard", rows, np.array([1.0, 0.0, 0.0, NAN]), ["domain", "size"])
    assert math.isnan(found.pop("hard/size=none"))
    assert found == {"hard/domain=even": 0.5, "hard/domain=odd": 0.0, "hard/size=2": 0.5, "hard/size=3": 0.0}


def test_a_field_of_which_nothing_is_known_is_no_number() -> None:
    found = broken_down("s", [row(0), row(1)], np.array([NAN, 1.0]), ["domain"])
    assert math.isnan(found["s/domain=even"])
    assert found["s/domain=odd"] == 1.0


def test_a_field_of_the_problem_goes_before_its_meta() -> None:
    assert field_of({**row(language="zh"), "meta": {"language": "fr", "n": 3}}, "language") == "zh"
    assert field_of(row(n=3), "n") == "3"


def answers(*scores: Score) -> list[dict[str, Any]]:
    return [row(scored=score) for score in scores]


def score(**parts: float) -> Score:
    return Score(value=sum(parts.values()), parts=parts)


LOST = Score(value=NAN, status="infrastructure", parts={"right": NAN, "nice": NAN})


def test_answers_without_a_verdict_are_neither_right_nor_wrong() -> None:
    rows_PG = [
        answers(score(right=1.0), LOST),
        answers(score(right=0.0), score(right=1.0)),
        answers(LOST, LOST),
        answers(score(x=1)),
    ]
    np.testing.assert_array_equal(correctness(rows_PG, "right", 1), [1.0, 0.5, NAN, NAN])


def test_an_answer_is_right_from_one_half_on() -> None:
    np.testing.assert_array_equal(correctness([answers(score(right=0.5), score(right=0.49))], "right", 1), [0.5])


def test_details_are_means_of_what_is_known() -> None:
    found = details(answers(score(right=1.0, nice=0.5), LOST, score(right=0.0, nice=1.0)), "right")
    assert found == {"nice": 0.75, "length": 3.0, "clipped_ratio": 0.0}


def test_each_problem_has_as_many_rows_as_answers() -> None:
    assert by_problem([row(n) for n in (0, 0, 1, 1)], 2) == [[row(0), row(0)], [row(1), row(1)]]
    assert by_problem([], 2) == []


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from([score(right=1.0, nice=0.3), score(right=0.0, nice=0.1), LOST]), min_size=4, max_size=4)
)
def test_rows_say_the_same_in_memory_and_read_from_disk(scores: list[Score]) -> None:
    sets = {"pass@1": EvalSet(problems="any", samples=2, by=["domain", "size"])}
    rows = [row(number // 2, scored=scores[number], size=(1, 2)[number // 2]) for number in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), rows)
        found = [measured(sets, {"pass@1": own}, correct_part="right") for own in (rows, list(read_rows(Path(folder))))]
    assert repr(found[0].row("m")) == repr(found[1].row("m"))


# --- the stage ---------------------------------------------------------------------------------------

STAGES = """\
  weak: BASE
  strong: BASE
  table:
    evaluate:
      chunk: CHUNK
      sets:
        pass@1: {problems: Numbers, limit: 40, samples: 2, by: [domain, digits]}
        greedy: {problems: Numbers, limit: 10, temperature: 0}
        pass@4: {problems: {use: Numbers, count: 6}, samples: 8, k: 4, models: [strong]}
    models: [weak, strong]
    rewards: [Exact, {use: Brief, down: ["3", "4"]}]
    scoring: {max_infrastructure_rate: 0.5}
"""


def evaluated(folder: Path, chunk: int = 7) -> Path:
    """The data folder of a table of two models, of skill 0.3 and 0.8."""
    models = {}
    for name, skill in (("weak", 0.3), ("strong", 0.8)):
        models[name] = folder / name
        models[name].mkdir(parents=True)
        (models[name] / WEIGHTS).write_text(json.dumps({"skill": skill}))
    job, events = job_of(folder, STAGES.replace("CHUNK", str(chunk)), "table", **models)
    metrics = run_stage(job)
    assert metrics["strong/greedy"] == 1.0
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [(event.step, event.total) for event in steps] == [(1, 2), (2, 2)]
    assert steps[0].sample is not None
    return job.folder / "data"


def test_a_table_has_a_row_for_each_model_with_its_sets(tmp_path: Path) -> None:
    weak, strong = read_json(evaluated(tmp_path) / "results.json")
    assert (weak["model"], strong["model"]) == ("weak", "strong")
    assert "pass@4" not in weak["metrics"]
    assert strong["metrics"]["pass@4"] > strong["metrics"]["pass@1"]
    assert 0.1 < weak["metrics"]["pass@1"] < 0.5 < strong["metrics"]["pass@1"] < 1
    for field in ("domain=even", "domain=odd", "digits=1", "digits=2"):
        assert 0 <= weak["metrics"][f"pass@1/{field}"] <= 1
    low, high = strong["metrics"]["pass@1_ci95"]
    assert low < strong["metrics"]["pass@1"] < high
    assert 0 < weak["metrics"]["Brief"] < 1


def test_answers_lie_beside_the_table_with_their_scores(tmp_path: Path) -> None:
    rows = list(read_rows(evaluated(tmp_path) / "weak" / "pass@1"))
    assert len(rows) == 80
    lost = [row for row in rows if row["status"] == "infrastructure"]
    assert {row["id"] for row in lost} == {"3", "4"}
    assert all(math.isnan(row["score"]) for row in lost)


def test_the_same_models_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (contents(evaluated(tmp_path / name)) for name in ("one", "two"))
    assert one == two


def test_each_chunk_of_a_set_is_a_part_of_its_own_and_chunks_change_no_answer(tmp_path: Path) -> None:
    small, large = (evaluated(tmp_path / str(chunk), chunk) for chunk in (7, 40))
    assert sorted(path.name for path in (small / "weak" / "pass@1").iterdir()) == [
        f"part-0000{n}.parquet" for n in range(6)
    ]
    assert (small / "results.json").read_bytes() == (large / "results.json").read_bytes()
    for folder in ("weak/pass@1", "weak/greedy", "strong/pass@4"):
        assert repr(list(read_rows(small / folder))) == repr(list(read_rows(large / folder)))


def test_a_model_for_which_no_set_is_meant_has_an_empty_row(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / WEIGHTS).write_text(json.dumps({"skill": 1.0}))
    stages = """\
  one: BASE
  two: BASE
  table:
    evaluate: {sets: {pass@1: {problems: Numbers, limit: 2, models: [two]}}}
    models: [one, two]
    rewards: [Exact]
"""
    job, _ = job_of(tmp_path, stages, "table", one=tmp_path / "only", two=tmp_path / "only")
    run_stage(job)
    one, two = read_json(job.folder / "data" / "results.json")
    assert one == {"model": "one", "metrics": {}}
    assert two["metrics"]["pass@1"] == 1.0


def test_all_models_get_the_same_draws(tmp_path: Path) -> None:
    data = evaluated(tmp_path)
    weak, strong = (list(read_rows(data / model / "pass@1")) for model in ("weak", "strong"))
    assert [row["thinking"] for row in weak] == [row["thinking"] for row in strong]  # the toy thinks its key
    assert all(w["score"] <= s["score"] for w, s in zip(weak, strong, strict=True) if not math.isnan(w["score"]))
