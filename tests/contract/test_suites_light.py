"""Built-in estimators, filters and sources pass the suites that strangers inherit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from built_ins import built_in, elsewhere, suites

from r1core.store import rollout_row, write_rows
from r1core.testing import AdvantageSuite, FilterSuite, SourceSuite
from r1core.types import Floats, GroupSignals, Problem, Response, Rollout, Verdict

KINDS = {"advantage", "filter", "source"}

# --- estimators ------------------------------------------------------------------------------------


class TestGrpo(AdvantageSuite):
    component = "grpo"
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        rewards = [float(r) for r in group.rewards_G]
        mean = sum(rewards) / len(rewards)
        squares = sum((r - mean) ** 2 for r in rewards)
        spread = (squares / (len(rewards) - 1)) ** 0.5 + 1e-6 if len(rewards) > 1 else 1.0
        return [np.array([(r - mean) / spread]) for r in rewards]


class TestGrpoWithoutStd(AdvantageSuite):
    component = "grpo"
    options: ClassVar = {"normalize_std": False}
    properties = ("zero_mean", "shift_invariant", "permutation_equivariant")


class TestMonteCarlo(AdvantageSuite):
    component = "monte_carlo"
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")


class TestMonteCarloRaw(AdvantageSuite):
    component = "monte_carlo"
    options: ClassVar = {"whiten": False}
    properties = ("shift_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        assert group.states_GK is not None
        assert group.values_GK is not None
        found = []
        for i, reward in enumerate(group.rewards_G):
            value_at = dict(zip(group.states_GK[i].tolist(), group.values_GK[i], strict=True))
            known = [value_at.get(token) for token in range(group.lengths_G[i])] + [reward]
            before = [next(v for v in known[token::-1] if v is not None) for token in range(group.lengths_G[i])]
            after = [next(v for v in known[token + 1 :] if v is not None) for token in range(group.lengths_G[i])]
            found.append(np.array(after) - np.array(before))
        return found


class TestDrGrpo(AdvantageSuite):
    component = "dr_grpo"
    properties = ("zero_mean", "shift_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        return [np.array([r - sum(group.rewards_G) / len(group.rewards_G)]) for r in group.rewards_G]


class TestRloo(AdvantageSuite):
    component = "rloo"
    properties = ("zero_mean", "shift_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        rewards = list(group.rewards_G)
        others = [rewards[:i] + rewards[i + 1 :] or [rewards[i]] for i in range(len(rewards))]
        return [np.array([r - sum(own) / len(own)]) for r, own in zip(rewards, others, strict=True)]


class TestOpo(AdvantageSuite):
    component = "opo"
    properties = ("shift_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        tokens = [r for r, length in zip(group.rewards_G, group.lengths_G, strict=True) for _ in range(length)]
        return [np.array([r - sum(tokens) / len(tokens)]) for r in group.rewards_G]


class TestGpg(AdvantageSuite):
    component = "gpg"
    properties = ("zero_mean", "shift_invariant", "permutation_equivariant")


class TestPassAtK(AdvantageSuite):
    component = "pass_at_k"
    options: ClassVar = {"eps": 0}
    properties = ("shift_invariant", "scale_invariant", "permutation_equivariant")


class TestMaxRl(AdvantageSuite):
    component = "maxrl"
    options: ClassVar = {"eps": 0}
    properties = ("zero_mean", "scale_invariant", "permutation_equivariant")


class TestReinforcePp(AdvantageSuite):
    component = "reinforce_pp"
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")


class TestReinforcePpDiscounted(AdvantageSuite):
    component = "reinforce_pp"
    options: ClassVar = {"gamma": 0.9}
    properties = ("zero_mean", "scale_invariant", "permutation_equivariant")


class TestReinforcePpBaseline(AdvantageSuite):
    component = "reinforce_pp_baseline"
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")


class TestGdpo(AdvantageSuite):
    component = "gdpo"
    options: ClassVar = {"eps": 0}
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")


class TestRemax(AdvantageSuite):
    component = "remax"
    properties = ("shift_invariant", "permutation_equivariant")

    def reference(self, group: GroupSignals) -> list[Floats]:
        assert group.greedy is not None
        return [np.full(length, r - group.greedy) for r, length in zip(group.rewards_G, group.lengths_G, strict=True)]


class TestGae(AdvantageSuite):
    component = "gae"
    options: ClassVar = {"lam": 0.95}
    properties = ("zero_mean", "shift_invariant", "scale_invariant", "permutation_equivariant")


class TestGaeRaw(AdvantageSuite):
    component = "gae"
    options: ClassVar = {"gamma": 0.9, "lam": 0.8, "whiten": False}
    properties = ("permutation_equivariant",)

    def reference(self, group: GroupSignals) -> list[Floats]:
        """The sum over all that follows, term by term."""
        assert group.critic_GT is not None
        found = []
        for reward, values_T in zip(group.rewards_G, group.critic_GT, strict=True):
            last = len(values_T) - 1
            after_T = [*values_T[1:], 0.0]
            deltas = [(reward if t == last else 0.0) + 0.9 * after_T[t] - values_T[t] for t in range(last + 1)]
            found.append(
                np.array([sum(0.72 ** (s - t) * deltas[s] for s in range(t, last + 1)) for t in range(last + 1)])
            )
        return found


# --- filters ---------------------------------------------------------------------------------------


class TestZeroVariance(FilterSuite):
    component = "zero_variance"


class TestDifficulty(FilterSuite):
    component = "difficulty"
    parts = ("accuracy",)
    cases = "difficulty_cases.jsonl"


class TestTruncated(FilterSuite):
    component = "truncated"


class TestCorrect(FilterSuite):
    component = "correct"
    parts = ("accuracy",)


class TestOneLanguage(FilterSuite):
    component = "one_language"
    parts = ("language",)


class TestNoLongParagraphs(FilterSuite):
    component = "no_long_paragraphs"
    options: ClassVar = {"max_chars": 18}


class TestNoCode(FilterSuite):
    component = "no_code"
    options: ClassVar = {"indented_lines": 1}


class TestNoRepetition(FilterSuite):
    component = "no_repetition"
    options: ClassVar = {"n": 1, "max_share": 0.1}


class TestThinkTags(FilterSuite):
    component = "think_tags"


class TestDifficultyBand(FilterSuite):
    component = "difficulty_band"
    options: ClassVar = {"min": 0.2}
    parts = ("accuracy",)


class TestLengthBand(FilterSuite):
    component = "length_band"
    options: ClassVar = {"of": "thinking", "min": 6}


class TestNoDuplicates(FilterSuite):
    component = "no_duplicates"
    options: ClassVar = {"of": "thinking"}


class TestNoNearDuplicates(FilterSuite):
    component = "no_duplicates"
    options: ClassVar = {"similarity": 0.5, "ngram": 1}


class TestDecontaminated(FilterSuite):
    component = "decontaminated"
    options: ClassVar = {"against": [str(Path(__file__).with_name("evaluation.jsonl"))], "ngram": 3}


class TestAtMost(FilterSuite):
    component = "at_most"
    options: ClassVar = {"k": 2}


class TestAtMostByScore(FilterSuite):
    component = "at_most"
    options: ClassVar = {"k": 2, "rank_by": "part", "part": "helpful"}
    parts = ("helpful",)


class TestPairs(FilterSuite):
    component = "pairs"
    options: ClassVar = {"slack": 1, "sees": "response"}


# --- sources ---------------------------------------------------------------------------------------


class TestPlayground(SourceSuite):
    component = "playground"
    options: ClassVar = {"tasks": ["arith", "vars", "sort", "chat", "harm"]}
    reward = "accuracy"


class TestPlaygroundHeldOut(SourceSuite):
    component = "playground"
    options: ClassVar = {"split": "held_out", "solved": True, "limit": 50}
    reward = "accuracy"


class TestPlaygroundCorpus(SourceSuite):
    component = "playground_corpus"


class TestEcho(SourceSuite):
    component = "echo"
    reward = "accuracy"


class TestJsonl(SourceSuite):
    component = "jsonl"
    reward = "accuracy"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _file(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("jsonl") / "problems.jsonl"
        rows = [{"prompt": f"{n} + 1", "reference": n + 1, "level": [n]} for n in range(20)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cls.options = {"path": str(path)}


class TestGpqa(SourceSuite):
    component = "gpqa"
    options: ClassVar = {}
    reward = "choice"
    reward_options: ClassVar = {"boxed": True}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _file(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("gpqa") / "rows.jsonl"
        texts = {f"Incorrect Answer {place}": f"wrong {place}" for place in (1, 2, 3)}
        rows = [{"Question": f"{n}?", "Correct Answer": "right", **texts, "Record ID": f"r{n}"} for n in range(20)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cls.options = {"path": str(path)}

    def gold(self, problem: Problem) -> str:
        return f"\\boxed{{{problem.reference}}}"


class TestLiveCodeBench(SourceSuite):
    component = "livecodebench"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _file(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("livecodebench") / "rows.jsonl"
        tests = json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}])
        same = {"contest_date": "2024-08-10", "public_test_cases": tests, "private_test_cases": tests}
        rows = [{"question_content": f"Print {n}.", "question_id": f"q{n}", **same} for n in range(20)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        cls.options = {"path": str(path)}


class TestParquet(SourceSuite):
    component = "parquet"
    reward = "accuracy"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _file(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = tmp_path_factory.mktemp("parquet") / "problems.parquet"
        rows = [{"q": f"{n} + 1", "gold": f"so #### {n + 1}", "level": [n], "share": n / 3} for n in range(20)]
        pq.write_table(pa.Table.from_pylist(rows), path)
        cls.options = {"path": str(path), "prompt": "q", "reference": "gold", "reference_from": "after_hashes"}


class TestDatasets(SourceSuite):
    component = "datasets"
    reward = "accuracy"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _folder(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        import datasets

        folder = tmp_path_factory.mktemp("datasets") / "saved"
        rows = [{"prompt": f"{n} + 1", "reference": str(n + 1), "level": [n]} for n in range(20)]
        datasets.disable_progress_bars()
        datasets.Dataset.from_list(rows).save_to_disk(folder)
        cls.options = {"path": str(folder)}


class TestFromData(SourceSuite):
    component = "from_data"
    reward = "accuracy"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _rows(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("data")
        write_rows(folder, [_answered(number) for number in range(20)])
        cls.options = {"data": str(folder), "prompt": "Check: {question}"}


def _answered(number: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"{number} + 1"}
    rollout = Rollout(
        problem=Problem(id=f"p{number}", messages=(question,), reference=str(number + 1)),
        sample=0,
        prompt_ids=np.array([1]),
        completion_ids=np.array([1]),
        logprobs=None,
        response=Response.parse("<think>one more</think><answer>?</answer>"),
    )
    return rollout_row(rollout, None, Verdict(keep=True))


# --- all of them -----------------------------------------------------------------------------------


def test_every_built_in_of_these_kinds_has_a_suite() -> None:
    assert suites(globals()) | elsewhere(KINDS) == built_in(KINDS)
