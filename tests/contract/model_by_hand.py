"""A reward model whose weights are set by hand, so that what it has to say of any answer is known.

One layer looks at all tokens alike and carries over how many of them are the word "good"; the head is
steep, so through the sigmoid the score is 1 where there is one (among a few thousand tokens), else 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "<answer>", "</answer>"]
WORDS = ["good", "bad", "fair"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
GOOD, ANY = 0, 1
"""Hidden units: one for the word, one that every other token has."""
STEEPNESS = 4000.0
THRESHOLD = 0.005


def write_model(folder: Path) -> Path:
    """Write tokenizer and model as a Hugging Face folder; returns it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    _write_tokenizer(folder)
    config: Any = Qwen2Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        intermediate_size=32,
        num_labels=1,
        pad_token_id=0,
    )
    model: Any = Qwen2ForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight[:, ANY] = 1.0
        model.model.embed_tokens.weight[len(SPECIAL)] = 0.0
        model.model.embed_tokens.weight[len(SPECIAL), GOOD] = 1.0
        attention = model.model.layers[0].self_attn  # queries and keys are 0: it averages what it sees
        attention.v_proj.weight[GOOD, GOOD] = 1.0
        attention.o_proj.weight[GOOD, GOOD] = 1.0
        model.score.weight[0, GOOD] = STEEPNESS
        model.score.weight[0, ANY] = -STEEPNESS * THRESHOLD
    model.save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>")
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
