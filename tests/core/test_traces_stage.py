"""Sample stages with a trace ledger: nothing is asked twice, whatever was killed, cut otherwise, or run elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy_runs import BASE, Ran, contents, go, planned

from r1core.cli.arms_view import arm_lines
from r1core.comparison.arms import arms
from r1core.comparison.finished import FinishedRun
from r1core.errors import RecipeError, SetupError
from r1core.events import StageNote
from r1core.stages.traces import LEDGERS
from r1core.store import kills, read_metrics, read_rows
from r1core.store.rows import count_rows

HERE = Path(__file__).parent
FAR = f"{{use: '{HERE / 'toy_far.py'}:Far', log: LOG, dies_after: 1000}}"
REMOTE = "  traces: {sample: {prompts: 10, samples: 2, chunk: 4}, sampler: FAR, problems: Numbers, rewards: [Exact]}\n"
LOCAL = (
    "  base: BASE\n"
    "  traces: {sample: {prompts: 10, samples: 2, chunk: 4, ledger: LEDGER}, model: base, problems: Numbers, "
    "rewards: [Exact]}\n"
)

TWICE = """
from r1core import Problem, ProblemSource
class Twice(ProblemSource):
    name = "twice"
    def problems(self, *, seed):
        for n in range(10):
            yield Problem(id=str(n), messages=({"role": "user", "content": f"say {n // 2}"},), reference=str(n // 2))
"""


def folder(parent: Path, name: str) -> Path:
    """A new folder for a run."""
    (parent / name).mkdir()
    return parent / name


def stages(folder: Path, text: str, *changes: tuple[str, str]) -> str:
    """The stages with the toy's log and the ledger in this folder."""
    for old, new in (*changes, ("FAR", FAR)):
        assert old in text or old == "FAR"
        text = text.replace(old, new)
    return text.replace("LOG", str(folder / "log")).replace("LEDGER", str(folder / "ledger"))


def asked(folder: Path) -> Counter[str]:
    """How often the toy was asked each question."""
    return Counter((folder / "log").read_text().splitlines()) if (folder / "log").exists() else Counter()


def rows(folder: Path, stage: str = "traces") -> list[dict[str, Any]]:
    """The stage's rows."""
    return list(read_rows(folder / "run" / "stages" / stage / "data"))


def metrics(folder: Path, stage: str = "traces") -> list[dict[str, Any]]:
    """The metrics of the stage's units."""
    return list(read_metrics(folder / "run" / "stages" / stage / "metrics.jsonl"))


def last(folder: Path) -> dict[str, Any]:
    """The stage's last metrics."""
    return metrics(folder)[-1]


def left(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What the stage leaves, byte by byte, and its metrics less times."""
    told = [{name: value for name, value in row.items() if not name.startswith("time/")} for row in metrics(folder)]
    return contents(folder / "run" / "stages" / "traces" / "data"), told


def notes(ran: Ran) -> str:
    """What was said to people."""
    return "\n".join(event.text for event in ran.of(StageNote))


# --- a teacher elsewhere ------------------------------------------------------------------------


def test_a_teacher_elsewhere_needs_no_model_and_its_texts_are_rows_in_order(tmp_path: Path) -> None:
    ran = go(tmp_path, stages(tmp_path, REMOTE))
    found = rows(tmp_path)
    assert [(row["id"], row["sample"]) for row in found] == [(str(n), s) for n in range(10) for s in range(2)]
    assert [row["answer"] for row in found if row["keep"]] == [str(n) for n in range(10) if n != 7 for _ in range(2)]
    assert [(row["id"], row["reason"]) for row in found if not row["keep"]] == [("7", "refused: too odd")] * 2
    assert found[0]["thinking"] != found[1]["thinking"]
    assert asked(tmp_path) == {f"say {n}": 2 for n in range(10)}
    plan = planned(tmp_path, stages(tmp_path, REMOTE))
    assert plan.stage("traces").stage.policy is None
    assert {component.kind for component in plan.components} == {"sampler", "source", "reward"}
    assert "20 answers of this teacher: 20 calls, 10.0000 USD" in notes(ran)
    told = last(tmp_path)
    assert {name: told[f"traces/{name}"] for name in ("answers", "refused", "tokens_in", "usd")} == {
        "answers": 20,
        "refused": 2,
        "tokens_in": 60,
        "usd": 10.0,
    }


def test_tokens_that_no_server_counted_are_estimated_by_their_bytes_and_said_to_be(tmp_path: Path) -> None:
    ran = go(tmp_path, stages(tmp_path, REMOTE, ("chunk: 4", "chunk: 10")))
    found = rows(tmp_path)
    about = [-(-len(row["text"].encode()) // 4) for row in found]
    assert min(about) > 0
    assert all(row["tokens"] == 0 for row in found), "what is not known is not stored as known"
    told = last(tmp_path)
    assert told["completions/mean_length"] == pytest.approx(sum(about) / len(about))
    answered = sum(tokens for row, tokens in zip(found, about, strict=True) if not row["reason"].startswith("refused"))
    assert (told["traces/tokens_out"], told["traces/tokens_estimated"]) == (answered, answered)
    assert f"{answered:,} are estimated by their bytes" in notes(ran)
    counted = count_rows(tmp_path / "run/stages/traces/data", kept=False)
    assert (counted.rows, counted.tokens, counted.estimated) == (20, sum(about), sum(about))


def test_a_budget_that_rests_on_estimated_traces_is_neither_zero_nor_shown_as_counted(tmp_path: Path) -> None:
    line = (
        "  base: BASE\n"
        + REMOTE
        + (
            "  student: {train: {use: Climb, data: [traces]}, model: base}\n"
            "  table: {evaluate: {sets: {all: {problems: Numbers, limit: 4}}}, models: [base, student], "
            "rewards: [Exact]}\n"
        )
    )
    go(tmp_path, stages(tmp_path, line))
    table = arms(FinishedRun(tmp_path / "run"), base="base")
    student = table.rows[1].spent
    assert student.traces == student.estimated > 20
    assert [student.is_estimate(name) for name in ("trained", "traces", "budget")] == [False, True, True]
    said = "\n".join(arm_lines(table))
    assert f"~{student.traces:.0f}" in said
    assert "the teacher's server did not count" in said


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            [("sampler: FAR", "model: base, sampler: FAR"), ("  traces", "  base: BASE\n  traces")],
            "nothing is asked of",
        ),
        ([("sampler: FAR, problems: Numbers, ", "problems: Numbers, ")], "missing key 'model'"),
    ],
)
def test_a_model_beside_a_teacher_elsewhere_is_refused_and_one_without_is_missed(
    tmp_path: Path, changes: list[tuple[str, str]], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        planned(tmp_path, stages(tmp_path, REMOTE, *changes))


@pytest.mark.parametrize("kind", ["train: {use: Climb, steps: 3}", "evaluate: {sets: {pass@1: {problems: Numbers}}}"])
def test_what_learns_or_is_measured_cannot_have_others_answer(tmp_path: Path, kind: str) -> None:
    own = "model: base" if kind.startswith("train") else "models: [base]"
    more = ", problems: Numbers, rewards: [Exact]"
    text = f"  base: BASE\n  other: {{{kind}, {own}, sampler: FAR{more}}}\n"
    told = "learns from answers of its own|measures its own" if kind.startswith("evaluate") else "learns from|not read"
    with pytest.raises(RecipeError, match=told):
        planned(tmp_path, stages(tmp_path, text))


def test_a_teacher_that_dies_half_way_is_asked_for_the_rest_alone(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="it is dead") as caught:
        go(tmp_path, stages(tmp_path, REMOTE, ("FAR", FAR.replace("1000", "5"))))
    assert caught.value.exit_code == 3
    assert asked(tmp_path).total() == 6
    ran = go(tmp_path, stages(tmp_path, REMOTE))
    assert asked(tmp_path).total() == 21  # one was under way
    assert "20 answers of this teacher: 21 calls" in notes(ran)
    assert "1 were under way when a process was killed, and asked again" in notes(ran)
    assert (last(tmp_path)["time/asked_again"], last(tmp_path)["time/usd"]) == (1, 10.0 + 2.0)
    whole = folder(tmp_path, "whole")
    go(whole, stages(whole, REMOTE))
    assert left(tmp_path) == left(whole)


@pytest.mark.parametrize("place", ["ledger.append", "ledger.done"])
@pytest.mark.parametrize("count", [1, 7, 12])
def test_a_kill_in_the_middle_of_a_chunk_costs_the_call_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, count: int
) -> None:
    log = tmp_path / "kills"
    monkeypatch.setenv(kills.AT, f"traces/{place}:{count}")
    monkeypatch.setenv(kills.LOG, str(log))
    with pytest.raises(SetupError, match="killed by SIGKILL"):
        go(tmp_path, stages(tmp_path, REMOTE))
    monkeypatch.delenv(kills.AT)
    assert log.read_text() == f"traces/{place}\n"
    go(tmp_path, stages(tmp_path, REMOTE))
    lost = place == "ledger.append" and count != 9  # the ninth is the first unit's own
    assert asked(tmp_path).total() == 20 + lost
    whole = folder(tmp_path, "whole")
    go(whole, stages(whole, REMOTE))
    assert left(tmp_path) == left(whole)


def test_what_a_ledger_of_the_run_has_outlives_a_stage_that_is_made_again(tmp_path: Path) -> None:
    go(tmp_path, stages(tmp_path, REMOTE))
    before = {(row["id"], row["sample"]): row["text"] for row in rows(tmp_path)}
    changed = stages(tmp_path, REMOTE, ("prompts: 10, samples: 2, chunk: 4", "prompts: 12, samples: 3, chunk: 5"))
    ran = go(tmp_path, changed)
    assert asked(tmp_path) == {f"say {n}": 3 for n in range(12)}
    now = {(row["id"], row["sample"]): row["text"] for row in rows(tmp_path)}
    assert len(now) == 36
    assert {place: now[place] for place in before} == before
    assert last(tmp_path)["time/from_ledger"] == 20
    assert "36 answers of this teacher: 36 calls" in notes(ran)


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        (("chunk: 4}", "chunk: 4, instruction: 'now: '}"), True),
        (("chunk: 4}", "chunk: 4, shots: [{question: hm, answer: hm 1}]}"), True),
        (("FAR", FAR.replace("dies_after", "model: n, dies_after")), True),
        (("rewards: [Exact]", "rewards: [Exact], sampling: {temperature: 0.5}"), True),
        (("rewards: [Exact]", "rewards: [Exact], sampling: {max_new_tokens: 5}"), True),
        (("rewards: [Exact]", "rewards: [Exact, Brief], filters: [Right]"), False),
        (("rewards: [Exact]", "rewards: [Exact], seed: 0"), False),
    ],
)
def test_only_what_decides_an_answer_has_it_asked_for_anew(tmp_path: Path, change: tuple[str, str], asks: bool) -> None:
    go(tmp_path, stages(tmp_path, REMOTE))
    go(tmp_path, stages(tmp_path, REMOTE, change))
    assert asked(tmp_path).total() == (40 if asks else 20)


def test_the_same_question_has_one_answer_for_each_sample(tmp_path: Path) -> None:
    source = tmp_path / "twice.py"
    source.write_text(TWICE)
    go(tmp_path, stages(tmp_path, REMOTE, ("problems: Numbers", f"problems: '{source}:Twice'")))
    assert asked(tmp_path) == {f"say {n}": 2 for n in range(5)}
    found = {(row["id"], row["sample"]): row["text"] for row in rows(tmp_path)}
    assert len(found) == 20
    assert all(found[f"{n}", s] == found[f"{n + 1}", s] for n in range(0, 10, 2) for s in range(2))


# --- one ledger for several runs, and for models of the run -------------------------------------


def test_two_stages_that_share_a_ledger_run_one_after_the_other(tmp_path: Path) -> None:
    shared = REMOTE.replace("chunk: 4}", "chunk: 4, ledger: LEDGER}")
    both = shared + shared.replace("traces:", "again:")
    ran = go(tmp_path, stages(tmp_path, both), jobs=2)
    assert asked(tmp_path) == {f"say {n}": 2 for n in range(10)}
    assert rows(tmp_path) == rows(tmp_path, "again")
    told = [row["time/from_ledger"] for s in ("traces", "again") for row in metrics(tmp_path, s)[-1:]]
    assert sorted(told) == [0, 20]
    assert len(ran.of(StageNote)) >= 2


def test_a_model_of_the_run_with_a_ledger_is_not_sampled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = folder(tmp_path, "first"), folder(tmp_path, "second")
    go(first, stages(tmp_path, LOCAL))
    other = ("prompts: 10, samples: 2, chunk: 4", "prompts: 12, samples: 2, chunk: 7")
    go(second, stages(tmp_path, LOCAL, other))
    assert last(first)["time/from_ledger"] == 0
    assert last(second)["time/from_ledger"] == 20
    assert rows(second)[:20] == rows(first)
    assert len({row["text"] for row in rows(second)}) > 20
    assert all(row["tokens"] > 1 for row in rows(first))


@pytest.mark.parametrize(("seed", "base"), [(1, BASE), (0, BASE.replace("0.2", "0.3"))])
def test_another_seed_or_other_weights_are_sampled(tmp_path: Path, seed: int, base: str) -> None:
    go(folder(tmp_path, "first"), stages(tmp_path, LOCAL))
    go(folder(tmp_path, "same"), stages(tmp_path, LOCAL))
    assert last(tmp_path / "same")["time/from_ledger"] == 20
    go(folder(tmp_path, "other"), stages(tmp_path, LOCAL, ("BASE", base)), seed=seed)
    assert last(tmp_path / "other")["time/from_ledger"] == 0


def test_a_model_of_the_run_has_no_ledger_unless_one_is_named(tmp_path: Path) -> None:
    go(tmp_path, stages(tmp_path, LOCAL, (", ledger: LEDGER", "")))
    assert not (tmp_path / "run" / "stages" / LEDGERS).exists()
    assert "time/from_ledger" not in last(tmp_path)


def test_where_the_ledger_lies_makes_no_stage_stale(tmp_path: Path) -> None:
    plans = [planned(tmp_path, stages(tmp_path / name, LOCAL)) for name in ("here", "there")]
    assert plans[0].stage("traces").fingerprint == plans[1].stage("traces").fingerprint


def test_damage_in_the_middle_is_told_and_costs_one_answer(tmp_path: Path) -> None:
    go(tmp_path, stages(tmp_path, REMOTE))
    before = left(tmp_path)
    part = next((tmp_path / "run" / "stages" / LEDGERS / "traces").glob("part-*.jsonl"))
    part.write_bytes(part.read_bytes().replace(b"</think>3", b"</think>4", 1))
    ran = go(tmp_path, stages(tmp_path, REMOTE), from_stage="traces")
    assert asked(tmp_path) - Counter({f"say {n}": 2 for n in range(10)}) == {"say 3": 1}
    assert "1 lines of it were damaged" in notes(ran)
    assert left(tmp_path) == before
