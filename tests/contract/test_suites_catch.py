"""The suites can fail: what breaks a promise is caught by the test of that promise, in a sentence without a stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r1core.testing import AdvantageSuite, FilterSuite, RewardSuite, SourceSuite
from r1core.testing.suite import ComponentSuite

BROKEN = Path(__file__).parents[1] / "fixtures" / "broken"

# --- what breaks a promise ---------------------------------------------------------------------------


def said(suite: type[ComponentSuite], cls: str, test: str, **attributes: Any) -> str:
    """The sentence with which a test of the suite fails on a class of tests/fixtures/broken."""
    file = BROKEN / f"{suite.kind}s.py"
    return sentence(made(suite, component=f"{file}:{cls}", **attributes), test)


def made(suite: type[ComponentSuite], **attributes: Any) -> type[ComponentSuite]:
    return type("Chosen", (suite,), attributes)


def sentence(suite: type[ComponentSuite], test: str) -> str:
    with pytest.raises(pytest.fail.Exception) as caught:
        getattr(suite(), test)()
    text = str(caught.value)
    assert caught.value.pytrace is False
    assert "Traceback" not in text
    return text


REWARDS = [
    ("Exact", "test_the_cases_can_fail", {"cases": ""}, 'names no cases: set cases = "cases.jsonl"'),
    ("Exact", "test_the_cases_can_fail", {"cases": "all_right.jsonl"}, "expects 0, the reward's lowest"),
    ("Exact", "test_the_cases_can_fail", {"cases": "all_wrong.jsonl"}, "expects more than 0: add an answer worth"),
    ("Exact", "test_every_case_is_as_expected", {"cases": "none.jsonl"}, "cannot read"),
    (
        "Exact",
        "test_every_case_is_as_expected",
        {"cases": "mistaken.jsonl"},
        "row 4 (no matter how), response '<think>hm</think><answer>YES</answer>', gold \"yes\": expected 1, got 0 ",
    ),
    ("RefusesCase", "test_it_refuses_no_gold_of_its_cases", {}, "refuses says 'not a number'; mend the case's gold"),
    ("RaisesOnGold", "test_no_gold_makes_refuses_raise", {}, "gold None: refuses raised verifier_error: Attribute"),
    ("HangsOnGold", "test_no_gold_makes_refuses_raise", {}, "gold []: refuses raised verifier_timeout"),
    ("Mistaken", "test_its_sentinels_are_worth_what_it_says", {}, "gold 'yes': declared 1, got 0 (no reason given)"),
    ("OnlyRight", "test_its_sentinels_tell_a_broken_grader", {}, "all of its sentinels are worth 1: add one"),
    ("NoSentinels", "test_its_sentinels_tell_a_broken_grader", {}, "sentinels raised FileNotFoundError: gone"),
    ("NotANumber", "test_every_score_is_a_finite_number", {}, "score returned Score(value=nan"),
    ("Bare", "test_every_score_is_a_finite_number", {}, "score returned 1.0; return a Score"),
    ("Moody", "test_the_same_answer_gets_the_same_score", {}, "asked again 0."),
    ("Remembers", "test_the_same_answer_gets_the_same_score", {}, "1 (number 0), asked again 1 (number 5)"),
    (
        "Raises",
        "test_no_answer_makes_it_raise",
        {},
        "row 3 (no answer), response 'nothing', gold \"yes\": score raised AttributeError: 'NoneType' object has no",
    ),
    ("TakesItselfOut", "test_no_answer_takes_itself_out", {}, "failure (cannot_read)"),
    ("Hangs", "test_hostile_answers_end_in_time", {}, "the reward was not done after 0.5 s (timeout_s), twice"),
    (
        "Crashes",
        "test_hostile_answers_end_in_time",
        {},
        "brackets, 40035 characters: the reward took its worker down",
    ),
    ("Anywhere", "test_an_answer_that_is_not_there_is_not_paid", {}, "the gold without a think block is worth 1"),
    ("Unfinished", "test_an_answer_that_is_not_there_is_not_paid", {}, "cut off before its last tag is worth 1"),
    ("Lenient", "test_answer_spam_is_not_paid", {}, "a list of eleven answers is worth 1, as much as the gold"),
    ("AnswersIfLong", "test_garbage_is_not_paid", {}, "100 kB of garbage is worth 1"),
    (
        "WantsThinkTag",
        "test_a_think_tag_that_the_prompt_opened_changes_nothing",
        {},
        "but 0 (no reason given) where the prompt",
    ),
    ("Alarmed", "test_it_works_off_the_main_thread", {}, "off the main thread score raised ValueError: signal only"),
    (
        "ReadsText",
        "test_it_reads_no_more_than_it_sees",
        {},
        "1 (short), shown the text too 1 (long)",
    ),
    ("Unbuildable", "test_every_case_is_as_expected", {}, "cannot be built: ModuleNotFoundError"),
]

ADVANTAGES = [
    ("NeedsMore", "test_its_needs_are_known", {}, "needs 'reward', not provided; did you mean 'rewards'?"),
    ("Undeclared", "test_every_advantage_is_finite", {}, "raised AttributeError: 'NoneType' object has no attribute"),
    ("Numbers", "test_every_sample_gets_an_array_of_one_or_of_its_tokens", {}, "return a float array of (1,) or (T,)"),
    ("TwoEach", "test_every_sample_gets_an_array_of_one_or_of_its_tokens", {}, "got an array of shape (2,)"),
    ("Shorter", "test_every_sample_gets_an_array_of_one_or_of_its_tokens", {}, "a group of 6 samples got 5 advantages"),
    ("OneGroup", "test_every_sample_gets_an_array_of_one_or_of_its_tokens", {}, "asked about 1 groups, got ndarray"),
    ("Unguarded", "test_every_advantage_is_finite", {}, "got [nan]; guard the division"),
    ("Teaching", "test_what_its_critic_learns_fits_its_tokens", {}, "tokens got returns array([1.]); give (T,)"),
    ("InPlace", "test_it_changes_nothing_that_it_is_given", {}, "it changed rewards_G of what it was given"),
    ("Drawn", "test_the_same_groups_get_the_same_advantages", {}, "asked twice ["),
    ("Running", "test_a_group_does_not_depend_on_other_groups", {}, "alone, ["),
    (
        "Centred",
        "test_its_claims_are_known",
        {"properties": ("zero_mean", "shift_invarient")},
        "mean 'shift_invariant'?",
    ),
    (
        "First",
        "test_its_claims_hold",
        {"properties": ("zero_mean",)},
        "to be zero_mean; random rewards 0: the mean of [",
    ),
    ("Ratio", "test_its_claims_hold", {"properties": ("shift_invariant",)}, "with 2.5 added to all rewards ["),
    ("Centred", "test_its_claims_hold", {"properties": ("scale_invariant",)}, "with rewards three times as large ["),
    (
        "First",
        "test_its_claims_hold",
        {"properties": ("permutation_equivariant",)},
        "in another order",
    ),
    (
        "Centred",
        "test_it_is_its_reference",
        {"reference": lambda suite, group: [np.array([r]) for r in group.rewards_G]},
        "by the reference [",
    ),
]

FILTERS = [
    ("NeedsMore", "test_its_needs_are_known", {}, "needs 'score', not provided; did you mean 'scores'?"),
    ("Booleans", "test_every_rollout_gets_one_verdict", {}, "not a list of verdicts"),
    ("OnlyKept", "test_every_rollout_gets_one_verdict", {}, "verdicts for 4 rollouts"),
    ("BestFirst", "test_a_verdict_goes_with_its_rollout", {}, "in reverse order ["),
    ("FirstTwo", "test_a_verdict_goes_with_its_rollout", {}, "set by_place = True where the place decides"),
    ("Silent", "test_a_rejection_has_a_reason", {}, "without a reason; write Verdict(keep=False, reason=...)"),
    ("Marks", "test_it_changes_nothing_that_it_is_given", {}, "judge changed what it was given"),
    ("Trusting", "test_an_unknown_score_does_not_raise", {}, "1 of its 4 scores unknown: judge raised ValueError"),
    ("Undeclared", "test_unscored_groups_are_judged", {}, "without scores: judge raised IndexError"),
    (
        "Best",
        "test_its_cases_are_as_expected",
        {"cases": "mistaken_groups.jsonl"},
        "row 1 (half is not enough): expected keep [True, False], got [True, True]; responses 'a', 'b'",
    ),
    ("Best", "test_its_cases_are_as_expected", {"cases": "uneven_groups.jsonl"}, "2 responses and 1 keep"),
    ("Forgetful", "test_it_goes_on_after_a_kill_as_if_there_was_none", {}, "its state was {}: return all that it"),
    ("SetInState", "test_it_goes_on_after_a_kill_as_if_there_was_none", {}, "state() is not JSON"),
]

EXACT = f"{BROKEN / 'rewards.py'}:Exact"
SOURCES = [
    ("Empty", "test_it_has_problems", {}, "no problem with seed 1; a source is never empty"),
    ("Raises", "test_it_has_problems", {}, "problems(seed=0) raised IndexError: list index out of range"),
    ("Shuffled", "test_the_order_is_the_same_twice", {}, "is another one asked again; draw from Random(seed)"),
    ("Hashed", "test_the_order_is_the_same_in_another_process", {}, "is another one in a process with PYTHONHASHSEED="),
    ("Twice", "test_ids_are_unique", {}, "problems 0 and 50 (seed 0) have the same id '0/0'"),
    ("Bot", "test_messages_are_well_formed", {}, "message 0 has the role 'bot'; roles: system, user, assistant"),
    ("Mute", "test_messages_are_well_formed", {}, "neither messages nor a completion"),
    ("Tuples", "test_references_and_meta_are_json", {}, "reference (0, 1) changes on its way through JSON"),
    ("Sets", "test_references_and_meta_are_json", {}, "meta is not JSON: Object of type set"),
    (
        "Miscounted",
        "test_the_gold_is_worth_one",
        {"reward": EXACT},
        "(seed 0, id '0/100'): its gold 'null'",
    ),
    ("Counting", "test_the_gold_is_worth_one", {"reward": "acuracy"}, "did you mean 'accuracy'?"),
    (
        "Counting",
        "test_the_gold_is_worth_one",
        {"reward": "playground_safe"},
        "an empty answer is worth 1",
    ),
]
BREACHES = {RewardSuite: REWARDS, AdvantageSuite: ADVANTAGES, FilterSuite: FILTERS, SourceSuite: SOURCES}
ALL = [(suite, *breach) for suite, breaches in BREACHES.items() for breach in breaches]


@pytest.mark.parametrize(
    ("suite", "cls", "test", "attributes", "words"), ALL, ids=[f"{b[0]}-{b[1]}-{i}" for i, (_, *b) in enumerate(ALL)]
)
def test_a_broken_promise_is_said(
    suite: type[ComponentSuite], cls: str, test: str, attributes: dict[str, Any], words: str
) -> None:
    given = {"cases": "cases.jsonl", **attributes} if suite is RewardSuite else attributes
    text = said(suite, cls, test, **given)
    assert words in text
    assert len(text) < 600


@pytest.mark.parametrize("suite", BREACHES, ids=lambda suite: suite.__name__)
def test_every_promise_of_a_suite_is_broken_by_somebody(suite: type[ComponentSuite]) -> None:
    promised = {name for name in vars(suite) if name.startswith("test_")}
    assert promised == {test for _, test, _, _ in BREACHES[suite]}


KEPT: Sequence[type[ComponentSuite]] = [
    made(RewardSuite, component=EXACT, cases="cases.jsonl"),
    made(AdvantageSuite, component=f"{BROKEN / 'advantages.py'}:Centred", properties=("zero_mean", "shift_invariant")),
    made(FilterSuite, component=f"{BROKEN / 'filters.py'}:Best", cases="groups.jsonl"),
    made(FilterSuite, component=f"{BROKEN / 'filters.py'}:Remembering"),
    made(FilterSuite, component=f"{BROKEN / 'filters.py'}:FirstTwo", by_place=True),
    made(SourceSuite, component=f"{BROKEN / 'sources.py'}:Counting", reward=EXACT),
]


@pytest.mark.parametrize("suite", KEPT, ids=lambda suite: suite.component.rpartition(":")[2])
def test_what_keeps_all_promises_passes(suite: type[ComponentSuite]) -> None:
    tests = [name for name in dir(suite) if name.startswith("test_")]
    assert len(tests) > 7
    for name in tests:
        getattr(suite(), name)()


# --- what an author may mean -------------------------------------------------------------------------


def test_a_case_may_pay_for_an_answer_that_was_cut_off() -> None:
    test = "test_an_answer_that_is_not_there_is_not_paid"
    suite = made(RewardSuite, component=f"{BROKEN / 'rewards.py'}:Unfinished", cases="cut.jsonl")
    getattr(suite(), test)()
    assert "cut off" in said(RewardSuite, "Unfinished", test, cases="cases.jsonl")


def test_a_reward_that_compares_with_nothing_may_pay_for_anything() -> None:
    for cls, test in (("Lenient", "test_answer_spam_is_not_paid"), ("AnswersIfLong", "test_garbage_is_not_paid")):
        component = f"{BROKEN / 'rewards.py'}:{cls}"
        getattr(made(RewardSuite, component=component, cases="cases.jsonl", compares_with_gold=False)(), test)()


def test_a_reward_may_need_the_main_thread() -> None:
    component = f"{BROKEN / 'rewards.py'}:Alarmed"
    suite = made(RewardSuite, component=component, cases="cases.jsonl", off_main_thread=False)
    suite().test_it_works_off_the_main_thread()  # type: ignore[attr-defined]


# --- a stranger's own tests --------------------------------------------------------------------------

PLUGIN = """
from r1core import Reward, Score, hookimpl

