"""A tokenizer of whole words and a small random model, for tests of policies and samplers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "<answer>", "</answer>"]
WORDS = [f"w{number}" for number in range(32)]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }}"
    "{% if m.role == 'user' or not loop.last %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ARCHITECTURE = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "initializer_range": 0.2,
    "tie_word_embeddings": True,
}


def write_tokenizer(folder: Path, *, template: str = TEMPLATE) -> None:
    """A word-level tokenizer with the tags as single tokens."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>")
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    wrapped.chat_template = template
    wrapped.save_pretrained(folder)
