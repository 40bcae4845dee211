"""Gates on earlier evaluations in a recipe: lower by more than is allowed, or significantly lower, is exit 4."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from r1core.api import run
from r1core.errors import RecipeError, RefusedError
from r1core.store import read_json

PROBLEMS = 40


def measured(folder: Path, right: int, *, samples: int = 1, gate: Any = (), problems: int = PROBLEMS) -> float:
    """`right` of the problems answered rightly, by recorded answers."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    asked = folder.parent / "asked.jsonl"
    rows = [{"id": str(n), "prompt": f"{n} + 0", "reference": str(n)} for n in range(problems)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = folder.with_suffix(".jsonl")
    said = [f"<think>so</think><answer>{n if n < right else 'no'}</answer>" for n in range(problems)]
    answers.write_text(
        "".join(json.dumps({**r, "answers": [a] * samples}) + "\n" for r, a in zip(rows, said, strict=True))
    )
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(
        f"""r1: 1
name: gated
profile: none
stages:
  r1:
    sample: {{answers: given}}
    problems: {{use: jsonl, path: {answers}, completion: answers}}
  evaluation:
    evaluate:
      sets: {{pass@1: {{problems: {{use: jsonl, path: {asked}}}, samples: {samples}}}}}
    models: [r1]
    rewards: [accuracy]
    policy: transformers
    sampler: native
    gate: {json.dumps(list(gate))}
"""
    )
    done = run(recipe, run_dir=folder)
    value: float = done.rows[0]["metrics"]["pass@1"]
    return value


def gate(results: Path, **changes: Any) -> list[dict[str, Any]]:
    return [{"metric": "r1/pass@1", "results": str(results), **changes}]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """30 of 40 right."""
    measured(tmp_path / "earlier", 30)
    return tmp_path / "earlier"


def test_lower_by_more_than_is_allowed_is_refused_and_the_table_stays(earlier: Path, tmp_path: Path) -> None:
    assert measured(tmp_path / "within", 29, gate=gate(earlier, by=0.025)) == 29 / 40
    with pytest.raises(
        RefusedError, match=r"r1/pass@1 is 0\.7, must be at least 0\.725: r1 of .* has 0\.75 less 0\.025"
    ):
        measured(tmp_path / "below", 28, gate=gate(earlier, by=0.025))
    assert RefusedError.exit_code == 4
    assert read_json(tmp_path / "below" / "results.json")["rows"][0]["metrics"]["pass@1"] == 0.7


def test_without_by_only_what_is_significantly_lower_is_refused(earlier: Path, tmp_path: Path) -> None:
    # Wilson with 40 - 1 trials: lower end of .75 at .5960, upper end of .575 at .7165: what is in doubt is
    # sqrt(.1540^2 + .1415^2) = .2091, more than the .175 that it is lower
    assert measured(tmp_path / "in_doubt", 23, gate=gate(earlier)) == 23 / 40
    # upper end of .525 at .6723: sqrt(.1540^2 + .1473^2) = .2131, less than the .225 that it is lower
    with pytest.raises(RefusedError, match=r"is 0\.525, must be at least 0\.5369"):
        measured(tmp_path / "sure", 21, gate=gate(earlier))


def test_a_table_is_compared_with_its_manifest_beside_it_and_refused_without(earlier: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    data = earlier / "stages" / "evaluation" / "data"
    shutil.copy(data / "results.json", baseline)
    with pytest.raises(RecipeError, match=r"no results\.json with a manifest\.json beside it"):
        measured(tmp_path / "without", 30, gate=gate(baseline / "results.json"))
    shutil.copy(data / "manifest.json", baseline)
    assert measured(tmp_path / "with", 30, gate=gate(baseline / "results.json", by=0.0)) == 0.75
    assert measured(tmp_path / "run", 30, gate=gate(earlier / "results.json", by=0.0)) == 0.75


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"results": "nowhere/results.json"}, r"gated\.yaml:\d+:\d+.*there is no nowhere/results\.json"),
        ({"than": "r2"}, r"gated\.yaml:\d+:\d+.*has no model 'r2', only r1"),
        ({"metric": "r2/pass@1"}, r"gated\.yaml:\d+:\d+.*'r2/pass@1' is no model's metric"),
        ({"metric": "r1/pass@9"}, r"gated\.yaml:\d+:\d+.*has no 'pass@9' of r1"),
        ({"metric": "r1/pass@1_se_problem"}, r"gated\.yaml:\d+:\d+.*has no interval of r1's pass@1_se_problem"),
        ({"by": -0.1}, r"gated\.yaml:\d+:\d+"),
    ],
)
def test_what_is_not_there_is_told_with_its_line_before_anything_runs(
    changes: dict[str, Any], told: str, earlier: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        measured(tmp_path / "new" / "gated", 30, gate=[{**gate(earlier)[0], **changes}])
    assert re.search(told, str(caught.value)), str(caught.value)
    assert not (tmp_path / "new" / "gated").exists()


def test_by_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="`by` and `than` belong to `results`"):
        measured(tmp_path / "run", 30, gate=[{"metric": "r1/pass@1", "min": 0.1, "by": 0.1}])


def test_another_way_to_measure_is_refused_with_its_keys_before_anything_runs(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"samples: 1 -> 2") as caught:
        measured(tmp_path / "new" / "run", 30, samples=2, gate=gate(earlier))
    assert "problems" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"problems\.number: 40 -> 39"):
        measured(tmp_path / "new" / "run", 30, problems=39, gate=gate(earlier))
    assert not (tmp_path / "new" / "run").exists()
