"""DeepSpeed on one rank and on two, at every ZeRO stage, trains as one plain process does; and goes on from any to any.

Real processes over gloo. The model is llama: qwen2's key biases have no gradient but rounding, which Adam makes large.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rank_group import RankGroup
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.transformers import TransformersPolicy

UPDATES = 20
RELATIVE = 1e-5
LLAMA = {**ARCHITECTURE, "model_type": "llama"}
LOSSES = ["sft", "grpo"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "model"
    folder.mkdir()
    write_tokenizer(folder)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(folder, LLAMA, seed=0)
    return folder


GROUPS: dict[tuple[str, int], RankGroup] = {}
"""Those that were started, by engine and size; the plain process is one of its own."""


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    """All ranks end by themselves when there are no more jobs."""
    yield
    assert [code for group in GROUPS.values() if group.alive for code in group.end() if code] == []


def trained(folder: Path, *, world: int = 1, **job: Any) -> dict[str, Any]:
    """Run a job on so many ranks; what rank 0 told."""
    folder.mkdir(parents=True, exist_ok=True)
    which = (job["engine"], world)
    if which not in GROUPS or not GROUPS[which].alive:
        GROUPS[which] = RankGroup(world, folder)
    return GROUPS[which].do(job, folder / "job.json")


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one plain process makes of it, by loss."""
    folder = tmp_path_factory.mktemp("plain")
    job = {"engine": "transformers", "model": str(model), "losses": LOSSES, "updates": UPDATES}
    return {**trained(folder, export=str(folder), **job), "out": folder}


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_training_is_that_of_one_plain_process(
    stage: int, world: int, model: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    same = {"model": str(model), "losses": LOSSES, "updates": UPDATES}
    found = trained(tmp_path, world=world, engine="deepspeed", stage=stage, export=str(tmp_path), **same)
    for loss in LOSSES:
        ours, theirs = found[loss], plain[loss]
        for own, other in zip(ours["reports"], theirs["reports"], strict=True):
            assert own == pytest.approx(other, rel=RELATIVE, abs=RELATIVE)
        for own, other in zip(ours["logprobs"], theirs["logprobs"], strict=True):
            np.testing.assert_allclose(own, other, rtol=RELATIVE, atol=RELATIVE)
        weights, wanted = (load_file(place / loss / "model.safetensors") for place in (tmp_path, plain["out"]))
        assert weights.keys() == wanted.keys()
        for name, weight in weights.items():
            assert float((weight - wanted[name]).norm() / wanted[name].norm()) <= RELATIVE, name
        assert abs(theirs["reports"][-1]["loss"] - theirs["reports"][0]["loss"]) > 0.01, "nothing was learned"


@pytest.mark.parametrize(("stage", "world", "packing"), [(0, 2, False), (1, 1, True), (2, 2, False), (3, 2, True)])
def test_a_head_that_is_read_in_tiles_and_packing_change_no_step(
    stage: int, world: int, packing: bool, model: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    """Also where the head's weight is spread over the ranks, and where it is the embedding, too."""
    job = {"engine": "deepspeed", "stage": stage, "model": str(model), "losses": ["grpo"], "updates": 5}
    found = trained(tmp_path, world=world, tiles=True, packing=packing, **job)["grpo"]
    assert found["tiles"] > 10
    for own, other in zip(found["reports"], plain["grpo"]["reports"], strict=False):
        assert own == pytest.approx(other, rel=RELATIVE, abs=RELATIVE)
    assert plain["grpo"]["tiles"] == 0


@pytest.mark.parametrize(("stage", "world", "rows"), [(0, 1, 9), (1, 2, 9), (2, 2, 1), (3, 1, 9), (3, 2, 9), (3, 2, 1)])
def test_a_live_teacher_teaches_as_in_one_plain_process(
    stage: int, world: int, rows: int, model: Path, tmp_path: Path
) -> None:
    """Whole distributions of both models, read in tiles where the student's head may be spread, and by a rank that has
    no answer; and the likeliest tokens of each place, told to every rank."""
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    write_tokenizer(teacher)
    TransformersPolicy(TransformersPolicy.Config(device="cpu")).create(teacher, LLAMA, seed=1)
    same = {
        "model": str(model),
        "teacher": str(teacher),
        "losses": ["taught"],
        "updates": 6,
        "tiles": True,
        "rows": rows,
    }
    wanted = trained(tmp_path / "plain", engine="transformers", **same)["taught"]
    found = trained(tmp_path / "ranks", engine="deepspeed", stage=stage, world=world, **same)["taught"]
    for own, other in zip(found["reports"], wanted["reports"], strict=True):
        assert own == pytest.approx(other, rel=RELATIVE, abs=RELATIVE)
    assert wanted["reports"][-1]["loss"] < wanted["reports"][0]["loss"] - 0.01, "nothing was learned"
    for rank in found["ranks"]:
        for own, other in zip(rank["likeliest"], wanted["likeliest"], strict=True):
            np.testing.assert_allclose(own, other, rtol=10 * RELATIVE, atol=10 * RELATIVE)


@pytest.mark.parametrize(
    ("stage", "world", "then_stage", "then_world"), [(3, 2, 1, 1), (1, 1, 3, 2), (2, 2, 0, 1), (3, 2, 2, 2)]
)
def test_a_checkpoint_goes_on_at_another_stage_and_number_of_ranks(
    stage: int, world: int, then_stage: int, then_world: int, model: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    same = {"engine": "deepspeed", "model": str(model), "losses": ["grpo"], "updates": UPDATES // 2}
    trained(tmp_path / "a", world=world, stage=stage, save=str(tmp_path / "state"), **same)
    assert not [file for file in (tmp_path / "state").iterdir() if file.suffix not in {".safetensors", ".json"}]
    found = trained(tmp_path / "b", world=then_world, stage=then_stage, restore=str(tmp_path / "state"), **same)
    for ours, theirs in zip(found["grpo"]["reports"], plain["grpo"]["reports"][UPDATES // 2 :], strict=True):
        assert ours == pytest.approx(theirs, rel=RELATIVE, abs=RELATIVE)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_adapters_are_trained_as_by_one_plain_process(stage: int, model: Path, tmp_path: Path) -> None:
    """Two ranks; what is exported, and given to a sampler, is merged; what is saved is the adapters."""
    same = {"model": str(model), "losses": ["grpo"], "updates": 6, "lora": {"rank": 4, "alpha": 8.0}}
    wanted = trained(tmp_path / "plain", engine="transformers", export=str(tmp_path / "plain"), **same)["grpo"]
    places = {name: str(tmp_path / name) for name in ("export", "save", "weights")}
    found = trained(tmp_path / "ranks", world=2, engine="deepspeed", stage=stage, **same, **places)["grpo"]
    for own, other in zip(found["reports"], wanted["reports"], strict=True):
        assert own == pytest.approx(other, rel=RELATIVE, abs=RELATIVE)
    for own, other in zip(found["logprobs"], wanted["logprobs"], strict=True):
        np.testing.assert_allclose(own, other, rtol=RELATIVE, atol=RELATIVE)
    ours, theirs, before = (
        load_file(place / "model.safetensors")
        for place in (tmp_path / "export" / "grpo", tmp_path / "plain" / "grpo", model)
    )
    given = load_file(tmp_path / "weights.1")
    assert ours.keys() == theirs.keys() == given.keys() == before.keys()
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], atol=10 * RELATIVE * float(theirs[name].abs().max()))
        torch.testing.assert_close(given[name], weight, atol=1e-6, rtol=1e-6)
    assert {name for name in ours if not torch.equal(ours[name], before[name])} == {n for n in ours if "proj" in n}
    saved = [key for file in (tmp_path / "save").glob("*.safetensors") for key in load_file(file)]
    assert saved
    assert all(".lora_" in key for key in saved)
    again = trained(tmp_path / "again", engine="deepspeed", stage=2, restore=places["save"], **same)["grpo"]
    assert again["reports"][0]["loss"] < wanted["reports"][0]["loss"] - 1e-3, "it went on from what was saved"


def test_a_rank_without_answers_takes_part(model: Path, tmp_path: Path) -> None:
    """At stage 3 a forward needs all ranks: one answer on two ranks must not hang, and is the step of one rank."""
    same = {"engine": "deepspeed", "stage": 3, "model": str(model), "losses": ["grpo"], "updates": 2, "rows": 1}
    two = trained(tmp_path / "two", world=2, **same)
    one = trained(tmp_path / "one", world=1, **same)
    assert two["grpo"]["reports"][-1] == pytest.approx(one["grpo"]["reports"][-1], rel=RELATIVE, abs=RELATIVE)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_every_rank_gets_the_whole_answer_and_the_exported_weights(stage: int, model: Path, tmp_path: Path) -> None:
    """The same reports and log-probabilities on both; weights whole, under the names of the exported folder."""
    job = {"engine": "deepspeed", "stage": stage, "model": str(model), "losses": ["grpo"], "updates": 2}
    found = trained(tmp_path, world=2, weights=str(tmp_path / "weights"), export=str(tmp_path / "out"), **job)
    ranks = found["grpo"]["ranks"]
    assert len(ranks) == 2
    assert ranks[0] == ranks[1]
    assert len(ranks[0]["logprobs"]) == 9
    exported = load_file(tmp_path / "out" / "grpo" / "model.safetensors")
    for rank in range(2):
        given = load_file(tmp_path / f"weights.{rank}")
        assert given.keys() == exported.keys()
        assert all(torch.equal(given[name], weight) for name, weight in exported.items())


@pytest.mark.parametrize(("stage", "failing"), [(3, 1), (1, 0)])
def test_a_disk_that_fails_one_rank_fails_all(stage: int, failing: int, model: Path, tmp_path: Path) -> None:
    """And nobody hangs: the same error everywhere, after which the ranks go on together."""
    job = {"engine": "deepspeed", "stage": stage, "model": str(model), "losses": ["grpo"], "updates": 1}
    found = trained(tmp_path, world=2, save=str(tmp_path / "state"), failing=failing, export=str(tmp_path), **job)
    said = [rank["said"] for rank in found["grpo"]["ranks"]]
    assert "File too large" in said[failing]
    assert said[1 - failing] == f"on another rank: {said[failing]}"
    assert (tmp_path / "grpo" / "model.safetensors").exists()
