"""The native sampler: rollouts of the policy's present weights, with the texts and numbers that training needs."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import ARCHITECTURE, write_tokenizer

from r1_plugins.native import NativeSampler
from r1_plugins.transformers import TransformersPolicy
from r1core.errors import RecipeError, SetupError
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.types import Problem, Rollout, SampleRequest, TrainSequence


@pytest.fixture
def opened(tmp_path: Path) -> TransformersPolicy:
    write_tokenizer(tmp_path)
    policy = TransformersPolicy(TransformersPolicy.Config(device="cpu"))
    policy.create(tmp_path, ARCHITECTURE, seed=0)
    return policy.open(tmp_path, trainable=True)


def sampler(policy: TransformersPolicy, **options: Any) -> NativeSampler:
    made = NativeSampler(NativeSampler.Config(**options))
    made.sync(policy)
    return made


def problem(number: int) -> Problem:
    return Problem(id=str(number), messages=({"role": "user", "content": f"w{number} w{number + 1}"},))


def request(policy: TransformersPolicy, asked: Problem, **options: Any) -> SampleRequest:
    values: dict[str, Any] = {"keys": (11, 12, 13), "samples": (5, 6, 7), "max_new_tokens": 20, **options}
    return SampleRequest(problem=asked, prompt_ids=policy.prompt_ids(asked.messages), **values)


def trained_on(rollout: Rollout) -> TrainSequence:
    ids = np.concatenate([rollout.prompt_ids, rollout.completion_ids])
    return TrainSequence(
        ids=ids, start=len(rollout.prompt_ids), columns={"weight": np.full(len(rollout.completion_ids), 0.01)}
    )


class Likelier:
    reads = frozenset({"logprob"})

    def __call__(self, view: Any) -> torch.Tensor:
        return -view.logprob


class Unlikelier:
    reads = frozenset({"logprob"})

    def __call__(self, view: Any) -> torch.Tensor:
        return view.logprob


def test_every_sample_comes_once_with_the_trainers_logprobs(opened: TransformersPolicy) -> None:
    requests = [request(opened, problem(number)) for number in range(5)]
    rollouts = list(sampler(opened, max_rows=6).generate(requests))
    assert sorted((r.problem.id, r.sample, r.key) for r in rollouts) == sorted(
        (str(n), s, k) for n in range(5) for s, k in ((5, 11), (6, 12), (7, 13))
    )
    for rollout, logprobs in zip(rollouts, opened.logprobs([trained_on(r) for r in rollouts]), strict=True):
        assert rollout.logprobs is not None
        np.testing.assert_allclose(rollout.logprobs, logprobs, atol=1e-5)
        assert rollout.response.text == opened.decode(rollout.completion_ids)
        assert (rollout.response.finish == "stop") == (rollout.completion_ids[-1] == 1)


def test_new_weights_are_sampled_after_sync_and_counted(opened: TransformersPolicy) -> None:
    made = sampler(opened)
    asked = [request(opened, problem(1), temperature=0.0)]
    before = next(made.generate(asked))
    for _ in range(30):
        opened.update([trained_on(before)], Unlikelier(), lr=1e-2)
    made.sync(opened)
    after = next(made.generate(asked))
    assert (before.weights_version, after.weights_version) == (1, 2)
    assert before.completion_ids.tolist() != after.completion_ids.tolist()
    (logprobs,) = opened.logprobs([trained_on(after)])
    np.testing.assert_allclose(np.asarray(after.logprobs), logprobs, atol=1e-5)


def test_sampling_leaves_gradients_possible(opened: TransformersPolicy) -> None:
    for rollout in sampler(opened).generate([request(opened, problem(1))]):
        assert torch.is_grad_enabled()
        assert "skipped" not in opened.update([trained_on(rollout)], Likelier(), lr=1e-3)


def test_a_given_prefix_belongs_to_the_response_and_not_to_the_completion(opened: TransformersPolicy) -> None:
    prefix = opened.completion_ids("<think> w3 </think>")[:-1]
    for rollout in sampler(opened).generate([request(opened, problem(1), prefix_ids=prefix)]):
        assert rollout.prompt_ids.tolist() == opened.prompt_ids(problem(1).messages).tolist()
        assert rollout.response.prefilled == "<think> w3 </think>"
        whole = np.concatenate([rollout.prompt_ids, prefix, rollout.completion_ids])
        (logprobs,) = opened.logprobs(
            [TrainSequence(ids=whole, start=len(whole) - len(rollout.completion_ids), columns={"weight": whole * 0.0})]
        )
        np.testing.assert_allclose(np.asarray(rollout.logprobs), logprobs, atol=1e-5)


def test_a_started_answer_is_prefilled(opened: TransformersPolicy) -> None:
    asked = Problem(id="s", messages=(*problem(1).messages, {"role": "assistant", "content": "<think> w4"}))
    for rollout in sampler(opened).generate([request(opened, asked)]):
        assert rollout.response.prefilled == "<think> w4"


def test_a_sampler_without_weights_says_so() -> None:
    with pytest.raises(SetupError, match="no weights"):
        next(NativeSampler(NativeSampler.Config()).generate([]))


SHARDED = """\
    r1: 1
    name: sharded
    engines: {policy: {use: deepspeed, stage: STAGE, ranks: RANKS}, sampler: native}
    stages:
      base: {import: some/model}
      zero: {train: {use: rl, steps: 2}, model: base, problems: echo, rewards: [accuracy]}
      learnt: {train: {use: sft, lr: 0.2}, model: base, data: echo}
      table: {evaluate: {sets: {score: {problems: echo, limit: 3}}}, models: [zero], rewards: [accuracy]}
"""


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("stage", [2, 3])
def test_weights_that_zero_3_spreads_over_ranks_are_refused_at_plan_time(
    tmp_path: Path, stage: int, ranks: int
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(dedent(SHARDED).replace("STAGE", str(stage)).replace("RANKS", str(ranks)), encoding="utf-8")
    recipe, host = resolve(path, "none"), PluginHost.discover(allow=())
    if stage == 2:
        assert make_plan(recipe, host).stage("zero")
        return
    with pytest.raises(RecipeError, match="native samples with the policy's own module") as caught:
        make_plan(recipe, host)
    told = str(caught.value)
    assert "recipe.yaml:3:57: stages.zero.sampler" in told
    assert "or a policy without `stage: 3`" in told
    assert told.count("native samples") == 1, "what trains nothing opens whole models; what samples nothing needs none"
