"""Every signal of distillation in a real stage: run twice, and killed after every step, it leaves the same bytes."""

from __future__ import annotations

from typing import ClassVar

from r1core.testing import TrainerSuite

HEAD = """\
r1: 1
name: suites
engines: {policy: {use: transformers, device: cpu}, sampler: echo}
stages:
  base: {train: {use: sft, lr: 1.0e-3}, model: {scratch: {model_type: llama, hidden_size: 32, intermediate_size: 32,
    num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, head_dim: 32, initializer_range: 0.1}},
    data: {use: echo, limit: 8}}
  teacher: {train: {use: sft, lr: 1.0e-2, epochs: 2}, model: base, data: {use: echo, limit: 8}}
  answers: {sample: {prompts: 6, samples: 2}, model: teacher, problems: echo}
  signals: {signals: {k: 8, temperature: 2.0}, model: teacher, data: answers}
"""


class TestCached(TrainerSuite):
    component = "distill"
    options: ClassVar = {"cached": {"signals": "signals"}}
    stage = "student"
    recipe = (
        HEAD
        + """\
  student:
    train:
      use: distill
      cached: {signals: signals, batch_tokens: 256, lr: 1.0e-3, divergence: {kind: jsd, beta: 0.3, square: true}}
    model: base
"""
    )


class TestLiveInTurnWithWholeDistributions(TrainerSuite):
    component = "distill"
    options: ClassVar = {"live": {"teacher": "teacher"}}
    stage = "student"
    recipe = (
        HEAD
        + """\
  student:
    train:
      use: distill
      live: {teacher: teacher, batch_tokens: 512, lr: 1.0e-3}
      on_policy: {teacher: teacher, steps: 2, prompts: 3, samples: 2, lr: 1.0e-3, signal: full}
    model: base
    data: answers
    problems: echo
"""
    )


class TestTogether(TrainerSuite):
    component = "distill"
    options: ClassVar = {"on_policy": {"teacher": "base"}}
    stage = "student"
    recipe = (
        HEAD
        + """\
  student:
    train:
      use: distill
      mix: together
      lr: {peak: 1.0e-3, decay: cosine}
      traces: {batch_tokens: 512, weight: 0.5}
      cached: {signals: signals, batch_tokens: 4096}
      live: {teachers: [{teacher: base, for: {domain: general}}, {teacher: teacher}], batch_tokens: 1024}
      on_policy: {teacher: teacher, steps: 3, prompts: 2, samples: 2, weight: 2.0}
    model: base
    data: answers
    problems: echo
"""
    )
