"""Marks of a tokenizer and of a chat template, by content: equal marks, equal token ids.

Sizes of vocabularies agree by chance, and files differ without a difference: one tokenizer may lie as `tokenizer.json`
or as `vocab.json` and `merges.txt`, written by this version or that. So what decides ids is taken from the tokenizer as
it was loaded, brought into one form and hashed; what only concerns decoding, padding, truncation or offsets stays out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_NO_IDS = ("trim_offsets",)
"""Keys of a step that move offsets, and no ids."""
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
"""What decides where an added token is found in a text."""
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
"""The tokens that a chat template may name."""


def text_marks(tokenizer: Any) -> dict[str, str]:
    """ "tokenizer" and "template": sha256 of what turns texts, and conversations, into ids. Of the first "ids" is the
    part without the tokens that begin and end a text, and "end" the one that ends it, as it is written."""
    ends = {"begins": tokenizer.bos_token_id, "ends": tokenizer.eos_token_id}
    ids = _ids(tokenizer)
    return {
        "tokenizer": _digest({**ends, **ids}),
        "ids": _digest(ids),
        "end": str(tokenizer.eos_token),
        "template": _digest(_template(tokenizer)),
    }


def _ids(tokenizer: Any) -> Json:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python: its class is its rules
        return {"class": type(tokenizer).__name__, "vocabulary": dict(tokenizer.get_vocab())}
    told: Json = json.loads(backend.to_str())
    model = dict(told["model"])
    added = told["added_tokens"] or []
    tokens = _vocabulary(model.pop("vocab"))
    return {
        "vocabulary": {**tokens, **{token["content"]: token["id"] for token in added}},
        "added": sorted([token["content"], *(token[flag] for flag in _FLAGS)] for token in added),
        "merges": [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in model.pop("merges", ())],
        "model": _plain(model),
        "normalizer": _plain(told["normalizer"]),
        "splits": _plain(told["pre_tokenizer"]),
    }


def _vocabulary(vocabulary: Any) -> Mapping[str, Any]:
    """Token -> id; of a unigram model, whose ids are places, token -> [id, score]."""
    if isinstance(vocabulary, dict):
        return vocabulary
    return {token: [place, score] for place, (token, score) in enumerate(vocabulary)}


def _plain(value: Any) -> Any:
    """Without what moves no ids, and with one spelling of nothing."""
    if isinstance(value, dict):
        kept = {key: _plain(inner) for key, inner in value.items() if key not in _NO_IDS}
        return {key: inner for key, inner in kept.items() if inner not in (None, "")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _template(tokenizer: Any) -> Json:
    """The template, and the tokens that stand for the names in it. A newline at the end of its file is none of it."""
    template = tokenizer.chat_template or ""
    texts = {"default": template} if isinstance(template, str) else dict(template)
    named = [name for name in _SPECIAL if any(name in text for text in texts.values())]
    return {
        "texts": {name: text.removesuffix("\n") for name, text in texts.items()},
        "tokens": {name: getattr(tokenizer, name) for name in named},
    }


def _digest(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
