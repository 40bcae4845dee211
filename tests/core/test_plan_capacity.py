"""Impossible arithmetic is refused with the plan, at its line, with the nearest values that work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import toy_components
from toy_recipes import HEAD, STAGES, TINY, planned, refused

from r1core.choices import Options
from r1core.estimates import Misfit, ModelShape

SHAPE = "hidden_size: 96, intermediate_size: 288, num_hidden_layers: 2, vocab_size: 50, max_position_embeddings: 16"


class Known(Options):
    """What the toy type is made of; three heads share one unless it says otherwise."""

    hidden_size: int = 96
    num_attention_heads: int = 3
    num_key_value_heads: int = 3
    head_dim: int | None = None
    rope_parameters: dict[str, Any] | None = None
    intermediate_size: int = 0
    num_hidden_layers: int = 0
    vocab_size: int = 0
    max_position_embeddings: int = 0


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_components.Net, "architecture_options", classmethod(lambda cls, model_type: Known))


def profile(folder: Path, scratch: str = SHAPE, answers: int = 15) -> tuple[str, str]:
    """The recipe, and a profile for it: a model of this shape, answers of so many tokens."""
    text = TINY.replace("model_type: toy", f"model_type: toy, {scratch}").replace(
        "max_new_tokens: 16", f"max_new_tokens: {answers}"
    )
    (folder / "profiles").mkdir(exist_ok=True)
    return (HEAD + STAGES).replace("name: toys\n", "name: toys\nprofile: shaped\n"), text


def said(folder: Path, scratch: str = SHAPE, answers: int = 15) -> str:
    recipe, text = profile(folder, scratch, answers)
    (folder / "profiles" / "shaped.yaml").write_text(text)
    return refused(folder, recipe)


def accepted(folder: Path, scratch: str = SHAPE, answers: int = 15) -> bool:
    recipe, text = profile(folder, scratch, answers)
    (folder / "profiles" / "shaped.yaml").write_text(text)
    return bool(planned(folder, recipe).stages)


def test_answers_that_leave_room_for_a_prompt_are_planned(tmp_path: Path) -> None:
    assert accepted(tmp_path)


def test_answers_that_leave_no_room_for_a_prompt_are_refused_wherever_the_model_answers(tmp_path: Path) -> None:
    told = said(tmp_path, answers=16)
    assert (
        "max_new_tokens: too long: answers of 16 tokens, and their prompts, into the 16 positions of 'base'\n"
        "  max_new_tokens: 15 at most, less the longest prompt; or a model with more positions\n"
    ) in told
    assert told.startswith("profiles/shaped.yaml:7:"), "its line is told"
    assert "16 positions of 'zero'" in told, "a model that was trained from it has no more"


@pytest.mark.parametrize(
    ("scratch", "message", "hint"),
    [
        (
            "num_attention_heads: 5",
            "num_attention_heads is 5, and hidden_size 96 is no multiple of it",
            "num_attention_heads: 4 or 6, or hidden_size: 95 or 100",
        ),
        ("num_attention_heads: 32", "heads of 3 numbers cannot be rotated by position", "hidden_size: 64 or 128"),
        ("head_dim: 33", "heads of 33 numbers cannot be rotated by position", "head_dim: 32 or 34"),
        (
            "num_attention_heads: 6, num_key_value_heads: 4",
            "num_key_value_heads is 4, which does not divide the 6 heads",
            "num_key_value_heads: 3 or 6",
        ),
        (
            "num_attention_heads: 2",
            "num_key_value_heads is 3 by default, which does not divide the 2 heads",
            "num_key_value_heads: 2",
        ),
    ],
)
def test_heads_that_do_not_come_out_even_are_refused(tmp_path: Path, scratch: str, message: str, hint: str) -> None:
    told = said(tmp_path, f"{SHAPE}, {scratch}")
    assert f"{message}" in told
    assert f"\n  {hint}\n" in told
    assert "profiles/shaped.yaml:3:" in told, "its line is told"


def test_what_an_engine_cannot_do_with_a_model_is_refused_at_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misfits(self: Any, shape: ModelShape, *, policy: Any) -> Sequence[Misfit]:
        assert isinstance(policy, toy_components.Net)
        return [Misfit(message=f"heads of {shape.head_size} numbers", hint="take 64")] if shape.head_size != 64 else []

    monkeypatch.setattr(toy_components.Draw, "misfits", misfits)
    told = said(tmp_path)
    assert "sampler: heads of 32 numbers (model of 'base')\n  take 64\n" in told
    assert accepted(tmp_path, f"{SHAPE}, head_dim: 64")


def sharing(monkeypatch: pytest.MonkeyPatch, option: str = "stage: 3", shares: bool = True) -> None:
    """The toy policy spreads its weights by this option, the toy sampler uses the policy's module."""
    monkeypatch.setattr(toy_components.Net, "sharded_by", option)
    monkeypatch.setattr(toy_components.Draw, "shares_module", shares)


def test_a_sampler_that_shares_the_policys_module_is_refused_where_that_is_whole_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing(monkeypatch)
    recipe, text = profile(tmp_path)
    text = text.replace("base: {train: fit", "base: {import: some/model}\n  other: {train: fit")  # of no known shape
    (tmp_path / "profiles" / "shaped.yaml").write_text(text)
    told = refused(tmp_path, recipe)
    assert told == (
        "profiles/shaped.yaml:7:41: stages.zero.sampler: draw samples with the policy's own module, which lies in "
        "pieces over the ranks (policy net, stage: 3)\n"
        "  choose a sampler with weights of its own, or a policy without `stage: 3`\n1 error"
    ), "stages that train nothing open a whole model, and a stage that samples nothing needs none"


@pytest.mark.parametrize(("option", "shares"), [("", True), ("stage: 3", False)])
def test_either_alone_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, shares: bool) -> None:
    sharing(monkeypatch, option, shares)
    assert accepted(tmp_path)


def test_of_a_model_that_is_not_here_nothing_is_refused(tmp_path: Path) -> None:
    recipe, text = profile(tmp_path, answers=10**6)
    text = text.replace("base: {train: fit", "base: {import: some/model}\n  other: {train: fit")
    (tmp_path / "profiles" / "shaped.yaml").write_text(text)
    assert planned(tmp_path, recipe).stages


def test_a_folder_is_looked_into(tmp_path: Path) -> None:
    config = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
        "max_position_embeddings": 12,
    }
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    recipe, text = profile(tmp_path, answers=12)
    text = text.replace("base: {train: fit", f"base: {{import: {tmp_path / 'model'}}}\n  other: {{train: fit")
    (tmp_path / "profiles" / "shaped.yaml").write_text(text)
    assert "12 positions of 'base'" in refused(tmp_path, recipe)
