"""Tokens per second of the native decoder against `model.generate`, on the same prompts, with the same stop rule.

    python tests/benchmarks/bench_sampler.py

256 rows (16 prompts of uneven length, 16 samples each), a random 2-layer model of width 96 with 512 tokens, one
thread; the end token's bias makes answers of about 17 tokens, at most 64. Only tokens up to the end count. Ours returns
log-probabilities, generate does not. Five interleaved pairs; the median ratio is the number to quote (goal: 3.5).
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from r1core.nn import Decoder
from r1core.types import Problem, SampleRequest

END, PAD, VOCABULARY = 1, 0, 512
PROMPTS, SAMPLES, LONGEST = 16, 16, 64
END_BIAS = 3.4


def build_model() -> Any:
    """A random model whose end token has a bias, so that lengths are uneven."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        intermediate_size=288,
        initializer_range=0.1,
        tie_word_embeddings=True,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model = Qwen2ForCausalLM(config).eval()
    bias = torch.zeros(VOCABULARY)
    bias[END] = END_BIAS
    model.lm_head.bias = torch.nn.Parameter(bias)
    return model


def build_requests(keys_from: int) -> list[SampleRequest]:
    """Prompts of 8 to 24 tokens."""
    random = np.random.default_rng(0)
    return [
        SampleRequest(
            problem=Problem(id=str(number)),
            prompt_ids=random.integers(2, VOCABULARY, random.integers(8, 25)),
            keys=tuple(keys_from + number * SAMPLES + sample for sample in range(SAMPLES)),
            samples=tuple(range(SAMPLES)),
            max_new_tokens=LONGEST,
        )
        for number in range(PROMPTS)
    ]


def time_ours(model: Any, requests: list[SampleRequest]) -> tuple[int, float]:
    """Tokens and seconds of the native decoder."""
    began = time.perf_counter()
    decoder = Decoder(model, ends=[END], max_rows=256, compact_at=0.25)
    tokens = sum(len(sample.ids) for sample in decoder.decode(requests))
    return tokens, time.perf_counter() - began


def time_generate(model: Any, requests: list[SampleRequest]) -> tuple[int, float]:
    """Tokens (the end token included, padding not) and seconds of `model.generate`."""
    began = time.perf_counter()
    width = max(len(request.prompt_ids) for request in requests)
    ids = torch.full((len(requests), width), PAD)
    mask = torch.zeros((len(requests), width), dtype=torch.long)
    for row, request in enumerate(requests):
        ids[row, width - len(request.prompt_ids) :] = torch.from_numpy(request.prompt_ids)
        mask[row, width - len(request.prompt_ids) :] = 1
    output = model.generate(
        ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=LONGEST, num_return_sequences=SAMPLES
    )
    seconds = time.perf_counter() - began
    ended = (output[:, width:] == END).int()
    return int((ended.cumsum(1) - ended == 0).sum()), seconds


def main() -> None:
    """Print five pairs and their median ratio."""
    torch.set_num_threads(1)
    model = build_model()
    time_ours(model, build_requests(0))
    time_generate(model, build_requests(0)[:2])
    ratios = []
    for pair in range(5):
        requests = build_requests(1 + pair * PROMPTS * SAMPLES)
        our_tokens, our_s = time_ours(model, requests)
        their_tokens, their_s = time_generate(model, requests)
        ours, theirs = our_tokens / our_s, their_tokens / their_s
        ratios.append(ours / theirs)
        print(
            f"pair {pair}: native {ours:,.0f} tok/s (mean length {our_tokens / 256:.1f}), "
            f"generate {theirs:,.0f} tok/s (mean length {their_tokens / 256:.1f}), ratio {ratios[-1]:.2f}"
        )
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
