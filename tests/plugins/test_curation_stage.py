"""Traces from elsewhere and of other stages, curated by a recipe: groups, reasons, kills, the report on them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from toy_traces import words

from r1core.errors import R1Error, RecipeError, SetupError
from r1core.pipeline import run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.store import kills, read_rows

PROBLEMS = 12
RECIPE = """\
r1: 1
name: curation
profile: none
stages:
  traces:
    sample: {answers: given, chunk: 2, license: cc0-1.0}
    problems:
      {use: jsonl, path: PATH, prompt: problem, reference: answer, completion: generations, finish: ends, each: [marks]}
    rewards: [{use: exact, as: accuracy, require_tags: false}]
    filters: [truncated, {use: think_tags}]
  curated:
    sample: {answers: given, chunk: 2, jsonl: true}
    data: traces
    filters: [correct, {use: no_duplicates, similarity: 0.8, of: thinking}, {use: at_most, k: 2}]
  unfiltered:
    sample: {answers: given, rows: all}
    data: traces
"""


def generations(number: int) -> list[str]:
    """Four answers: a right one, a double of the problem before's, a wrong one, one cut off."""
    thinking, before = (" ".join(words(40, f"t {n}")) for n in (number, number - 1))
    return [
        f"<think>{thinking}</think> {number}",
        f"<think>{before.upper()}</think> {number}",
        f"<think>{' '.join(words(40, f'wrong {number}'))}</think> none",
        f"<think>{' '.join(words(40, f'cut {number}'))}",
    ]


def written(folder: Path, recipe: str = RECIPE) -> Path:
    rows = [
        {
            "problem": f"what is {number}?",
            "answer": str(number),
            "generations": generations(number),
            "ends": ["stop", "stop", "stop", "length"],
            "marks": [1, 2, 3, 4],
            "uuid": f"u{number}",
            "language": "en" if number % 2 else "de",
        }
        for number in range(PROBLEMS)
    ]
    (folder / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "recipe.yaml"
    path.write_text(dedent(recipe).replace("PATH", str(folder / "traces.jsonl")))
    return path


def run(folder: Path, recipe: str = RECIPE, **options: Any) -> Path:
    """The folder of the run's stages."""
    plan = make_plan(resolve(written(folder, recipe)), PluginHost.discover())
    run_plan(plan, plan.host, folder / "run", listener=lambda event: None, jobs=1, **options)
    return folder / "run" / "stages"


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("curation"))


def rows_of(stages: Path, stage: str) -> list[dict[str, Any]]:
    return list(read_rows(stages / stage / "data"))


