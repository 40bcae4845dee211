"""The suite of rewards: every built-in passes it, with the cases that it ships."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from built_ins import built_in, elsewhere, suites
from judge_by_rules import judging
from model_by_hand import write_model

from r1core.testing import RewardSuite

FIXTURES = Path(__file__).parents[1] / "fixtures"
sys.path.insert(0, str(FIXTURES))

from toy_sandbox import ToySandbox, serving  # noqa: E402

KINDS = {"reward"}


class TestAccuracy(RewardSuite):
    component = "accuracy"
    cases = "accuracy_cases.jsonl"


class TestFormat(RewardSuite):
    component = "format"
    cases = "format_cases.jsonl"
    compares_with_gold = False


class TestLanguage(RewardSuite):
    component = "language"
    cases = "language_cases.jsonl"
    compares_with_gold = False


class TestCode(RewardSuite):
    component = "code"
    cases = "code_cases.jsonl"


class TestRemoteCode(RewardSuite):
    """Before a server on loopback; some of the cases of `code`, for each of its calls is one to the server."""

    component = "remote_code"
    cases = str(FIXTURES / "remote_code_cases.jsonl")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        with serving(ToySandbox()) as toy:
            cls.options = {"endpoint": {"url": toy.url}}
            yield


class TestOverlong(RewardSuite):
    component = "overlong"
    options: ClassVar = {"longest": 100, "margin": 40}
    cases = "overlong_cases.jsonl"
    compares_with_gold = False


class TestExact(RewardSuite):
    component = "exact"
    cases = "exact_cases.jsonl"


class TestChoice(RewardSuite):
    component = "choice"
    cases = "choice_cases.jsonl"


class TestNumeric(RewardSuite):
    component = "numeric"
    cases = "numeric_cases.jsonl"


class TestGradedAnswers(RewardSuite):
    component = "graded_answers"
    cases = "graded_answers_cases.jsonl"


class TestJsonSchema(RewardSuite):
    component = "json_schema"
    cases = "json_schema_cases.jsonl"


class TestSensor(RewardSuite):
    component = "sensor"
    cases = "sensor_cases.jsonl"


class TestLength(RewardSuite):
    component = "length"
    options: ClassVar = {"target": 100}
    cases = "length_cases.jsonl"
    compares_with_gold = False


class TestRepetition(RewardSuite):
    component = "repetition"
    cases = "repetition_cases.jsonl"
    compares_with_gold = False


class TestMath(RewardSuite):
    component = "math"
    cases = "math_cases.jsonl"


class TestPlaygroundHelpful(RewardSuite):
    component = "playground_helpful"
    cases = "helpful_cases.jsonl"


class TestPlaygroundSafe(RewardSuite):
    component = "playground_safe"
    cases = "safe_cases.jsonl"
    compares_with_gold = False


class TestRewardModel(RewardSuite):
    """With weights that are set by hand: 1 where the final answer has the word "good". A model that was trained has no
    cases that hold for any other."""

    component = "reward_model"
    cases = str(FIXTURES / "word_cases.jsonl")
    compares_with_gold = False

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _model(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.options = {"model": str(write_model(tmp_path_factory.mktemp("model")))}


class TestJudge(RewardSuite):
    """With a judge by rules: what is promised of the reward itself."""

    component = "judge"
    cases = "judge_cases.jsonl"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _judge(cls) -> Iterator[None]:
        with judging() as url:
            cls.options = {"endpoint": {"url": url}, "model": "rules"}
            yield


# --- all of them -----------------------------------------------------------------------------------


def test_every_built_in_of_these_kinds_has_a_suite() -> None:
    assert suites(globals()) | elsewhere(KINDS) == built_in(KINDS)
