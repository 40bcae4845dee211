"""How an answer ends: every token that ends it, and who says so; and the generation config that tells engines.

An engine that knows one end token of two goes on talking past the other: the tokenizer's end, those that the configs
name, and the token that the chat template writes after an assistant's turn are put into one list.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1_plugins.export.source import read_object

GENERATION = "generation_config.json"
SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}
"""What R1 was measured with (arXiv:2501.12948, 3)."""
IDS = ("bos_token_id", "pad_token_id", "decoder_start_token_id")
QUESTION, REPLY = "a question", "a reply without end"


def end_tokens(tokenizer: Any, folder: Path, *, chat: bool) -> dict[int, list[str]]:
    """Each token that ends an answer -> who says so."""
    found: dict[int, list[str]] = {}
    for token, said in _named(tokenizer, folder):
        if token is not None and said not in found.setdefault(int(token), []):
            found[int(token)].append(said)
    turn = turn_end(tokenizer) if chat else None
    if turn is not None:
        found.setdefault(turn, []).append("chat template")
    return dict(sorted(found.items()))


def _named(tokenizer: Any, folder: Path) -> list[tuple[int | None, str]]:
    found = [(tokenizer.eos_token_id, "tokenizer")]
    for name in ("config.json", GENERATION):
        if (folder / name).is_file():
            ends = read_object(folder / name).get("eos_token_id")
            found += [(end, name) for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)]
    return found


def turn_end(tokenizer: Any) -> int | None:
    """The special token that the template writes right after what the assistant said; None where there is none."""
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": REPLY}]
    rendered: str = tokenizer.apply_chat_template(turns, tokenize=False)
    after = rendered.rpartition(REPLY)[2]
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if after.strip() else []
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return ids[0] if ids and ids[0] in special else None


def generation_config(
    old: Mapping[str, Any], ends: Mapping[int, list[str]], tokenizer: Any, *, vocabulary: int
) -> dict[str, Any]:
    """The whole file. Of an old one the ids of other tokens stay; how to sample is said anew.

    Left out, `top_k` is 50 in transformers; 0 is refused by SGLang and older vLLM, -1 by transformers. That the whole
    vocabulary may be drawn, all of them read.
    """
    kept = {key: old[key] for key in (*IDS, "transformers_version") if old.get(key) is not None}
    if tokenizer.pad_token_id is not None:
        kept["pad_token_id"] = tokenizer.pad_token_id
    elif "pad_token_id" not in kept:
        kept["pad_token_id"] = next(iter(ends))
    return {**SAMPLING, "top_k": vocabulary, "eos_token_id": list(ends), **kept}
