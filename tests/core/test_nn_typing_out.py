"""Text of tokens as they come: what both kinds of byte tokenizers make of all of them at once, and no letter cut."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from r1core.nn import Stops, Writer
from r1core.nn.typing_out import MOST_BYTES

CORPUS = ["hello world abc def 你好 family é ñ a\n\nb"] * 50
LETTERS = st.sampled_from(["hello", " ", "  ", "\n", "a", "é", "你", "好", "😀", "👨‍👩‍👧", "ཀ", "\ufffd", "</s>"])
TEXTS = st.one_of(st.lists(LETTERS, max_size=30).map("".join), st.text(max_size=30))


@functools.cache
def byte_level() -> Any:
    """As Qwen's and Llama 3's: every byte has a letter."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["</s>"])
    core.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


@functools.cache
def byte_fallback(*, strips: bool = True) -> Any:
    """As Llama 2's and Mistral's, or Gemma's, which strips nothing: single bytes for what has no token."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if strips else "never")
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=["<unk>", "</s>", *single], limit_alphabet=40)
    core.train_from_iterator([text.replace("好", "").replace("\n", "") for text in CORPUS], trainer)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strips else steps)
    made = json.loads(core.to_str())  # in real models single bytes are plain tokens, no special ones
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] not in single]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(made)), eos_token="</s>", unk_token="<unk>"
    )


class Counting:
    """A tokenizer that counts the tokens it decodes."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.decoded = 0

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return self.tokenizer.convert_ids_to_tokens(ids)

    def decode(self, ids: Sequence[int], **options: bool) -> str:
        self.decoded += len(ids)
        text: str = self.tokenizer.decode(ids, **options)
        return text


def at_once(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    writer = Writer(tokenizer)
    return [*(writer.add(token) for token in ids), writer.end()]


def kinds() -> list[Any]:
    return [byte_level(), byte_fallback(), byte_fallback(strips=False)]


def longest_run(tokenizer: Any, ids: Sequence[int]) -> int:
    """Of single bytes one after the other; ids without a token are no text between them."""
    run = longest = 0
    for name in tokenizer.convert_ids_to_tokens(list(ids)):
        run = run + 1 if name is None or name.startswith("<0x") else 0
        longest = max(longest, run)
    return longest


@given(TEXTS)
def test_the_pieces_of_a_text_are_the_text_and_no_half_character_is_among_them(text: str) -> None:
    for tokenizer in kinds():
        ids = tokenizer(text.encode("utf-8", "replace").decode(), add_special_tokens=False)["input_ids"]
        given_out = pieces(tokenizer, ids)
        assert "".join(given_out) == at_once(tokenizer, ids)
        assert "\ufffd" in text or not any("\ufffd" in piece for piece in given_out)


@given(st.data())
def test_the_pieces_of_any_tokens_are_what_they_are_at_once(data: st.DataObject) -> None:
    for tokenizer in kinds():
        whole = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("😀", "你好", "é", "ཀ", "a b")]
        token = st.integers(0, len(tokenizer) + 1).map(lambda number: [number])
        ids = [each for part in data.draw(st.lists(token | st.sampled_from(whole), max_size=40)) for each in part]
        if longest_run(tokenizer, ids) < MOST_BYTES:
            assert "".join(pieces(tokenizer, ids)) == at_once(tokenizer, ids)


def test_two_emoji_of_single_bytes_and_a_wrong_byte_after_one() -> None:
    tokenizer = byte_fallback()
    ids = tokenizer("😀😀", add_special_tokens=False)["input_ids"]
    assert longest_run(tokenizer, ids) == 8
    assert "".join(pieces(tokenizer, ids)).strip() == "😀😀"
    wrong = [*ids[:-1], tokenizer.convert_tokens_to_ids("<0xFF>"), tokenizer.convert_tokens_to_ids("a")]
    assert "".join(pieces(tokenizer, wrong)) == at_once(tokenizer, wrong)
    assert at_once(tokenizer, wrong).count("\ufffd") == 8


def test_a_long_run_of_single_bytes_is_not_held_back_to_its_end() -> None:
    tokenizer = byte_fallback()
    ids = tokenizer("ཀཁག" * 40, add_special_tokens=False)["input_ids"]
    writer, silent, longest, text = Writer(tokenizer), 0, 0, ""
    for token in ids:
        piece = writer.add(token)
        text += piece
        silent = 0 if piece else silent + 1
        longest = max(longest, silent)
    assert (text + writer.end()).strip() == "ཀཁག" * 40
    assert longest <= MOST_BYTES + 3


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((byte_level, letter) for letter in ("ÿ", "ä", "Ģ", "a")),  # the bytes FF, E4, 80 and an a
        *((byte_fallback, name) for name in ("<0xFF>", "<0xE4>", "<0x80>", "a")),
    ],
)
def test_the_work_grows_with_the_tokens_whatever_they_are(kind: Any, name: str) -> None:
    tokenizer = Counting(kind())
    token = tokenizer.tokenizer.convert_tokens_to_ids(name)
    assert token is not None
    given_out = pieces(tokenizer, [token] * 2000)
    assert "".join(given_out) == at_once(tokenizer.tokenizer, [token] * 2000)
    assert tokenizer.decoded <= 20 * 2000
    assert max(map(len, given_out)) <= MOST_BYTES + 4


@given(st.lists(st.text("ab\n", max_size=3)), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3))
def test_a_stop_string_cuts_at_its_first_place_however_it_arrives(chunks: list[str], strings: list[str]) -> None:
    stops, whole = Stops(strings), "".join(chunks)
    given_out = ""
    for chunk in chunks:
        given_out += stops.feed(chunk)
        if stops.found:
            break
    given_out += stops.end()
    places = [whole.find(stop) for stop in strings if stop in whole]
    assert stops.found == bool(places)
    assert whole.startswith(given_out)
    assert not any(stop in given_out for stop in strings)
    if not places:
        assert given_out == whole
