"""A small line of every kind of stage on the real engines, to be killed and gone on with.

Its problems run out and begin again, its filters remember, its reference is refreshed, its first model is
extended: whatever a checkpoint could forget is in it. All of it takes seconds.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from r1_plugins.playground.sources import Playground
from r1core.events import Event
from r1core.pipeline import Run, run_plan
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve

ARCHITECTURE = """\
        model_type: llama
        hidden_size: 32
        intermediate_size: 32
        num_hidden_layers: 1
        num_attention_heads: 1
        num_key_value_heads: 1
        head_dim: 32
        initializer_range: 0.1
        tie_word_embeddings: true
        max_position_embeddings: 256
"""
LINE = f"""\
r1: 1
name: line
profile: none
engines: {{policy: {{use: transformers, device: cpu}}, sampler: native}}
sampling: {{max_new_tokens: 10}}
checkpoint: {{every_s: 0}}
rollouts: {{keep: ids+logprobs, last: 3}}
stages:
  base:
    train: {{use: sft, lr: {{peak: 2.5e-3, warmup_steps: 3}}, batch_tokens: 1024, epochs: 2}}
    model:
      scratch:
{ARCHITECTURE}
    data: {{use: playground_corpus, documents: 90}}
    evaluate:
      every: 4
      sets: {{opener: {{problems: {{use: playground, split: held_out, seed: 9}}, limit: 4, temperature: 0}}}}
    rewards: [accuracy]
    extend: {{until: {{metric: eval/opener, min: 0.99}}, by: 0.5, times: 1}}
  zero:
    train:
      use: rl
      steps: 8
      prompts: 4
      samples: 3
      updates_per_rollout: 2
      lr: {{peak: 1.0e-3, warmup_steps: 2}}
      kl: {{coefficient: 0.1, refresh_every: 4}}
      filters: [{{use: ./remember.py:Fresh}}]
    model: base
    problems: {{0: {{use: jsonl, path: FEW}}, 50%: {{use: playground, operands: [2, 3], seed: 1}}}}
    rewards: [{{use: ./remember.py:Mixed}}]
  mc:
    train: {{use: rl, preset: ppo_mc, steps: 4, prompts: 2, samples: 2, lr: 1.0e-3, filters: []}}
    model: base
    problems: {{use: jsonl, path: FEW}}
    rewards: [{{use: ./remember.py:Mixed}}]
  traces:
    sample: {{prompts: 10, samples: 2, chunk: 3}}
    model: zero
    problems: {{use: jsonl, path: FEW}}
    rewards: [{{use: ./remember.py:Mixed}}]
    filters: [{{use: ./remember.py:Fresh}}]
  student:
    train:
      use: distill
      traces: {{epochs: 2, batch_tokens: 128, lr: 1.0e-3}}
      on_policy: {{teacher: zero, steps: 3, prompts: 2, samples: 2, lr: 1.0e-3}}
    model: base
    data: traces
    problems: {{use: jsonl, path: FEW}}
  table:
    evaluate:
      chunk: 4
      sets:
        pass@1: {{problems: {{use: jsonl, path: FEW}}, limit: 6, samples: 2}}
        hard: {{problems: {{use: playground, split: held_out, operands: [4, 4]}}, limit: 5}}
    models: [base, zero]
    rewards: [{{use: ./remember.py:Mixed}}, format]
"""
REMEMBER = '''\
from collections.abc import Mapping

from r1core import DataFilter, Reward, Score, Verdict


class Fresh(DataFilter):
    """Keeps all but every third answer of each length."""

    name = "fresh"

    def __init__(self, config):
        super().__init__(config)
        self.seen = {}

    def judge(self, group):
        verdicts = []
        for rollout in group.rollouts:
            length = str(len(rollout.completion_ids))
            self.seen[length] = self.seen.get(length, 0) + 1
            verdicts.append(Verdict(keep=self.seen[length] % 3 > 0, reason="seen"))
        return verdicts

    def state(self):
        return dict(self.seen)

    def load(self, state: Mapping):
        self.seen = dict(state)


class Mixed(Reward):
    """A number between 0 and 1 that a text decides."""

    name = "mixed"
    runs = "stage"

    def score(self, problem, response):
        return Score(value=sum(map(ord, response.text)) % 11 / 10)
'''
STAGES = ("base", "zero", "mc", "traces", "student", "table")
PROBLEMS = 9
"""In few.jsonl: fewer than two rollout batches of `zero` take, and fewer than `traces` asks for."""


def lay_out(folder: Path, *, problems: int = PROBLEMS, text: str = LINE) -> Path:
    """Write the recipe and what it names into `folder`; returns the recipe."""
    (folder / "remember.py").write_text(REMEMBER)
    source = Playground(Playground.Config(operands=(2, 3), seed=5))
    rows = [
        {"prompt": p.question, "reference": p.reference, "domain": p.domain, "language": p.language}
        for p in islice(source.problems(seed=0), problems)
    ]
    (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "line.yaml"
    path.write_text(text.replace("FEW", str(folder / "few.jsonl")))
    return path


def plan_of(recipe: Path, *sets: str) -> Plan:
    return make_plan(resolve(recipe, sets=sets), PluginHost.discover(deny=["report"]))


def go(recipe: Path, run: Path, *sets: str, **options: Any) -> tuple[Run, list[Event]]:
    """Run it in `run`; returns what it left and what it said."""
    plan, events = plan_of(recipe, *sets), list[Event]()
    return run_plan(plan, plan.host, run, listener=events.append, **options), events
