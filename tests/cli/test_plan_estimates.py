"""`--dry-run` estimates: memory by role, tokens, time, disk; what is unknown is said, nothing is guessed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from r1core.cli.estimate import ANSWER, PROMPT, Estimate, Estimator
from r1core.cli.estimate_view import bytes_of, estimate_lines
from r1core.cli.plan_view import plan_lines
from r1core.cli.speed import CORE_GFLOPS, GIGA, TRAIN_SHARE, Speed
from r1core.estimates import Range
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve

RECIPE = """\
r1: 1
name: try
profile: none
stages:
  base:
    train: sft
    policy: {use: transformers, device: cpu}
    model:
      scratch: {model_type: llama, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2,
        num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 1024, tie_word_embeddings: true}
    data: {use: playground_corpus}
  zero:
    train: {use: rl, preset: grpo, steps: 40, prompts: 6, samples: 8, updates_per_rollout: 4}
    policy: {use: transformers, device: cpu}
    sampler: native
    model: base
    problems: {use: playground}
    rewards: [accuracy]
    sampling: {max_new_tokens: 100}
  answers:
    sample: {prompts: 10, samples: 4}
    policy: {use: transformers, device: cpu}
    sampler: native
    model: zero
    problems: {use: playground}
    rewards: [accuracy]
    sampling: {max_new_tokens: 100}
  student:
    train: {use: sft, epochs: 3}
    policy: {use: transformers, device: cpu}
    model: base
    data: answers
