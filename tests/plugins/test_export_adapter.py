"""`r1 export` of a LoRA adapter: merged in float32, proved by logits, refused where it is not exact or fits nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from talking_model import build
from test_export import done, refused, told

from r1_plugins.export import compare
from r1core.errors import RecipeError, RefusedError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Path:
    """An adapter by peft that has learned something, and remembers its base by a name that is no folder."""
    from peft import LoraConfig, get_peft_model

    model: Any = compare.load(folder, scores=False, dtype="float32")
    wrapped: Any = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    place = folder.parent / "adapter"
    wrapped.save_pretrained(place, save_embedding_layers=False)
    config = place / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "someone/base-7b"}))
    return place


def test_the_merged_model_is_the_model_with_its_adapter(folder: Path, adapter: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    said = done(adapter, tmp_path / "out", "--base", folder)
    assert "merged: logits before and after differ" in said
    found = told(tmp_path / "out")
    assert found["checks"]["merged"]["relative"] < 1e-4
    assert found["model"]["base_model"] == "someone/base-7b"
    ids = torch.tensor([list(range(100, 130))])
    plain: Any = compare.load(folder, scores=False, dtype="float32")
    merged: Any = compare.load(tmp_path / "out", scores=False, dtype="float32")
    with torch.no_grad():
        base = plain(ids).logits
        both = PeftModel.from_pretrained(plain, adapter).eval()(ids).logits
        ours = merged(ids).logits
    assert (ours - both).abs().max() < 1e-4 * both.abs().max()
    assert (ours - base).abs().max() > 0.01 * base.abs().max(), "the adapter says something"
    assert not list((tmp_path / "out").glob("adapter*"))


def test_an_adapter_without_its_model_says_which_one_is_missing(folder: Path, adapter: Path, tmp_path: Path) -> None:
    error = refused(adapter, tmp_path / "out")
    assert isinstance(error, RecipeError)
    assert "someone/base-7b" in str(error)
    assert "--base" in str(error)


def test_an_adapter_that_lies_in_its_models_folder_needs_no_base(folder: Path, adapter: Path, tmp_path: Path) -> None:
    both = shutil.copytree(folder, tmp_path / "both")
    for path in adapter.glob("adapter*"):
        shutil.copyfile(path, both / path.name)
    done(both, tmp_path / "out")
    done(adapter, tmp_path / "other", "--base", folder)
    one, other = ((tmp_path / at / "model.safetensors").read_bytes() for at in ("out", "other"))
    assert one == other


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    other = build(tmp_path / "other")
    config = LlamaConfig(
        vocab_size=272, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(other)
    error = refused(adapter, tmp_path / "out", "--base", other)
    assert isinstance(error, RecipeError)
    assert "does not fit" in str(error)


def test_a_pickled_adapter_is_not_opened(folder: Path, adapter: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(adapter, tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    assert "is a pickle" in str(refused(pickled, tmp_path / "out", "--base", folder))


def test_a_merge_that_is_not_exact_is_refused(
    folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import Linear

    real = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: 1.05 * real(self, name))
    error = refused(adapter, tmp_path / "out", "--base", folder)
    assert isinstance(error, RefusedError)
    assert "merging changes what the model says" in str(error)
    assert not any(tmp_path.iterdir())


def test_in_bfloat16_the_sum_is_rounded_once(folder: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for dtype in ("bfloat16", "float32"):
        done(adapter, tmp_path / dtype, "--base", folder, "--dtype", dtype)
    half, whole = (load_file(tmp_path / dtype / "model.safetensors") for dtype in ("bfloat16", "float32"))
    assert all(torch.equal(half[name], whole[name].to(torch.bfloat16)) for name in whole)
    assert json.loads((tmp_path / "bfloat16" / "config.json").read_text())["dtype"] == "bfloat16"