def report_of(stages: Path, stage: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((stages / stage / "report.json").read_text())
    return report


# --- groups, scores, verdicts ----------------------------------------------------------------------


def test_texts_of_one_row_are_the_answers_of_one_group(stages: Path) -> None:
    rows = rows_of(stages, "traces")
    assert [(row["sample"], row["meta"]["marks"]) for row in rows[:8]] == [(i % 4, 1 + i % 4) for i in range(8)]
    assert len({row["id"] for row in rows}) == PROBLEMS
    assert [row["text"] for row in rows[4:8]] == generations(1)
    assert [row["finish"] for row in rows[:4]] == ["stop", "stop", "stop", "length"]
    assert [row["score"] for row in rows[:4]] == [1.0, 1.0, 0.0, 0.0]
    assert all(row["meta"]["uuid"] == f"u{i // 4}" for i, row in enumerate(rows))


def test_what_was_rejected_stays_so_and_scores_are_read_from_the_rows(stages: Path) -> None:
    rows = rows_of(stages, "curated")
    assert [row["reason"] for row in rows[:4]] == ["", "", "incorrect", "truncated"]
    double = [row["reason"] for row in rows[5::4]]
    assert double == [f"duplicate (of {rows[4 * n]['id']}.0)" for n in range(PROBLEMS - 1)]
    assert [row["score"] for row in rows] == [row["score"] for row in rows_of(stages, "traces")]
    assert Counter(row["keep"] for row in rows) == {True: PROBLEMS + 1, False: 3 * PROBLEMS - 1}


def test_the_unfiltered_rows_are_those_of_the_same_answers_and_all_are_kept(stages: Path) -> None:
    rows = rows_of(stages, "unfiltered")
    assert all(row["keep"] and row["reason"] == "" for row in rows)
    assert [(r["id"], r["sample"], r["text"], r["finish"]) for r in rows] == [
        (r["id"], r["sample"], r["text"], r["finish"]) for r in rows_of(stages, "curated")
    ]


def test_an_arm_of_a_matrix_trains_on_either(tmp_path: Path) -> None:
    recipe = RECIPE.partition("  unfiltered:")[0] + (
        "matrix:\n  curation:\n    filtered: {stages.curated.sample.rows: kept}\n"
        "    unfiltered: {stages.curated.sample.rows: all, stages.curated.filters: []}\n"
    )
    plan = make_plan(resolve(written(tmp_path, recipe)), PluginHost.discover())
    arms = [plan.stage(stage_id).stage for stage_id in plan.named("curated")]
    assert [(arm.sample.rows, len(arm.filters)) for arm in arms if arm.sample] == [("kept", 3), ("all", 0)]
    assert plan.named("traces") == ("traces",)


# --- the report ------------------------------------------------------------------------------------


def test_the_report_adds_up_to_the_rows(stages: Path) -> None:
    for stage in ("traces", "curated", "unfiltered"):
        rows, report = rows_of(stages, stage), report_of(stages, stage)
        assert report["rows"] == len(rows) == report["all"]["rows"]
        assert report["kept"] == sum(row["keep"] for row in rows) == report["kept_rows"]["rows"]
        rejected = sum(each["rejected"] for each in report["filters"]) + sum(report["before_filters"].values())
        assert report["kept"] + rejected == report["rows"]
        seen = report["rows"] - sum(report["before_filters"].values())
        for each in report["filters"]:
            assert (each["seen"], each["rejected"]) == (seen, sum(each["reasons"].values()))
            seen -= each["rejected"]
        for side in ("all", "kept_rows"):
            for unit in report[side]["lengths"].values():
                assert sum(unit["histogram"].values()) == unit["rows"]
            for field in ("domain", "language"):
                assert sum(report[side][field].values()) == report[side]["rows"]


def test_the_report_says_what_the_traces_are_like(stages: Path) -> None:
    report = report_of(stages, "curated")
    assert report["before_filters"] == {"truncated": PROBLEMS}
    assert [each["reasons"] for each in report["filters"]] == [
        {"incorrect": PROBLEMS},
        {"duplicate": PROBLEMS - 1},
        {},
    ]
    every = report["all"]
    assert every["shares"] == {"well_formed_thinking": 0.75, "cut_off": 0.25, "repeats": 0.0}
    assert every["language"] == {"de": 24, "en": 24}
    accuracy = every["parts"]["accuracy"]
    assert accuracy["mean"] == 0.5
    assert accuracy["problems"] == PROBLEMS
    assert 0.3 < accuracy["low"] < 0.5 < accuracy["high"] < 0.7
    assert report["kept_rows"]["parts"]["accuracy"]["mean"] == 1.0


def test_the_card_says_where_the_dataset_comes_from(stages: Path) -> None:
    card = (stages / "curated" / "README.md").read_text()
    head = card.split("---\n")[1]
    assert 'license: "cc0-1.0"' in head  # that of the stage that it was made from
    assert "data_files: data/*.parquet" in head
    for said in (
        "48 answers to 12 problems, 13 of them kept (27.08 %)",
        "- stage `curated` of recipe `curation`, seed 0\n  - stage `traces` of recipe",
        "verifier `accuracy`: `exact`",
        "| `correct`",
        "| truncated |  | 12 |  |  |",
        "incorrect 12 |",
        "| `accuracy`, mean over problems | 0.500 [",
    ):
        assert said in card
    assert "not stated" not in card
    assert str(stages.parent) not in card  # nobody's folders


def test_the_folder_is_a_dataset_as_libraries_read_them(stages: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset(str(stages / "curated"), split="train", cache_dir=str(stages / "cache"))
    assert len(found) == 4 * PROBLEMS


def test_kept_answers_are_written_as_chats(stages: Path) -> None:
    lines = [json.loads(line) for line in (stages / "curated" / "kept.jsonl").read_text().splitlines()]
    kept = [row for row in rows_of(stages, "curated") if row["keep"]]
    assert [line["messages"] for line in lines] == [
        [*row["messages"], {"role": "assistant", "content": row["text"]}] for row in kept
    ]
    assert not (stages / "traces" / "kept.jsonl").exists()


# --- kills -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["unit", "ledger.append", "ledger.done"])
@pytest.mark.parametrize("unit", [1, 3, 6])
def test_a_killed_curation_ends_as_if_it_had_not_been(
    stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, unit: int
) -> None:
    run(tmp_path, until_stage="traces")
    log = tmp_path / "kills"
    monkeypatch.setenv(kills.AT, f"curated/{place}:{unit}")
    monkeypatch.setenv(kills.LOG, str(log))
    with pytest.raises(SetupError, match="its process was killed by SIGKILL"):
        run(tmp_path, until_stage="curated")
    assert log.read_text() == f"curated/{place}\n"
    monkeypatch.delenv(kills.AT)
    learned = list((tmp_path / "run" / "stages" / "curated").rglob("filter-1-*.bin"))
    assert len(learned) == unit  # the memory of the units that were done, and of that which was under way
    assert run(tmp_path, until_stage="curated") == tmp_path / "run" / "stages"
    for name in ("data", "README.md", "report.json", "kept.jsonl"):
        ours, theirs = tmp_path / "run" / "stages" / "curated" / name, stages / "curated" / name
        files = sorted(ours.rglob("*.parquet")) if ours.is_dir() else [ours]
        assert len(files) == (6 if ours.is_dir() else 1)
        for file in files:
            assert file.read_bytes() == (theirs / file.relative_to(ours)).read_bytes()
    assert not list((tmp_path / "run" / "stages" / "curated").rglob("filter-*.bin"))


# --- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "data: traces\n    filters: [correct",
            "data: traces\n    problems: playground\n    filters: [correct",
            "not of both",
        ),
        ("    data: traces\n    filters", "    data: {use: jsonl, path: PATH}\n    filters", "'jsonl' is a source"),
        ("{answers: given, rows: all}", "{prompts: 3, rows: all}", "which given answers are judged"),
        ("{answers: given, rows: all}", "{samples: 2}", "give `prompts`"),
        ("    data: traces\n    filters", "    filters", "missing key 'problems'"),
        ("ends, each: [marks]", "ends, each: [problem]", "must have an item for each of the 4 texts"),
    ],
)
def test_a_curation_that_cannot_be_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert RECIPE.count(before) == 1
    with pytest.raises(R1Error, match=said):
        run(tmp_path, RECIPE.replace(before, after), until_stage="traces" if "each" in before else None)


def test_a_filter_that_remembers_a_dataset_is_none_for_training(tmp_path: Path) -> None:
    recipe = """\
        r1: 1
        name: online
        profile: none
        engines: {policy: transformers, sampler: native}
        stages:
          base: {import: gpt2}
          zero:
            train: {use: rl, preset: grpo, steps: 1, prompts: 2, samples: 2, filters: [no_duplicates]}
            model: base
            problems: playground
            rewards: [accuracy]
        """
    with pytest.raises(RecipeError, match=r"no_duplicates .* remembers a whole dataset, which training would forget"):
        make_plan(resolve(written(tmp_path, recipe)), PluginHost.discover())
