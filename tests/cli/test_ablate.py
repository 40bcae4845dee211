"""`r1 ablate`: what its dry run says, one graph for all variants, and how it stops and goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from in_process import Ended, called
from toy_ablation import R1, RECIPE, r1

STAGES = {
    "base",
    *(f"{stage}@{e},seed={s}" for stage in ("zero", "table") for e in ("grpo", "blind") for s in range(3)),
}
PATIENCE_S = 120.0


def started(said: str) -> list[str]:
    return re.findall(r"^\[\d+/\d+\] (\S+): starts", said, re.MULTILINE)


def dry(folder: Path, *arguments: str, recipe: str = RECIPE) -> Ended:
    """`r1 ablate` on this recipe, where nothing is to be computed."""
    (folder / "toys.yaml").write_text(recipe)
    return called(folder, "ablate", "toys.yaml", *arguments)


# --- the dry run -----------------------------------------------------------------------------------


def test_the_dry_run_says_what_each_choice_changes_and_what_is_shared(tmp_path: Path) -> None:
    done = r1(tmp_path, "ablate", "toys.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "6 variants, the base is grpo,seed=0" in lines
    assert "estimator grpo, blind" in lines
    assert "seed 0, 1, 2" in lines
    assert "estimator blind stages.zero.train.lr.peak: 0.3 -> 1e-09" in lines
    assert "seed 2 stages.zero.seed: 0 -> 2" in lines
    assert "made once: base" in lines
    assert "made for variants: 6 x zero, 6 x table" in lines
    answers = 6 * 12 * 8 * 8 + (6 + 1) * (60 + 20)
    assert f"13 stages, 7 of them training runs; answers of at most {answers * 1024:,} tokens in all" in lines
    assert not (tmp_path / "runs").exists()
    assert max(map(len, done.stdout.splitlines()[1:])) <= 100


def test_variants_that_are_more_than_the_sum_of_their_choices_are_told(tmp_path: Path) -> None:
    both = "matrix: {a: {x: , y: {stages.zero.train.steps: 5}}, b: {u: , v: {stages.zero.train.steps: 6}}}\n"
    recipe = re.sub(r"matrix:.*?(?=stages:\n)", both, RECIPE, flags=re.DOTALL)
    done = dry(tmp_path, "--dry-run", recipe=recipe)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "y,v stages.zero.train.steps: 12 -> 6" in lines


def test_settings_come_before_the_variants(tmp_path: Path) -> None:
    done = dry(tmp_path, "--dry-run", "--set", "stages.zero.train.lr=0.5")
    assert "stages.zero.train.lr.peak: 0.5 -> 1e-09" in done.stdout


def test_a_recipe_without_a_matrix_is_refused(tmp_path: Path) -> None:
    done = dry(tmp_path, "--set", "matrix={}")
    assert done.returncode == 2
    assert "toys.yaml: there is nothing to vary: the recipe has no `matrix`" in done.stderr


# --- the run ---------------------------------------------------------------------------------------


def test_one_graph_with_the_base_trained_once(ablated: Path) -> None:
    said = (ablated / "said.txt").read_text()
    assert sorted(started(said)) == sorted(STAGES)
    assert {path.name for path in (ablated / "runs/toys/stages").iterdir() if not path.name.startswith(".")} == STAGES


def test_results_have_a_row_for_each_variant_and_say_which(ablated: Path) -> None:
    rows = json.loads((ablated / "runs/toys/results.json").read_text())["rows"]
    assert rows[0]["model"] == "base"
    assert "variant" not in rows[0]
    assert rows[1]["model"] == "zero@grpo,seed=0"
    assert rows[1]["variant"] == {"of": "zero", "where": {"estimator": "grpo", "seed": "0"}}
    assert len(rows) == 7


def test_variants_get_the_same_problems_with_the_same_keys_and_seeds_others(ablated: Path) -> None:
    from r1core.store import read_rows

    first = {}
    for estimator in ("grpo", "blind"):
        for seed in range(3):
            folder = ablated / f"runs/toys/stages/zero@{estimator},seed={seed}/rollouts"
            first[estimator, seed] = [(r["id"], r["sample"], r["text"]) for r in list(read_rows(folder))[:64]]
    for seed in range(3):
        assert first["grpo", seed] == first["blind", seed]  # before the first step they are one model
    assert first["grpo", 0] != first["grpo", 1] != first["grpo", 2]


def test_it_ends_with_the_table_of_compare(ablated: Path) -> None:
    said = (ablated / "said.txt").read_text()
    assert said.rstrip().endswith(r1(ablated, "compare", "runs/toys").stdout.rstrip())
    assert "pass@1   greedy" not in said  # the long table of all models


def test_the_same_command_again_does_nothing_and_a_new_variant_is_all_that_runs(ablated: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ablated / "runs", tmp_path / "runs")
    again = r1(tmp_path, "ablate", "toys.yaml")
    assert started(again.stdout) == []
    more = RECIPE.replace("seed: [0, 1, 2]", "seed: [0, 1, 2, 3]")
    assert set(started(r1(tmp_path, "ablate", "toys.yaml", recipe=more).stdout)) == {
        f"{stage}@{estimator},seed=3" for stage in ("zero", "table") for estimator in ("grpo", "blind")
    }


def test_the_name_of_the_recipe_stands_for_all_variants(ablated: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(ablated / "runs", tmp_path / "runs")
    done = r1(tmp_path, "recipe", "toys.yaml", "--from", "table", "--until", "table@grpo,seed=1")
    assert done.returncode == 0, done.stderr
    assert started(done.stdout) == ["table@grpo,seed=1"]


def stopped(folder: Path, signal_sent: signal.Signals, *, trained: int) -> str:
    """Begin, or go on, send the signal when so many more runs are training, and return what it said."""
    command = [sys.executable, "-c", R1, "ablate", "toys.yaml", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + PATIENCE_S
    while len(list((folder / "runs").glob("toys/stages/zero@*/metrics.jsonl"))) < trained:
        assert time.monotonic() < until
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal_sent)
    said, told = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 75, told
    assert "the same command goes on" in told
    return said


def test_stopped_it_exits_75_and_goes_on_to_the_same_results(ablated: Path, tmp_path: Path) -> None:
    """By Ctrl-C, and, when it goes on, as a scheduler does it."""
    (tmp_path / "toys.yaml").write_text(RECIPE)
    assert "base: starts" in stopped(tmp_path, signal.SIGINT, trained=1)
    assert "base: unchanged" in stopped(tmp_path, signal.SIGTERM, trained=4)
    done = r1(tmp_path, "ablate", "toys.yaml", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "base: unchanged" in done.stdout
    rows = [json.loads((folder / "runs/toys/results.json").read_text())["rows"] for folder in (tmp_path, ablated)]
    assert rows[0] == rows[1]
