"""Ranges, what a process holds at its peak, and the shapes of models that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r1core.estimates import Load, Memory, ModelShape, Range, Unknown, biggest, shape_of, total
from r1core.estimates.arithmetic import micro_batch
from r1core.estimates.folders import shape_in, shape_of_name

CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def test_ranges_add_up_and_are_compared_side_by_side() -> None:
    narrow, wide = Range(2, 3, 4), Range(1, 3, 9)
    assert narrow + wide == Range(3, 6, 13)
    assert total([narrow, wide, Range.exactly(1)]) == Range(4, 7, 14)
    assert biggest([narrow, wide]) == Range(2, 3, 9)
    assert wide.over(narrow) == Range(1 / 4, 1, 9 / 2)
    assert Range.about((5, 1, 3)) == Range(1, 3, 5)


def test_gradients_that_are_let_go_count_while_it_works_alone() -> None:
    five = Range.exactly(5)
    held = Memory(weights=five, gradients=five, activations=five)
    assert (held.stays, held.comes_and_goes) == (Range.exactly(10), five)
    gone = Memory(weights=five, gradients=five, activations=five, passing=Range.exactly(1))
    assert (gone.stays, gone.comes_and_goes) == (five, Range.exactly(6))
    step = Memory(weights=five, gradients=five, activations=Range.exactly(2), passing=Range.exactly(1))
    assert step.comes_and_goes == five
    assert "passing" not in step.parts


def test_a_checkpoint_takes_the_place_of_an_updates_work() -> None:
    assert Memory(activations=Range.exactly(5), saving=Range.exactly(7)).comes_and_goes == Range.exactly(7)
    assert Memory(activations=Range.exactly(9), saving=Range.exactly(7)).comes_and_goes == Range.exactly(9)


@pytest.mark.parametrize(
    ("length", "step", "most", "wanted"),
    [
        (100, 10_000, 1000, 1000),
        (300, 10_000, 1000, 900),  # whole sequences
        (2000, 10_000, 1000, 2000),  # a longer one goes alone
        (100, 400, 1000, 400),  # the step has no more
    ],
)
def test_a_micro_batch_holds_whole_sequences(length: int, step: int, most: int, wanted: int) -> None:
    load = Load(length=Range.exactly(length), update_tokens=Range.exactly(step))
    found = micro_batch(load, most)
    assert (found.expected, found.high) == (wanted, wanted)
    assert found.low == max(wanted / 2, length)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"hidden_size": None}, "does not say hidden_size"),
        ({"num_local_experts": 8}, "it has experts"),
        ({"kv_lora_rank": 512}, "keep more than keys and values"),
    ],
)
def test_what_is_not_known_is_said_and_not_guessed(changed: dict[str, Any], why: str) -> None:
    found = shape_of({**CONFIG, **changed})
    assert isinstance(found, Unknown)
    assert why in found.why


def test_a_shape_fills_in_what_follows_from_the_rest() -> None:
    found = shape_of(CONFIG)
    assert isinstance(found, ModelShape)
    assert (found.kv_heads, found.head_size, found.positions) == (4, 16, None)
    assert found.scoring().parameters == found.parameters - found.embedding


def test_a_tokenizer_decides_where_the_config_does_not() -> None:
    without = {key: value for key, value in CONFIG.items() if key != "vocab_size"}
    assert isinstance(shape_of(without), Unknown)
    told = shape_of(without, vocabulary=50)
    assert isinstance(told, ModelShape)
    assert told.vocabulary == 50


def write(folder: Path, **tensors: list[int]) -> Path:
    """A model folder; its safetensors files hold headers alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header = {name.replace("__", "."): {"dtype": "F32", "shape": size} for name, size in tensors.items()}
    text = json.dumps({**header, "__metadata__": {"format": "pt"}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    return folder


def test_a_folders_weights_are_counted_by_its_headers(tmp_path: Path) -> None:
    found = shape_in(write(tmp_path, a=[3, 4], model__layers__0__input_layernorm__weight=[64]))
    assert isinstance(found, ModelShape)
    assert (found.parameters, found.norms) == (12 + 64, 64)


def test_a_broken_file_is_not_half_counted(tmp_path: Path) -> None:
    folder = write(tmp_path, a=[3, 4])
    (folder / "more.safetensors").write_bytes(b"\xff" * 20)
    found = shape_in(folder)
    assert isinstance(found, ModelShape)
    assert found.counted is None


def test_a_hub_id_is_found_where_it_was_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    missing = shape_of_name("someone/model")
    assert isinstance(missing, Unknown)
    assert "unknown until downloaded" in missing.why
    place = tmp_path / "models--someone--model"
    write(place / "snapshots" / "abc", a=[3, 4])
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    found = shape_of_name("someone/model")
    assert isinstance(found, ModelShape)
    assert found.parameters == 12
