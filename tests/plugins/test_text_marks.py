"""Marks of tokenizers and templates: the same ids, the same mark, however the files lie; other ids, another mark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_model
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

from r1core.nn import ChatText
from r1core.testing.tasks import component

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n")]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(folder: Path) -> Path:
    """A tokenizer as it was laid out of old: vocab.json, merges.txt, and a config with the template."""
    folder.mkdir()
    tokens = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    plain = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    added = {
        str(len(tokens) + number): {"content": token, "special": number < 3, **plain}
        for number, token in enumerate(SPECIAL)
    }
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config |= {"added_tokens_decoder": added, "chat_template": TEMPLATE}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in MERGES))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The same tokenizer as libraries save it now: tokenizer.json, and the template in a file of its own."""
    old = byte_level(tmp_path / "old")
    AutoTokenizer.from_pretrained(old, local_files_only=True).save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved/vocab.json").exists()
    assert (tmp_path / "saved/chat_template.jinja").exists()
    return tmp_path / "saved"


def changed(folder: Path, change: Callable[[Any], None]) -> Path:
    """The folder with another tokenizer.json."""
    told = json.loads((folder / "tokenizer.json").read_text())
    change(told)
    (folder / "tokenizer.json").write_text(json.dumps(told))
    return folder


def test_one_tokenizer_has_one_mark_in_both_layouts(tmp_path: Path, saved: Path) -> None:
    old, new = ChatText(tmp_path / "old"), ChatText(saved)
    assert old.tokenizer("then the inn")["input_ids"] == new.tokenizer("then the inn")["input_ids"]
    assert old.marks == new.marks
    assert set(old.marks) == {"tokenizer", "ids", "end", "template"}


def _in_another_order(told: Any) -> None:
    told["model"]["vocab"] = dict(reversed(told["model"]["vocab"].items()))
    told["added_tokens"].reverse()
    told["added_tokens"].sort(key=lambda token: token["id"])


def _old_merges(told: Any) -> None:
    told["model"]["merges"] = [" ".join(pair) for pair in told["model"]["merges"]]


def _padded(told: Any) -> None:
    told["truncation"] = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}


def _decoded(told: Any) -> None:
    told["decoder"]["trim_offsets"] = False
    told["post_processor"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


@pytest.mark.parametrize("change", [_in_another_order, _old_merges, _padded, _decoded])
def test_what_changes_no_ids_changes_no_mark(saved: Path, change: Callable[[Any], None]) -> None:
    before, bytes_before = ChatText(saved).marks, (saved / "tokenizer.json").read_bytes()
    after = ChatText(changed(saved, change))
    assert (saved / "tokenizer.json").read_bytes() != bytes_before
    assert after.marks == before


def _renamed_word(told: Any) -> None:
    told["model"]["vocab"]["!in"] = told["model"]["vocab"].pop("in")
    told["model"]["merges"].pop()


def _swapped_ids(told: Any) -> None:
    vocabulary = told["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def _fewer_merges(told: Any) -> None:
    told["model"]["merges"].pop(2)


def _other_merges_first(told: Any) -> None:
    told["model"]["merges"].reverse()


def _other_splits(told: Any) -> None:
    told["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _no_normal_form(told: Any) -> None:
    told["normalizer"] = None


def _think_is_no_token(told: Any) -> None:
    told["added_tokens"] = [token for token in told["added_tokens"] if token["content"] != "<think>"]


def _eats_blanks(told: Any) -> None:
    told["added_tokens"][-1]["lstrip"] = True


@pytest.mark.parametrize(
    "change",
    [
        *(_renamed_word, _swapped_ids, _fewer_merges, _other_merges_first, _other_splits),
        *(_no_normal_form, _think_is_no_token, _eats_blanks),
    ],
)
def test_what_changes_ids_changes_the_mark_of_the_tokenizer_alone(saved: Path, change: Callable[[Any], None]) -> None:
    before = ChatText(saved).marks
    after = ChatText(changed(saved, change)).marks
    assert after["tokenizer"] != before["tokenizer"]
    assert after["ids"] != before["ids"]
    assert (after["template"], after["end"]) == (before["template"], before["end"])


def test_another_end_token_is_another_tokenizer(saved: Path) -> None:
    before = ChatText(saved).marks
    config = json.loads((saved / "tokenizer_config.json").read_text())
    (saved / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<|endoftext|>"}))
    after = ChatText(saved).marks
    assert after["tokenizer"] != before["tokenizer"]
    assert after["ids"] == before["ids"], "every id is the same"
    assert (before["end"], after["end"]) == ("<|im_end|>", "<|endoftext|>")


def test_a_template_counts_by_its_text_wherever_it_lies(saved: Path) -> None:
    before, file = ChatText(saved).marks, saved / "chat_template.jinja"
    file.write_text(file.read_text() + "\n")
    assert ChatText(saved).marks == before, "a newline at the end of a file is none of the template"
    file.unlink()
    config = json.loads((saved / "tokenizer_config.json").read_text())
    (saved / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    assert ChatText(saved).marks == before
    (saved / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE + "<think>"}))
    after = ChatText(saved).marks
    assert (after["tokenizer"], after["template"] != before["template"]) == (before["tokenizer"], True)


def test_a_token_that_the_template_names_is_part_of_it(saved: Path) -> None:
    (saved / "chat_template.jinja").write_text(TEMPLATE + "{{ pad_token }}")
    before = ChatText(saved).marks
    config = json.loads((saved / "tokenizer_config.json").read_text())
    (saved / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": "<|im_start|>"}))
    after = ChatText(saved).marks
    assert (after["tokenizer"], after["template"] != before["template"]) == (before["tokenizer"], True)


def test_a_policy_tells_the_marks_of_its_folder(tmp_path: Path) -> None:
    tiny_model.write_tokenizer(tmp_path)
    policy = component("policy", {"use": "transformers", "device": "cpu"}, tmp_path)
    policy.create(tmp_path, tiny_model.ARCHITECTURE, seed=0)
    assert policy.open(tmp_path, trainable=False).text_marks == ChatText(tmp_path).marks
