"""A run with variants on its page: intervals over seeds, one line for each arm, and what a chart may be called."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from report_runs import answer, metrics, whole

from r1_plugins.report.arms import arms
from r1_plugins.report.beside import first_rewards, learners, over
from r1_plugins.report.curves import columns
from r1_plugins.report.figure import COLOURS, figure
from r1_plugins.report.gather import RunFacts, gather
from r1_plugins.report.learning import learning
from r1_plugins.report.lines import chart
from r1_plugins.report.rightness import rewards_of
from r1_plugins.report.scores import measured
from r1_plugins.report.sections import story
from r1_plugins.report.write import write
from r1core.comparison.arms import arms as compared
from r1core.comparison.finished import FinishedRun
from r1core.store.rows import write_rows

SEEDS = (0, 1, 2)
RIGHT = ("1100", "1101", "0100")
"""Which of four problems each seed solves."""


def recipe(stages: Mapping[str, Mapping[str, Any]]) -> str:
    return json.dumps({"r1": 1, "name": "toy", "description": "", "seed": 0, "stages": stages})  # JSON is YAML, too


def train(seed: int, *, name: str = "zero", rewards: Sequence[str] = ("exact",), lr: float = 1e-3) -> dict[str, Any]:
    return {
        "train": {"use": "rl", "lr": lr},
        "rewards": [{"use": use, "as": use} for use in rewards],
        "seed": seed,
        "variant": {"of": name, "where": {"student": f"seed{seed}", "lr": str(lr)}},
    }


def laid_out(folder: Path, stages: Mapping[str, Mapping[str, Any]]) -> RunFacts:
    """The stages, finished, with an evaluation of all; each of `RIGHT` in its rows."""
    sets = {"pass@1": {"problems": "sums", "samples": 1}}
    table = {"evaluate": {"sets": sets}, "models": list(stages), "rewards": [{"use": "exact", "as": "exact"}]}
    (folder / "stages").mkdir(parents=True)
    bodies = {**stages, "table": table}
    (folder / "recipe.resolved.yaml").write_text(recipe(bodies))
    rows = []
    for name, body in bodies.items():
        own = folder / "stages" / name
        own.mkdir()
        made = {"stage": body, "seed": 0, "r1core": "", "sources": {}, "inputs": {}}
        record = {"status": "finished", "fingerprint": name, "made_from": made, "files": {}, "wall_s": 1.0}
        record |= {"inputs": {}, "metrics": {}}
        (own / "stage.json").write_text(json.dumps(record))
    for place, name in enumerate(stages):
        marks = [float(mark) for mark in RIGHT[place % len(RIGHT)]]
        found = [answer(f"p{i}", "x", score=mark) for i, mark in enumerate(marks)]
        write_rows(folder / "stages" / "table" / "data" / name / "pass@1", found)
        share = sum(marks) / len(marks)
        rows.append({"model": name, "metrics": {"pass@1": share, "pass@1_ci95": [share - 0.1, share + 0.1]}})
    (folder / "results.json").write_text(json.dumps({"rows": rows}))
    (folder / "stages" / "table" / "data" / "results.json").write_text(json.dumps(rows))
    return gather(folder)


def rewarded(facts: RunFacts, means: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """The metrics of each stage, as the page reads them."""
    for name, own in means.items():
        metrics(facts.path / "stages" / name, [{"reward": 0.5, **row} for row in own])
    return {stage.id: columns(stage) for stage in facts.of("train")}


def seeded(folder: Path) -> RunFacts:
    return laid_out(folder, {f"zero@seed{seed}": train(seed) for seed in SEEDS})


# --- intervals -------------------------------------------------------------------------------------------


def test_a_model_with_seeds_has_the_interval_that_r1_compare_prints(tmp_path: Path) -> None:
    facts = seeded(tmp_path / "run")
    (found,) = measured(facts)
    assert (found.name, found.variants, found.value("pass@1")) == ("zero", 3, pytest.approx(0.5))
    score = compared(FinishedRun(facts.path)).rows[0].score
    assert found.interval("pass@1") == (score.low, score.high)
    assert score.high - score.low > 0.2  # it is no interval of one seed


def test_the_interval_is_in_the_cards_the_chart_the_table_and_the_picture(tmp_path: Path) -> None:
    facts = seeded(tmp_path / "run")
    write(facts.path)
    html = (facts.path / "report.html").read_text()
    (model,) = measured(facts)
    low, high = (100 * edge for edge in model.interval("pass@1") or (math.nan, math.nan))
    assert f'<span class="interval">{low:.1f}\u2013{high:.1f}</span>' in html
    assert len(re.findall(r'<g><text[^>]*>zero</text>.*?class="whisker"', html)) == 2  # a broad and a narrow chart
    assert f"<small>±{(high - low) / 2:.1f}</small>" in html
    assert "with its 95 % interval over seeds and problems" in html
    drawn = figure(facts, [model])
    assert drawn is not None
    assert drawn.axes[0].get_xlabel() == "solved, % (bars: 95 %)"
    assert list(drawn.axes[0].lines[0].get_xdata()) == pytest.approx([low, high])


def test_without_an_interval_nothing_speaks_of_one(tmp_path: Path) -> None:
    facts = seeded(tmp_path / "run")
    shutil.rmtree(facts.path / "stages" / "table" / "data")
    models = measured(facts)
    assert [each.interval("pass@1") for each in models] == [None]
    write(facts.path)
    html = (facts.path / "report.html").read_text()
    head = html[: html.index('id="pipeline"')] + html[html.index('id="models"') : html.index('id="cost"')]
    assert "95 %" not in head
    drawn = figure(facts, models)
    assert drawn is not None
    assert drawn.axes[0].get_xlabel() == "solved, %"


def test_variants_that_differ_in_more_than_a_seed_are_models_of_their_own(tmp_path: Path) -> None:
    stages = {f"zero@{lr},seed{seed}": train(seed, lr=lr) for lr in (0.1, 0.2) for seed in (0, 1)}
    facts = laid_out(tmp_path / "run", stages)
    assert [(each.name, each.variants) for each in measured(facts)] == [("zero lr=0.1", 2), ("zero lr=0.2", 2)]
    found = arms(facts, facts.of("train"))
    assert {label: len(own) for label, own in found.items()} == {"zero lr=0.1": 2, "zero lr=0.2": 2}


def test_no_way_is_lost_where_axes_do_not_tell_them_apart(tmp_path: Path) -> None:
    bodies = {f"zero@{lr},seed{seed}": train(seed, lr=lr) for lr in (0.1, 0.2) for seed in (0, 1)}
    for body in bodies.values():
        body["variant"]["where"] = {"side": "left"}
    facts = laid_out(tmp_path / "run", bodies)
    assert list(arms(facts, facts.of("train"))) == ["zero side=left", "zero@0.2,seed0"]


def test_a_run_without_seeds_keeps_the_intervals_of_its_results(tmp_path: Path) -> None:
    facts = gather(whole(tmp_path / "run", "plain"))
    models = measured(facts)
    assert {each.name: each.interval("pass@1") for each in models}["zero"] == (0.45, 0.55)
    told = story(models, {})
    assert told is not None
    assert (told["over"], told["seeds"]) == ("over problems", 1)


# --- lines of several seeds ------------------------------------------------------------------------------


def test_the_line_of_an_arm_is_the_mean_and_its_band_holds_every_seed(tmp_path: Path) -> None:
    facts = seeded(tmp_path / "run")
    lines = {0: (0.0, 0.2, 0.4), 1: (0.1, 0.3), 2: (0.5, 0.1, 0.9)}  # one is not as far as the others
    told = rewarded(facts, {f"zero@seed{seed}": [{"rewards/exact/mean": y} for y in ys] for seed, ys in lines.items()})
    accuracy = first_rewards(facts, told, learners(facts, told))[0]
    (series,) = accuracy.series
    assert series.name == "zero, mean of 3"
    assert series.points == ((1.0, pytest.approx(0.2)), (2.0, pytest.approx(0.2)))
    assert series.band == ((1.0, 0.0, 0.5), (2.0, 0.1, 0.3))
    assert 'class="band c0"' in chart(accuracy)
    drawn = figure(facts, measured(facts))
    assert drawn is not None
    assert len(drawn.axes[1].collections) == 1
    assert "bands: lowest to highest seed" in drawn.axes[1].get_ylabel()


def test_what_finds_no_colour_is_named(tmp_path: Path) -> None:
    names = [f"arm{i}" for i in range(len(COLOURS) + 2)]
    facts = laid_out(tmp_path / "run", {f"{name}@seed0": train(0, name=name) for name in names})
    told = rewarded(facts, {f"{name}@seed0": [{"rewards/exact/mean": 0.5}] for name in names})
    found = learning(facts, told, {})
    assert found["left_out"] == names[len(COLOURS) :]
    write(facts.path)
    assert "Not drawn here, for want of colours: arm7, arm8;" in (facts.path / "report.html").read_text()


def test_one_seed_is_a_line_without_a_band() -> None:
    alone = over([((1.0, 0.5),)], name="zero", colour=0)
    assert (alone.points, alone.band) == (((1.0, 0.5),), ())
    assert over([], name="zero", colour=0).points == ()


# --- what may be called accuracy -------------------------------------------------------------------------


def panels_of(folder: Path, rewards: Sequence[str], own: Mapping[str, float]) -> dict[str, Any]:
    facts = laid_out(folder, {"zero@seed0": train(0, rewards=rewards)})
    told = rewarded(facts, {"zero@seed0": [own]})
    return {panel.title: panel for panel in first_rewards(facts, told, learners(facts, told)) if panel.series}


def test_accuracy_is_the_reward_that_the_evaluation_measures_by_wherever_it_stands(tmp_path: Path) -> None:
    told = {"rewards/kind/mean": 0.52, "rewards/kind/std": 0.43, "rewards/exact/mean": 0.25}
    found = panels_of(tmp_path / "run", ("kind", "exact"), told)
    assert list(found) == ["Accuracy"]
    assert found["Accuracy"].series[0].points == ((1.0, 0.25),)


def test_a_first_reward_that_judges_nothing_right_goes_by_its_own_name_and_range(tmp_path: Path) -> None:
    found = panels_of(tmp_path / "run", ("kind",), {"rewards/kind/mean": -0.5, "rewards/kind/std": 0.2})
    (panel,) = found.values()
    assert (panel.title, panel.unit, panel.share) == ("Reward kind", "mean over the sampled answers", False)
    ys = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([-\d.]+)"', chart(panel))]
    assert ys
    assert all(0 <= y <= 190 for y in ys)


@pytest.mark.parametrize(
    ("mean", "std", "is_accuracy"),
    [(0.25, math.sqrt(0.25 * 0.75), True), (0.25, 0.2, False), (-0.5, 0.75, False), (0.0, 0.0, True)],
)
def test_shares_are_of_answers_worth_0_or_1(tmp_path: Path, mean: float, std: float, is_accuracy: bool) -> None:
    found = panels_of(tmp_path / "run", ("exact",), {"rewards/exact/mean": mean, "rewards/exact/std": std})
    assert list(found) == ["Accuracy" if is_accuracy else "Reward exact"]


def test_rewards_go_by_the_names_of_their_metrics() -> None:
    uses = [{"use": "language"}, {"use": "./mine.py:Grader"}, {"use": "language"}, {"use": "exact", "as": "right"}]
    assert list(rewards_of({"rewards": uses})) == ["language", "Grader", "language_2", "right"]