"""
PARAMETERS = 493 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path)


def planned(folder: Path, *sets: str) -> Plan:
    file = folder / "try.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return make_plan(resolve(file, None, sets), PluginHost.discover())


def of(plan: Plan, stage: str) -> Estimate:
    found = Estimator(plan, Speed()).of(plan.stage(stage))
    assert found is not None
    return found


def roles(estimate: Estimate) -> dict[str, str]:
    return {held.role: held.model for held in estimate.held}


def test_a_model_that_is_trained_takes_sixteen_bytes_a_weight_and_more_while_it_works(plan: Plan) -> None:
    policy = of(plan, "zero").held[0].memory
    assert policy is not None
    assert policy.stays == Range.exactly(16 * PARAMETERS)
    peak = of(plan, "zero").peak
    assert peak is not None
    assert peak.low > 16 * PARAMETERS


def test_a_reference_and_a_critic_are_models_of_their_own(tmp_path: Path) -> None:
    assert roles(of(planned(tmp_path), "zero")) == {"policy": "base", "sampler": "base"}
    changed = ("stages.zero.train.kl.coefficient=0.1", "stages.zero.train.preset=ppo")
    estimate = of(planned(tmp_path, *changed), "zero")
    assert roles(estimate) == {"policy": "base", "reference": "base", "critic": "base", "sampler": "base"}
    held = {each.role: each.memory for each in estimate.held}
    assert held["reference"] is not None
    assert held["critic"] is not None
    assert held["reference"].stays == Range.exactly(4 * PARAMETERS)
    assert held["critic"].optimizer.expected == 8 * PARAMETERS


def test_models_stay_together_and_take_turns_with_their_work(tmp_path: Path) -> None:
    estimate = of(planned(tmp_path, "stages.zero.train.kl.coefficient=0.1"), "zero")
    known = [held.memory for held in estimate.held if held.memory is not None]
    assert estimate.peak is not None
    assert estimate.peak.expected == sum(m.stays.expected for m in known) + max(
        m.comes_and_goes.expected for m in known
    )


def test_a_sampler_that_works_ahead_takes_no_turns(tmp_path: Path) -> None:
    in_turn = of(planned(tmp_path), "zero")
    ahead = replace(in_turn, samples_ahead=True)
    sampler = next(held.memory for held in ahead.held if held.role == "sampler")
    assert sampler is not None
    assert in_turn.peak is not None
    assert ahead.peak is not None
    assert ahead.peak.expected == in_turn.peak.expected + sampler.comes_and_goes.expected


def test_a_part_that_is_not_told_leaves_the_rest_as_the_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1_plugins.native.NativeSampler.memory", lambda self, shape, load, *, policy: None)
    plan = planned(tmp_path)
    zero = of(plan, "zero")
    assert zero.peak is not None
    assert not zero.is_whole
    said = "\n".join(estimate_lines(plan, plan.stages))
    assert re.search(r"^  zero .*iB and more ", said, re.MULTILINE)
    assert "\n  sampler    its engine does not tell" in said


def test_a_teacher_is_the_model_of_its_stage(tmp_path: Path) -> None:
    distil = "stages.student.train={use: distill, on_policy: {teacher: zero}}"
    more = [
        "stages.student.problems={use: playground}",
        "stages.student.sampler=native",
        "stages.student.sampling.max_new_tokens=99",
    ]
    file = tmp_path / "try.yaml"
    file.write_text(RECIPE.replace("    data: answers\n", "").replace("train: {use: sft, epochs: 3}", "train: sft"))
    plan = make_plan(resolve(file, None, [distil, *more]), PluginHost.discover())
    assert roles(of(plan, "student"))["teacher"] == "zero"


def test_tokens_are_those_of_the_answers_at_their_longest_and_shorter(plan: Plan) -> None:
    zero = of(plan, "zero")
    batches, answers = 40 // 4, 6 * 8
    assert zero.sampled == ANSWER * (batches * answers * 100)
    an_update = answers // 4
    assert zero.trained is not None
    assert zero.trained.high == 40 * an_update * (100 + PROMPT.high)
    assert of(plan, "answers").sampled == ANSWER * (10 * 4 * 100)
    student = of(plan, "student").trained
    assert student is not None
    assert student.high == 3 * 10 * 4 * (100 + PROMPT.high)


def test_what_only_the_data_decides_is_unknown(plan: Plan) -> None:
    base = of(plan, "base")
    assert (base.trained, base.time_s) == (None, None)
    assert base.peak is not None


def test_twice_the_steps_take_twice_the_time_and_the_rate_is_stated(tmp_path: Path) -> None:
    once, twice = of(planned(tmp_path), "zero"), of(planned(tmp_path, "stages.zero.train.steps=80"), "zero")
    assert once.time_s is not None
    assert twice.time_s is not None
    assert twice.time_s.expected == pytest.approx(2 * once.time_s.expected)
    student = of(planned(tmp_path), "student")
    assert student.time_s is not None
    assert student.trained is not None
    operations = student.trained.expected * 3.3 * 2 * PARAMETERS
    at_least = operations / (CORE_GFLOPS * GIGA * TRAIN_SHARE["cpu"].expected)
    assert at_least < student.time_s.expected < 2 * at_least
    said = "\n".join(estimate_lines(planned(tmp_path), planned(tmp_path).stages))
    assert f"assumed: 1 CPU core of {CORE_GFLOPS} GFLOP/s at 60% in training" in said


def test_disk_is_models_checkpoints_and_rollouts(tmp_path: Path) -> None:
    base = of(planned(tmp_path, "stages.base.checkpoint.keep=3"), "base").disk
    assert base == Range.exactly((4 + 3 * 12) * PARAMETERS)
    text = of(planned(tmp_path, "stages.zero.rollouts.keep=text"), "zero").disk
    ids = of(planned(tmp_path, "stages.zero.rollouts.keep=ids"), "zero").disk
    last = of(planned(tmp_path, "stages.zero.rollouts={keep: ids, last: 1}"), "zero").disk
    assert text is not None
    assert ids is not None
    assert last is not None
    assert text.high < ids.high
    assert last.high - 28 * PARAMETERS == pytest.approx((ids.high - 28 * PARAMETERS) / 10)


def test_signals_take_eight_bytes_for_each_token_kept_and_only_read_their_texts(tmp_path: Path) -> None:
    file = tmp_path / "try.yaml"
    graded = "  graded: {signals: SPEC, model: zero, data: answers, policy: {use: transformers, device: cpu}}\n"
    found = {}
    for name, spec in (("top", "{k: 10}"), ("sampled", "{scheme: sampled}")):
        file.write_text(RECIPE + graded.replace("SPEC", spec), encoding="utf-8")
        found[name] = of(make_plan(resolve(file), PluginHost.discover()), "graded")
    rows, longest = 10 * 4, 100
    top, sampled = found["top"].disk, found["sampled"].disk
    assert top is not None
    assert sampled is not None
    assert top.high == rows * (4 * (longest + PROMPT.high) + longest * (8 * 10 + 4 + 1 / 8))
    assert top.high - sampled.high == rows * longest * 8 * 10
    assert (found["top"].trained, found["top"].sampled) == (None, None)
    assert found["top"].time_s is not None
    assert roles(found["top"]) == {"model": "zero"}
    plan = make_plan(resolve(file), PluginHost.discover())
    said = "\n".join(plan_lines(plan, frozenset(plan.fingerprints), tmp_path))
    assert "log-probs at temperature 1 of the text's own tokens alone" in said


def test_a_teacher_elsewhere_is_a_host_that_is_contacted(tmp_path: Path) -> None:
    file = tmp_path / "try.yaml"
    teacher = '{use: remote_teacher, endpoint: {url: "http://127.0.0.1:9/v1"}}'
    stage = f"signals: {{k: 10}}, model: zero, data: answers, sampler: {teacher}"
    file.write_text(RECIPE + f"  graded: {{{stage}, policy: {{use: transformers, device: cpu}}}}\n", encoding="utf-8")
    plan = make_plan(resolve(file), PluginHost.discover())
    said = "\n".join(plan_lines(plan, frozenset(plan.fingerprints), tmp_path))
    assert "hosts: http://127.0.0.1:9 (remote_teacher)" in said
    assert of(plan, "graded").time_s is None


def test_a_model_that_is_not_on_this_disk_is_unknown_until_it_is(tmp_path: Path) -> None:
    file = tmp_path / "try.yaml"
    start, end = RECIPE.index("  base:\n"), RECIPE.index("  zero:\n")
    file.write_text(RECIPE[:start] + "  base: {import: someone/no-such-model}\n" + RECIPE[end:])
    plan = make_plan(resolve(file), PluginHost.discover())
    zero = of(plan, "zero")
    assert (zero.peak, zero.time_s, zero.disk) == (None, None, None)
    assert zero.sampled is not None
    said = "\n".join(estimate_lines(plan, plan.stages))
    assert "memory of zero, answers, student\n  someone/no-such-model is not on this disk: unknown until" in said


def test_ranks_share_the_optimizer_and_an_idle_one_is_told(tmp_path: Path) -> None:
    deepspeed = "stages.zero.policy={use: deepspeed, device: cpu, ranks: 16}"
    alone = of(planned(tmp_path, "stages.zero.policy={use: deepspeed, device: cpu}"), "zero").held[0].memory
    estimate = of(planned(tmp_path, deepspeed), "zero")
    shared = estimate.held[0].memory
    assert alone is not None
    assert shared is not None
    assert shared.optimizer.expected == alone.optimizer.expected / 16
    assert estimate.notes == ("16 ranks share 12 sequences a step: 4 are idle",)
    plan = planned(tmp_path, deepspeed)
    assert re.search(r"^  zero +16 x ", "\n".join(estimate_lines(plan, plan.stages)), re.MULTILINE)


def test_a_sequence_above_the_budget_of_a_micro_batch_is_told(tmp_path: Path) -> None:
    told = of(planned(tmp_path, "stages.zero.policy.micro_batch_tokens=200"), "zero").notes
    assert told == (
        "a sequence of up to 612 tokens is longer than micro_batch_tokens (200): it goes alone, and takes the memory "
        "of its own length",
    )


def test_numbers_are_in_the_unit_of_the_expected_one() -> None:
    assert bytes_of(Range(2**29, 2**30, 3 * 2**30)) == "0.5, 1, 3 GiB"
    assert bytes_of(Range(2**30, 2**30, 3 * 2**30)) == "1, 1, 3 GiB"
    assert bytes_of(Range.exactly(2**20)) == "1 MiB"
    assert bytes_of(None) == "unknown"


def test_every_shipped_profile_is_estimated() -> None:
    from r1core.recipe.resolve import find_recipe

    for profile in ("smoke", "tiny", "gpu", "paper"):
        plan = make_plan(resolve(find_recipe("recipes/deepseek_r1.yaml"), profile), PluginHost.discover())
        said = list(estimate_lines(plan, plan.stages))
        trained = [stage.id for stage in plan.stages if stage.kind == "train"]
        assert all(any(line.startswith(f"  {name} ") for line in said) for name in trained)
        if profile in ("smoke", "tiny"):
            estimator = Estimator(plan, Speed())
            peaks = [found.peak for stage in plan.stages if (found := estimator.of(stage)) is not None]
            assert peaks
            assert all(peak is not None and peak.high < 2**30 for peak in peaks), "a laptop is enough"
