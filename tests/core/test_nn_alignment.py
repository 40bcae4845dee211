"""Two tokenizations of one text meet where tokens begin at the same byte, and tokens match by their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from r1core.errors import SetupError
from r1core.nn import END, comparable, matching, starts
from r1core.nn.alignment import pieces

CORPUS = [
    "the answer is 12, since 3 + 9 = 12",
    "then the sum of them all is 144",
    "größer als π, 你好 世界 🙂",
    "thinking there",
]


def wrapped(core: Tokenizer) -> Any:
    kind: Any = PreTrainedTokenizerFast
    found = kind(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>")
    found.add_special_tokens({"additional_special_tokens": ["<think>"]})
    return found


def byte_level(size: int) -> Any:
    """As GPT-2's and Qwen's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return wrapped(core)


def sentence_piece() -> Any:
    """As Llama 2's: a mark for the space, one set before every text, bytes for unknown letters."""
    letters = sorted({letter for text in CORPUS[:2] for letter in text.replace(" ", "\u2581")})
    tokens = ["<pad>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "th", "the", "\u2581the", "\u2581a"]
    merges = [("t", "h"), ("th", "e"), ("\u2581", "the"), ("\u2581", "a")]
    core = Tokenizer(
        models.BPE({token: n for n, token in enumerate(tokens)}, merges, byte_fallback=True, unk_token="<pad>")
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(parts)
    return wrapped(core)


SMALL, LARGE, MARKED = byte_level(262), byte_level(330), sentence_piece()
TOKENIZERS = {"small": SMALL, "large": LARGE, "marked": MARKED}


def ids(tokenizer: Any, text: str) -> np.ndarray:
    return np.array([*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id], dtype=np.int64)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.one_of(st.text(max_size=30).filter(lambda text: "\u2581" not in text), st.sampled_from(CORPUS)))
def test_tokens_spell_the_text_that_they_are_made_of(name: str, text: str) -> None:
    """And begin where those before them end; the end token at the end of the text."""
    tokenizer, encoded = TOKENIZERS[name], text.encode("utf-8", "replace")
    own, tokens = pieces(tokenizer), ids(tokenizer, encoded.decode())
    begins = starts(tokens, own, encoded)
    assert begins is not None
    assert begins[-1] == len(encoded)
    for token, begin in list(zip(tokens, begins, strict=True))[1:-1]:
        assert encoded[begin:].startswith(own[token])


def test_tokens_of_another_text_begin_nowhere() -> None:
    assert starts(ids(SMALL, "the sum"), pieces(SMALL), b"the same") is None


def test_an_answer_that_was_cut_has_no_end() -> None:
    begins = starts(ids(LARGE, "the sum")[:-1], pieces(LARGE), b"the sum")
    assert begins is not None
    assert begins[-1] < len(b"the sum")


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"def", b""]), min_size=1, max_size=12),
    st.lists(st.sampled_from([b"a", b"b", b"cd", b"ef"]), min_size=1, max_size=12),
)
def test_comparable_tokens_are_those_that_begin_at_one_byte(own: list[bytes], theirs: list[bytes]) -> None:
    begins = [np.cumsum([0, *map(len, side[:-1])]) for side in (own, theirs)]
    mine, other = comparable(*begins)
    assert set(begins[0][mine]) == set(begins[0]) & set(begins[1])
    assert np.array_equal(begins[0][mine], begins[1][other])
    assert (np.diff(mine) > 0).all()
    assert (np.diff(other) > 0).all()


def test_a_text_in_both_meets_at_its_words() -> None:
    """ "the| sum" of one, "t|he| s|u|m" of the other: before it, after "the", at the end."""
    text = "the answer is 144"
    sides = [starts(ids(tokenizer, text), pieces(tokenizer), text.encode()) for tokenizer in (SMALL, LARGE)]
    assert sides[0] is not None
    assert sides[1] is not None
    mine, other = comparable(sides[0], sides[1])
    assert len(sides[1]) < len(sides[0])
    assert set(sides[1]) <= set(sides[0]), "here the larger vocabulary only merges what the smaller one has"
    assert len(mine) == len(sides[1])
    assert sides[0][mine[-1]] == sides[1][other[-1]] == len(text)


def test_tokens_match_by_their_bytes() -> None:
    own, theirs = pieces(SMALL), pieces(LARGE)
    table = matching(own, theirs)
    assert len(table) == len(theirs)
    for their_id, own_id in enumerate(table):
        if own_id >= 0:
            assert own[own_id] == theirs[their_id]
        else:
            assert theirs[their_id] not in own or not theirs[their_id]
    assert table[LARGE.eos_token_id] == SMALL.eos_token_id
    assert theirs[LARGE.eos_token_id] == END
    assert table[LARGE.convert_tokens_to_ids("<think>")] == SMALL.convert_tokens_to_ids("<think>")
    assert (table >= 0).sum() > 250
    assert (table < 0).sum() > 20


@pytest.mark.parametrize("own", [SMALL, MARKED])
def test_no_token_matches_two(own: Any) -> None:
    """A letter and the byte that stands in for it are one piece of text: counted twice, mass would be more than all."""
    table = matching(pieces(own), pieces(MARKED))
    found = table[table >= 0]
    assert len(set(found.tolist())) == len(found)
    letter = MARKED.convert_tokens_to_ids("t")
    assert table[MARKED.convert_tokens_to_ids("<0x74>")] == -1
    assert pieces(own)[table[letter]] == b"t"


def test_tokens_that_do_not_say_their_bytes_are_refused() -> None:
    core = Tokenizer(models.WordLevel({"<pad>": 0, "<|end|>": 1, "a": 2}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(SetupError, match="do not say which bytes"):
        pieces(wrapped(core))
