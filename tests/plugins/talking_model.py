"""A small model whose tokenizer spells every text byte by byte, with the chat template of a test."""

# ruff: noqa: RUF001, E501

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

TINY = (
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '<|user|> ' + m.content -}}"
    "{%- else -%}{{- '<|assistant|>' + (m.content.split('</think>')[-1] if not loop.last else m.content) + '<|end|>' -}}"
    "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
CHATML = (
    "{%- if messages[0].role == 'system' -%}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' -}}"
    "{%- else -%}{{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' -}}{%- endif -%}"
    "{%- for m in messages -%}{%- if m.role != 'system' -%}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
DEEPSEEK = (
    "{{- bos_token -}}{%- for m in messages -%}{%- if m.role == 'system' -%}{{- m.content -}}{%- endif -%}{%- endfor -%}"
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '<｜User｜>' + m.content -}}"
    "{%- elif m.role == 'assistant' -%}"
    "{%- set c = m.content.split('</think>')[-1] if '</think>' in m.content else m.content -%}"
    "{{- '<｜Assistant｜>' + c + '<｜end▁of▁sentence｜>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\\n' -}}{%- endif -%}"
)
"""As the distilled models' own: every answer is cut at </think>, and the prompt opens the thinking."""
KEEPING = DEEPSEEK.replace("if '</think>' in", "if not loop.last and '</think>' in")
SPECIAL = {
    "tiny": ("<|user|>", "<|assistant|>", "<|end|>"),
    "chatml": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "deepseek": ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"),
}


def spell(
    folder: Path, *, template: str | None, family: str = "tiny", special_tags: bool = False, ends: str | None = None
) -> None:
    """Write the tokenizer. The last special token of the family, or `ends`, ends a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL[family]))
    core.add_tokens([AddedToken(tag, special=special_tags, normalized=False) for tag in ("<think>", "</think>")])
    begins = {"bos_token": SPECIAL[family][3]} if family == "deepseek" else {}
    wrapped: Any = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=ends or SPECIAL[family][2], pad_token=SPECIAL[family][0], **begins
    )
    if template is not None:
        wrapped.chat_template = template
    wrapped.save_pretrained(folder)


def build(folder: Path, *, scores: bool = False, seed: int = 0, **options: Any) -> Path:
    """A whole model folder; the template is `TINY` unless another one is given."""
    spell(folder, **{"template": TINY, **options})
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=272, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, initializer_range=0.2, tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=258, pad_token_id=256, num_labels=1,
    )  # fmt: skip
    kind: Any = LlamaForSequenceClassification if scores else LlamaForCausalLM
    kind(config).save_pretrained(folder)
    return folder
