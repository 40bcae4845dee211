"""The two distillation recipes as a person runs them, at the sizes of the profile `smoke`: what they leave, what
`r1 compare --across` makes of it, and what each arm is said to have cost against what its stages counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1core.comparison.arms import arms
from r1core.comparison.finished import FinishedRun
from r1core.errors import RecipeError
from r1core.recipe.shipped import shipped_folder
from r1core.store import read_json, read_metrics, read_rows

R1 = "from r1core.cli import main; main()"
STUDENTS = ["rl_mid", "rl_low", "rl_high", "sft", "cached", "opd", "sft_then_opd", "sft_then_rl"]
SEEDS = ["seed0", "seed1"]
"""Of the three that the recipe has: two show what a third would."""


def r1(folder: Path, *arguments: str) -> str:
    """What the command prints; it must end well and say nothing on the side."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", R1, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def distilled(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A finished run of distill.yaml."""
    folder = once(
        "distilled", lambda folder: r1(folder, "recipe", "recipes/distill.yaml", "--profile", "smoke") and None
    )
    return folder / "runs" / "distill"


@pytest.fixture(scope="module")
def contest(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A finished run of distill_vs_rl.yaml, with what `r1 ablate` printed beside it."""

    def run(folder: Path) -> None:
        shipped = (shipped_folder() / "distill_vs_rl.yaml").read_text(encoding="utf-8")
        two, removed = re.subn(r"\n    seed2:\n(      .*\n)+", "\n", shipped)
        assert removed == 1
        (folder / "contest.yaml").write_text(two, encoding="utf-8")
        said = r1(folder, "ablate", "contest.yaml", "--profile", "smoke")
        (folder / "said.txt").write_text(said, encoding="utf-8")

    return once("contest", run) / "runs" / "distill-vs-rl"


def metrics(run: Path, stage: str) -> list[dict[str, Any]]:
    return list(read_metrics(run / "stages" / stage / "metrics.jsonl"))


# --- distill.yaml ----------------------------------------------------------------------------------


def test_a_student_is_distilled_and_measured_beside_its_teacher(distilled: Path) -> None:
    rows = read_json(distilled / "results.json")["rows"]
    assert [row["model"] for row in rows] == ["teacher", "student_base", "student_distilled"]
    for row in rows:
        assert {"pass@1", "greedy", "pass@1/k=1", "pass@1/k=4", "pass@1/cons=4"} <= set(row["metrics"])
    before, after = (
        (distilled / "stages" / name / "model/model.safetensors").read_bytes()
        for name in ("student_base", "student_distilled")
    )
    assert before != after


def test_the_manifest_says_how_all_three_were_measured(distilled: Path) -> None:
    told = read_json(distilled / "stages/comparison/data/manifest.json")
    assert list(told["sets"]) == ["pass@1", "greedy"]
    assert told["sets"]["pass@1"]["problems"]["number"] == 24
    assert {name: own["temperature"] for name, own in told["sets"].items()} == {"pass@1": 1.0, "greedy": 0}
    assert list(told["models"]) == ["teacher", "student_base", "student_distilled"]
    hashes = [own["like"] for own in told["models"].values()]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len({own["template"] for own in told["models"].values()}) == 1
    assert all(len(own["template"]) == 64 for own in told["models"].values())


# --- distill_vs_rl.yaml ----------------------------------------------------------------------------


def test_only_what_makes_students_is_made_for_each_seed(contest: Path) -> None:
    stages = {path.name for path in (contest / "stages").iterdir() if not path.name.startswith(".")}
    assert {"base", "teacher", "traces", "signals"} <= stages
    expected = {f"{name}@{seed}" for name in (*STUDENTS, "sft_half", "student_base") for seed in SEEDS}
    assert expected <= stages


def test_seeds_make_other_students(contest: Path) -> None:
    for name in ("student_base", "sft", "rl_mid"):
        weights = {(contest / f"stages/{name}@{seed}/model/model.safetensors").read_bytes() for seed in SEEDS}
        assert len(weights) == len(SEEDS), name


def test_the_ablation_ends_in_one_table_of_all_arms(contest: Path) -> None:
    said = (contest.parents[1] / "said.txt").read_text(encoding="utf-8")
    table = said[said.index("pass@1 of 10 models, 2 seeds") :].splitlines()
    names = [line.split()[0] for line in table[3:13]]
    assert sorted(names) == sorted([*STUDENTS, "student_base", "teacher"])
    for heading in ("greedy", "cons@8", "k=8", "se sampling", "se problem", "trained", "sampled", "graded", "budget"):
        assert heading in table[2]


def test_tokens_are_those_that_the_stages_counted(contest: Path) -> None:
    found = {row.name: row.spent for row in arms(FinishedRun(contest), base="rl_mid").rows}
    steps = [row for seed in SEEDS for row in metrics(contest, f"opd@{seed}")]
    learned, written = (sum(row[name] for row in steps) / len(SEEDS) for name in ("num_tokens", "rollouts/tokens"))
    assert written > 0
    assert (found["opd"].trained, found["opd"].sampled) == pytest.approx((learned, written))
    assert found["opd"].graded == pytest.approx(written)
    assert found["opd"].traces == 0
    half = sum(row["num_tokens"] for seed in SEEDS for row in metrics(contest, f"sft_half@{seed}")) / len(SEEDS)
    rest = sum(row["learned_tokens"] for seed in SEEDS for row in metrics(contest, f"sft_then_rl@{seed}")) / len(SEEDS)
    assert found["sft_then_rl"].trained == pytest.approx(half + rest)
    assert found["rl_mid"].graded == 0
    told = read_json(contest / "stages/signals/signals/signals.json")
    assert found["cached"].graded == told["counted"] < told["tokens"], "tokens of prompts are no tokens of answers"
    written = list(read_rows(contest / "stages/traces/data"))
    traces = sum(row["tokens"] or -(-len(row["text"].encode()) // 4) for row in written)
    assert traces > 0
    for name in ("sft", "cached", "sft_then_opd", "sft_then_rl"):
        assert found[name].traces == traces, name
    assert found["student_base"].budget == 0


def test_each_student_says_by_which_divergence_it_learned(contest: Path) -> None:
    told = {name: read_json(contest / f"stages/{name}@seed0/stage.json").get("divergence") for name in STUDENTS}
    assert told["cached"]["cached"].startswith("forward divergence, a KL, on the teacher's 4 likeliest tokens")
    assert told["opd"]["on_policy"].startswith("reverse divergence by policy gradient")
    assert told["sft"] is None, "cross-entropy is none"


def test_differences_are_paired_by_seed_and_problem(contest: Path) -> None:
    table = arms(FinishedRun(contest), base="rl_mid", metric="pass@1")
    rows = {row["model"]: row["metrics"] for row in read_json(contest / "results.json")["rows"]}
    for row in table.rows:
        assert len(row.models) == (1 if row.name == "teacher" else len(SEEDS))
        own = sum(rows[name]["pass@1"] for name in row.models) / len(row.models)
        assert row.score.mean == pytest.approx(own)
        if row.against is not None:
            assert row.against.mean == pytest.approx(own - table.rows[0].score.mean)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--base", "slf"), "no model 'slf'"),
        (("--metric", "greddy"), "did you mean 'greedy'?"),
        (("--reach", "0.5"), "--across is about the models of one run"),
    ],
)
def test_a_slip_is_exit_2(contest: Path, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", R1, "compare", str(contest), "--across", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=120,
    )
    assert done.returncode == 2, done.stdout
    assert said in done.stderr


def test_arms_measured_in_other_ways_are_refused_with_what_differs(contest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(contest, copy)
    manifest = copy / "stages/verdict@seed1/data/manifest.json"
    told = json.loads(manifest.read_text())
    told["sets"]["pass@1"]["rewards"]["accuracy"]["source"] = "f" * 64
    manifest.write_text(json.dumps(told))
    with pytest.raises(RecipeError, match="not measured in the same way") as caught:
        arms(FinishedRun(copy))
    assert re.search(r"pass@1\.rewards\.accuracy\.source: [0-9a-f]+ -> f+", str(caught.value))
    assert arms(FinishedRun(copy), metric="greedy").rows, "of that set nothing was changed"
