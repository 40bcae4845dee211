"""Two tokenizations of one text: where they can be compared, and which of their tokens mean the same.

A next-token distribution says what follows a prefix. Of two models with other tokenizers those can be compared
that follow the same prefix: where a token of either begins at the same byte. There a token of the one matches the token
of the other that stands for the same bytes. Without torch.

    pairs = comparable(starts(own_ids, own_pieces, text), starts(their_ids, their_pieces, text))
    table = matching(own_pieces, their_pieces)           # own id of each of their tokens, or -1
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r1core.errors import SetupError
from r1core.types import Tokens

END = b"\xff end of text"
"""What the end token stands for: no text has this first byte, and no token of a byte anything after it."""
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


def pieces(tokenizer: Any) -> list[bytes]:
    """The bytes that each token stands for, by id; nothing for ids without a token. Raises SetupError for a tokenizer
    whose tokens do not say so (whole words, whose spaces nobody wrote)."""
    spelled = _spelling(tokenizer)
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    vocabulary = tokenizer.get_vocab()
    found = [b""] * (max(vocabulary.values()) + 1)
    for token, number in vocabulary.items():
        found[number] = added[number].encode() if number in added else spelled(token)
    found[tokenizer.eos_token_id] = END
    return found


def starts(ids: Tokens, own: Sequence[bytes], text: bytes) -> Tokens | None:
    """(T,) the byte of `text` at which each token begins; None where the tokens do not spell the text (and its end). A
    space that a tokenizer sets before every text is not counted."""
    spelled = [own[number] for number in ids]
    if spelled and not text.startswith(b" ") and spelled[0].startswith(b" "):
        spelled[0] = spelled[0][1:]
    if b"".join(spelled).removesuffix(END) != text:
        return None
    return np.cumsum([0, *map(len, spelled[:-1])], dtype=np.int64) if spelled else np.zeros(0, dtype=np.int64)


def comparable(own: Tokens, theirs: Tokens) -> tuple[Tokens, Tokens]:
    """Which tokens of either begin at the same byte: their numbers, in pairs. Of several that begin at one byte (tokens
    of no bytes) the first is taken."""
    _, mine, other = np.intersect1d(own, theirs, return_indices=True)
    return mine.astype(np.int64), other.astype(np.int64)


def matching(own: Sequence[bytes], theirs: Sequence[bytes]) -> NDArray[np.int64]:
    """For each of their tokens the own one of the same bytes, or -1. Where several are (a letter, and the byte that
    stands in for it), on either side the last alone: vocabularies begin with the stand-ins, which no text uses."""
    known = {piece: number for number, piece in enumerate(own) if piece}
    table = np.full(len(theirs), -1, dtype=np.int64)
    for piece, number in {piece: number for number, piece in enumerate(theirs)}.items():
        table[number] = known.get(piece, -1)
    return table


def _spelling(tokenizer: Any) -> Any:
    """How a token's name is turned into bytes, by what the tokenizer's own decoder does."""
    decoder = json.loads(tokenizer.backend_tokenizer.to_str()).get("decoder") or {}
    kinds = {part["type"] for part in [decoder, *decoder.get("decoders", [])] if "type" in part}
    if "ByteLevel" in kinds:
        table = _byte_letters()
        return lambda token: bytes(table[letter] for letter in token)
    if kinds & {"Metaspace", "ByteFallback"} or _SPACE in json.dumps(decoder, ensure_ascii=False):
        return _by_pieces
    raise SetupError(
        f"its tokens do not say which bytes they stand for (decoder {decoder.get('type')!r})",
        where="tokenizer",
        fix="distil between models of one tokenizer, or learn the teacher's traces",
    )


def _by_pieces(token: str) -> bytes:
    """A SentencePiece token: a byte by its number, or letters with a mark for the space."""
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(_SPACE, " ").encode()


def _byte_letters() -> dict[str, int]:
    """Byte-level BPE writes each byte as one letter: printable ones of Latin-1 as themselves, the others in order from
    256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