class Same(Reward):
    '''1 when the answer is the reference.'''
    name = "same"
    def score(self, problem, response):
        return Score(value=float(response.answer == problem.reference and response.finish == "stop"))

@hookimpl
def r1_rewards():
    return [Same]
"""
TEST = """
from r1core.testing import RewardSuite

class TestSame(RewardSuite):
    component = "units/same"
    cases = "cases.jsonl"
"""


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """stranger(cases) runs the tests of an installed distribution, from a folder that knows nothing of this one."""
    site, project = tmp_path / "site", tmp_path / "project"
    info = site / "r1core_units-0.1.dist-info"
    for folder in (site / "units", info, project):
        folder.mkdir(parents=True)
    (site / "units" / "__init__.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: r1core-units\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[r1core]\nunits = units\n")
    (project / "test_units.py").write_text(TEST)

    def run(cases: str) -> subprocess.CompletedProcess[str]:
        (site / "units" / "cases.jsonl").write_text((BROKEN / cases).read_text())
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(site), "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_stranger_inherits_the_suite_in_three_lines(stranger: Any) -> None:
    done = stranger("cases.jsonl")
    assert done.returncode == 0, done.stdout
    tests = [name for name in dir(RewardSuite) if name.startswith("test_")]
    assert f"{len(tests)} passed" in done.stdout


def test_a_stranger_reads_a_sentence_and_no_stack(stranger: Any) -> None:
    done = stranger("mistaken.jsonl")
    assert done.returncode == 1
    assert "row 4 (no matter how), response" in done.stdout
    assert "1 failed" in done.stdout
    assert "r1core/testing" not in done.stdout
