"""The suites of policies, samplers, objectives and trainers: every built-in passes its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from built_ins import built_in, elsewhere, suites
from grading_server import toy_grader
from tiny_engines import ECHO, HEAD, LLAMA, ON_CPU
from toy_chat import chat

from r1core.components import Policy
from r1core.testing import ObjectiveSuite, PolicySuite, RemoteSamplerSuite, SamplerSuite, TeacherSuite, TrainerSuite
from r1core.testing.objectives import OLD_LOGPROB

# --- the built-ins ---------------------------------------------------------------------------------


class TestRewardModelTrainer(TrainerSuite):
    """First: stage processes are forked from one server, which imports torch where its first run needs that."""

    component = "reward_model"
    stage = "judge"
    recipe = f"""\
r1: 1
name: suites
engines: {{policy: {{use: transformers, device: cpu}}, sampler: echo}}
stages:
  base: {{train: {{use: sft, lr: 1.0e-3}}, model: {{scratch: {LLAMA}}}, data: {{use: echo, limit: 8}}}}
  judged: {{sample: {{prompts: 12, samples: 4}}, model: base, problems: echo, rewards: [accuracy]}}
  judge: {{train: {{use: reward_model, lr: 1.0e-3, epochs: 4, batch: 4, held_out: 0.3}}, model: base, data: judged}}
"""


class TestRlWithCritic(TrainerSuite):
    """Killed with a critic beside the policy, groups that wait for the next batch, and every term of the loss."""

    component = "rl"
    stage = "zero"
    recipe = f"""\
r1: 1
name: suites
engines: {{policy: {{use: transformers, device: cpu}}, sampler: echo}}
stages:
  base: {{train: {{use: sft, lr: 1.0e-3}}, model: {{scratch: {LLAMA}}}, data: {{use: echo, limit: 8}}}}
  zero:
    train:
      use: rl
      steps: 5
      prompts: 3
      samples: 2
      lr: 1.0e-3
      advantage: {{use: gae, lam: 0.95, critic_lam: 1.0}}
      critic: {{lr: 1.0e-3, warmup_steps: 1, updates: 2}}
      filters: [zero_variance]
      refill: {{times: 3}}
      kl: {{coefficient: 0.01, placement: reward, refresh_every: 2}}
      importance: {{mode: truncate, level: sequence}}
      entropy: {{coefficient: 0.01}}
    model: base
    problems: echo
    rewards: [accuracy]
"""


class TestSft(TrainerSuite):
    component = "sft"
    stage = "base"
    recipe = HEAD


class TestRl(TrainerSuite):
    component = "rl"
    stage = "zero"
    recipe = HEAD + (
        "  zero: {train: {use: rl, preset: ppo_mc, steps: 6, updates_per_rollout: 2, prompts: 4, samples: 4, lr: 0.1,"
        " kl: {coefficient: 0.01, refresh_every: 2}}, model: base, problems: echo, rewards: [accuracy]}\n"
    )


class TestRlRefilled(TrainerSuite):
    component = "rl"
    stage = "zero"
    recipe = HEAD + (
        "  zero: {train: {use: rl, advantage: remax, steps: 6, updates_per_rollout: 2, prompts: 7, samples: 4, lr: 0.1,"
        " filters: [zero_variance, {use: difficulty, min: 0.2}, truncated], refill: {times: 3}}, model: base,"
        " problems: echo, rewards: [accuracy]}\n"
    )


class TestDistill(TrainerSuite):
    component = "distill"
    options: ClassVar = {"on_policy": {"teacher": "base"}}
    stage = "student"
    recipe = (
        HEAD
        + """\
  traces: {sample: {prompts: 8, samples: 2}, model: base, problems: echo}
  student:
    train:
      use: distill
      traces: {lr: 0.1, epochs: 2}
      on_policy: {teacher: base, steps: 3, prompts: 4, lr: 0.1}
    model: {scratch: {model_type: echo}}
    data: [{use: echo}, traces]
    problems: echo
