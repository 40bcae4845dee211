"""The tiny world's tokenizer: every word, digit, letter and punctuation mark of the world is one token.

Byte-level BPE whose vocabulary is the 256 bytes and the world's closed word list; a word outside the
list falls apart into bytes, so any text can be read. The list is fixed rather than counted from a
corpus: a vocabulary that moves with the corpus permutes ids without a sign, and a teacher and its
student could not compare distributions.
"""

from __future__ import annotations

from pathlib import Path

from r1_plugins.playground.questions import phrases
from r1_plugins.playground.words import DIGITS, LETTERS, SYMBOLS, WORDS

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
SPLIT = r" ?\p{Han}+| ?\p{Latin}+| ?\p{N}| ?[^\s\p{L}\p{N}]"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}{{- '<|user|> ' + message.content -}}"
    "{%- elif message.role == 'assistant' -%}"
    "{%- set past = not loop.last and '</think>' in message.content -%}"
    "{{- '<|assistant|>' + (message.content.split('</think>')[-1] if past else message.content) + '<|end|>' -}}"
    "{%- else -%}{{- raise_exception('the tiny world has only user and assistant, got ' + message.role) -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def lexicon() -> list[str]:
    """All words, digits, letters and symbols of the world, in a fixed order, each once."""
    words = [text for word in WORDS for text in word]
    words += [word for phrase in phrases() for text in phrase for word in text.split()]
    return list(dict.fromkeys([*SYMBOLS, *DIGITS, *LETTERS, *words]))


def vocabulary_size() -> int:
    """How many tokens the tokenizer has."""
    return 256 + len(lexicon()) + len((USER, ASSISTANT, END, PAD)) + len(TAGS)


def save_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` (with the chat template) into `folder`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    for word in lexicon():
        pieces.append(to_bytes.pre_tokenize_str(f" {word}")[0][0])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([USER, ASSISTANT, END, PAD])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    wrapped.save_pretrained(folder, save_jinja_files=False)
