"""`openai`: a teacher behind any OpenAI-compatible endpoint, for the answers of a `sample` stage.

Chat messages go out, text comes in: thinking that arrives in a field of its own (`reasoning_content`, `reasoning`) is
put where a model of ours would write it. Each answer is one call, put down in the stage's trace ledger before it is
used, and so is what the service refuses. A server that moves is asked for everything again, unless `teacher: <name>`
stands for its address. Costs are estimated before (`--dry-run`), capped during, told after.

    traces:
      sample: {prompts: 1000, samples: 4}
      sampler: {use: openai, endpoint: {url: "https://api.deepseek.com/v1", key: {env: DEEPSEEK_API_KEY}},
                model: deepseek-reasoner, prices: {input: 0.28, output: 0.42}, max_usd: 20}
      problems: reasoning
"""

from __future__ import annotations

from r1_plugins.openai.sampler import OpenAISampler
from r1core.components import Sampler
from r1core.hookspecs import hookimpl

__all__ = ["OpenAISampler", "r1_samplers"]


@hookimpl
def r1_samplers() -> list[type[Sampler]]:
    """`openai`."""
    return [OpenAISampler]