"""
    )


class TestTransformers(PolicySuite):
    component = "transformers"
    options: ClassVar = {"device": "cpu"}
    architecture = LLAMA
    source = "playground_corpus"


class TestTransformersOnBytes(PolicySuite):
    """The tokenizer that is written by hand, read by the library."""

    component = "transformers"
    options: ClassVar = {"device": "cpu"}
    architecture = LLAMA
    source = "echo"


class TestEchoPolicy(PolicySuite):
    component = "echo"
    architecture = ECHO
    source = "echo"
    lr = 0.1


class TestNative(SamplerSuite):
    component = "native"
    policy = ON_CPU
    architecture = LLAMA
    source = "playground_corpus"


class TestEchoSampler(SamplerSuite):
    component = "echo"
    policy = "echo"
    architecture = ECHO
    source = "echo"
    lr = 0.1


class TestEchoSamplerOfTransformers(SamplerSuite):
    """Another policy made to answer in one of four ways."""

    component = "echo"
    policy: ClassVar = ON_CPU
    architecture = LLAMA
    source = "playground_corpus"


class TestOpenAI(RemoteSamplerSuite):
    component = "openai"
    options: ClassVar = {"endpoint": {"url": "http://127.0.0.1:9/v1"}, "model": "m"}

    @contextlib.contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        with chat() as url:
            yield {"endpoint": {"url": url}, "model": "m", "seeded": True}


class TestRemoteTeacher(TeacherSuite):
    component = "remote_teacher"
    options: ClassVar = {"endpoint": {"url": "http://127.0.0.1:9/v1"}}
    policy: ClassVar = ON_CPU
    architecture = LLAMA
    source = "playground_corpus"

    @contextlib.contextmanager
    def serving(self, policy: Policy) -> Iterator[dict[str, Any]]:
        with toy_grader(policy) as server:
            yield {"endpoint": {"url": server.url}}


class TestPpoClip(ObjectiveSuite):
    component = "ppo_clip"

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        ratio = np.exp(np.clip(log_ratio, -20, 20))
        return float(max(-advantage * ratio, -advantage * np.clip(ratio, 0.8, 1.28)))


class TestPpoClipDual(ObjectiveSuite):
    component = "ppo_clip"
    options: ClassVar = {"dual_clip": 3.0}

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        ratio = np.exp(np.clip(log_ratio, -20, 20))
        loss = max(-advantage * ratio, -advantage * np.clip(ratio, 0.8, 1.28))
        return float(min(loss, -advantage * 3) if advantage < 0 else loss)


class TestGspo(ObjectiveSuite):
    component = "gspo"
    scope = "sequence"


class TestCispo(ObjectiveSuite):
    component = "cispo"

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        weight = np.clip(np.exp(np.clip(log_ratio, -20, 20)), 0.8, 1.28)
        return float(-weight * advantage * (OLD_LOGPROB + log_ratio))


class TestCispoOneSided(ObjectiveSuite):
    component = "cispo"
    options: ClassVar = {"cap": 5.0}

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        return float(-min(np.exp(max(log_ratio, -20.0)), 5.0) * advantage * (OLD_LOGPROB + log_ratio))


class TestSapo(ObjectiveSuite):
    component = "sapo"

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        tau = 1.0 if advantage > 0 else 1.05
        return float(-advantage * 4 / tau / (1 + np.exp(-tau * np.expm1(np.clip(log_ratio, -20, 20)))))


class TestGmpo(ObjectiveSuite):
    component = "gmpo"
    scope = "sequence"


class TestPolicyGradient(ObjectiveSuite):
    component = "policy_gradient"

    @staticmethod
    def reference(log_ratio: float, advantage: float) -> float:
        return -advantage * (OLD_LOGPROB + log_ratio)


def test_every_built_in_engine_and_trainer_has_a_suite() -> None:
    kinds = {"policy", "sampler", "objective", "trainer"}
    assert suites(globals()) | elsewhere(kinds) == built_in(kinds)
