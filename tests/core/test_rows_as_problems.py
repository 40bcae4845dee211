"""A stage's rows as another stage's problems, in real processes: a source that reads an artifact is an edge."""

from __future__ import annotations

from pathlib import Path

from toy_runs import go, planned

from r1core.events import StageStarted
from r1core.store import read_rows

STAGES = """\
  base: BASE
  first:
    sample: {prompts: 6, samples: 2}
    model: base
    problems: Numbers
    rewards: [Exact]
    filters: [Right]
  second:
    sample: {prompts: 100, samples: 1}
    model: base
    problems: {use: from_data, data: first, prompt: "again: {question} ({answer})"}
    rewards: [Exact]
"""


def test_kept_rows_are_asked_again_with_their_reference(tmp_path: Path) -> None:
    ran = go(tmp_path, STAGES, jobs=2)
    assert ran.order(StageStarted) == ["base", "first", "second"]
    first, second = (list(read_rows(tmp_path / "run/stages" / name / "data")) for name in ("first", "second"))
    kept = [row for row in first if row["keep"]]
    assert 1 < len(kept) < len(first)
    assert [(row["id"], row["meta"]["from"], row["reference"]) for row in second] == [
        (f"{row['id']}.{row['sample']}", row["id"], row["reference"]) for row in kept
    ]
    assert second[0]["messages"][0]["content"] == f"again: say {kept[0]['id']} ({kept[0]['answer']})"


def test_what_the_rows_come_of_makes_the_questions_stale(tmp_path: Path) -> None:
    before, after = planned(tmp_path, STAGES), planned(tmp_path, STAGES.replace("prompts: 6", "prompts: 7"))
    changed = {name for name, print_ in before.fingerprints.items() if after.fingerprints[name] != print_}
    assert changed == {"first", "second"}
