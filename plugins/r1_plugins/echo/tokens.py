"""The tokens of `echo`: the 256 bytes of UTF-8, each its own number, then the marks of a chat and the tags of R1.

The same as a Hugging Face tokenizer: byte-level BPE without merges, written as JSON by hand, since the
library that would write it is not part of a light install.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1core.types import Message, Tokens

BYTES = 256
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|pad|>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
NUMBER = {text: BYTES + place for place, text in enumerate(SPECIAL + TAGS)}
END, USER, ASSISTANT, PAD, THINK, _, ANSWER, _ = NUMBER.values()
_SPLIT = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")
_SPLIT_ALL = re.compile("(" + "|".join(map(re.escape, SPECIAL + TAGS)) + ")")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'assistant' -%}{{- '<|assistant|>' + message.content + '<|end|>' -}}"
    "{%- else -%}{{- '<|user|>' + message.content -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def encode(text: str, *, special: bool = False) -> Tokens:
    """The tokens of a text. Tags are read as such; the marks of a chat only where `special` says so."""
    parts = (_SPLIT_ALL if special else _SPLIT).split(text)
    numbers: list[int] = []
    for place, part in enumerate(parts):
        numbers += [NUMBER[part]] if place % 2 else part.encode("utf-8", "replace")
    return np.array(numbers, dtype=np.int64)


def decode(ids: Tokens) -> str:
    """The text of tokens, tags kept, marks left out. Half a character becomes U+FFFD."""
    pieces = [bytes([i]) if i < BYTES else _PIECES.get(int(i), b"") for i in ids]
    return b"".join(pieces).decode("utf-8", "replace")


_PIECES = {NUMBER[tag]: tag.encode() for tag in TAGS}


def render(messages: Sequence[Message]) -> Tokens:
    """A prompt, as the chat template writes it, up to where the answer begins."""
    parts: list[Tokens] = []
    for place, message in enumerate(messages):
        answered = message["role"] == "assistant"
        parts += [np.array([ASSISTANT if answered else USER]), encode(message["content"])]
        if answered and place < len(messages) - 1:
            parts.append(np.array([END]))
    if not messages or messages[-1]["role"] != "assistant":
        parts.append(np.array([ASSISTANT]))
    return np.concatenate(parts).astype(np.int64)


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` (with the chat template) into `folder`."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[0],
        "pad_token": SPECIAL[3],
        "additional_special_tokens": list(SPECIAL[1:3]),
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    for name, content in (("tokenizer.json", _tokenizer()), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _tokenizer() -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **plain, "special": text in SPECIAL} for text, i in NUMBER.items()],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(_letters())}, "merges": []},
    }


def _letters() -> list[str]:
    """How byte-level tokenizers write each byte: itself where it is printable Latin-1, else from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(BYTES)]
