"""A line that trains two reward models and is judged by one, on the real engines, small enough to be killed often.

Answers come from a model that knows nothing yet; what they are worth is a rule of their text.
"""

from __future__ import annotations

from toy_line import ARCHITECTURE

JUDGES = f"""\
r1: 1
name: judges
profile: none
engines: {{policy: {{use: transformers, device: cpu}}, sampler: native}}
sampling: {{max_new_tokens: 8}}
checkpoint: {{every_s: 0}}
stages:
  base:
    train: {{use: sft, lr: 1.0e-3, batch_tokens: 1024}}
    model:
      scratch:
{ARCHITECTURE}
    data: {{use: playground_corpus, documents: 40}}
  answers:
    sample: {{prompts: 24, samples: 4, chunk: 7}}
    model: base
    problems: {{use: playground, operands: [2, 3], seed: 1}}
    rewards: [{{use: ./remember.py:Mixed}}]
    filters: [{{use: pairs, sees: response, slack: 2}}]
  helpful_rm:
    train: {{use: reward_model, sees: response, lr: 1.0e-3, epochs: 3, batch: 6, held_out: 0.2}}
    model: base
    data: answers
    gate: [{{metric: eval/pair_accuracy, min: 0}}]
  safe_rm:
    train: {{use: reward_model, objective: pointwise, sees: response, lr: 1.0e-3, batch: 8, held_out: 0.4}}
    model: base
    data: answers
    gate: [{{metric: eval/auc, min: 0}}]
  judged:
    train: {{use: rl, steps: 3, prompts: 3, samples: 4, lr: 1.0e-3}}
    model: base
    problems: {{use: playground, operands: [2, 3], seed: 2}}
    rewards: [{{use: reward_model, model: helpful_rm, sees: response, device: cpu}}]
"""
STAGES = ("base", "answers", "helpful_rm", "safe_rm", "judged")
