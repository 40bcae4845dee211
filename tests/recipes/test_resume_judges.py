"""Reward models are trained, and asked, to the same bytes when a kill comes in between."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy_judges import JUDGES, STAGES
from toy_line import go, lay_out

from r1core.errors import SetupError
from r1core.store import read_metrics
from r1core.store.promised import promised


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The recipe, and the run of it that nothing happened to."""
    folder = tmp_path_factory.mktemp("judges")
    recipe = lay_out(folder, text=JUDGES)
    go(recipe, folder / "run", jobs=1)
    return recipe, folder / "run"


def test_the_line_leaves_models_that_score_and_one_that_learned_from_them(unbroken: tuple[Path, Path]) -> None:
    rows = {stage: list(read_metrics(unbroken[1] / "stages" / stage / "metrics.jsonl")) for stage in STAGES}
    helpful, safe, judged = rows["helpful_rm"], rows["safe_rm"], rows["judged"]
    assert helpful[0]["loss"] == pytest.approx(0.6931, abs=1e-4)
    assert len(helpful) == 9
    assert {"eval/pair_accuracy", "eval/pairs"} <= helpful[-1].keys()
    assert {"eval/auc", "eval/answers"} <= safe[-1].keys()
    assert all(0 < row["rewards/reward_model/mean"] < 1 and row["reward_std"] > 0 for row in judged)
    assert all(row["verifier/failure_rate"] == row["verifier/infra_rate"] == 0 for row in judged)


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("answers", "ledger.done:2"),
        ("helpful_rm", "unit:5"),
        ("helpful_rm", "unit:9"),
        ("safe_rm", "checkpoint.done:2"),
        ("judged", "unit:3"),
    ],
)
def test_killed_and_gone_on_with_it_leaves_the_same_bytes(
    unbroken: tuple[Path, Path], tmp_path: Path, stage: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, whole = unbroken
    run, log = tmp_path / "run", tmp_path / "kills"
    shutil.copytree(whole, run)
    for name in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(run / "stages" / name)
    with monkeypatch.context() as patch:
        patch.setenv("R1_KILL_AT", f"{stage}/{place}")
        patch.setenv("R1_KILL_LOG", str(log))
        with pytest.raises(SetupError, match="killed by SIGKILL"):
            go(recipe, run, until_stage=stage, jobs=1)
    assert log.read_text() == f"{stage}/{place.partition(':')[0]}\n"
    go(recipe, run, until_stage=stage, jobs=1)
    own, theirs = promised(run / "stages" / stage), promised(whole / "stages" / stage)
    assert own == theirs
    assert any(name.startswith(("model/", "data/")) for name in own)
