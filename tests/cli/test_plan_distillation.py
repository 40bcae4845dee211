"""What `--dry-run` says of distillation: the signals, what the student samples, and what is graded elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r1_plugins.distill import Distill
from r1core.cli.estimate import ANSWER, Estimator
from r1core.cli.plan_view import plan_lines
from r1core.cli.quotes import graded_of
from r1core.cli.speed import Speed
from r1core.estimates import RolloutBatches
from r1core.plugins import PluginHost
from r1core.recipe.plan import Plan, make_plan
from r1core.recipe.resolve import resolve

RECIPE = """\
r1: 1
name: try
profile: none
engines: {policy: {use: transformers, device: cpu}, sampler: native}
sampling: {max_new_tokens: 100}
stages:
  base:
    train: sft
    model:
      scratch: {model_type: llama, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2,
        num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 1024, tie_word_embeddings: true}
    data: {use: playground_corpus}
  traces:
    sample: {prompts: 10, samples: 4}
    model: base
    problems: {use: playground}
    rewards: [accuracy]
  signals:
    signals: {k: 8}
    model: base
    sampler: &far {use: remote_teacher, endpoint: {url: "http://localhost:8000/v1"}}
    data: traces
  graded:
    train: {use: distill, on_policy: {teacher: *far, steps: 400, prompts: 64, samples: 2}}
    model: base
    problems: {use: playground}
  here:
    train:
      use: distill
      traces: {epochs: 3}
      on_policy: {teacher: traces_teacher, steps: 400, prompts: 64, samples: 2}
    model: base
    data: traces
    problems: {use: playground}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "try.yaml"
    file.write_text(RECIPE.replace("traces_teacher", "base"), encoding="utf-8")
    return make_plan(resolve(file), PluginHost.discover())


def said(plan: Plan, folder: Path) -> list[str]:
    return list(plan_lines(plan, frozenset(plan.fingerprints), folder))


def test_answers_on_policy_are_counted_wherever_the_options_stand(plan: Plan, tmp_path: Path) -> None:
    lines = [line.strip() for line in said(plan, tmp_path)]
    counted = "400 rollout batches of 64 prompts x 2 samples = 51,200 answers of at most 100 tokens"
    assert lines.count(counted) == 2
    for stage in ("graded", "here"):
        estimate = Estimator(plan, Speed()).of(plan.stage(stage))
        assert estimate is not None
        assert estimate.sampled == ANSWER * (51_200 * 100)
        assert estimate.time_s is not None


def test_sampling_and_what_is_learned_of_it_take_their_time(plan: Plan, tmp_path: Path) -> None:
    """The stage with traces and on-policy learns from more tokens than its traces have, and takes longer for them."""
    alone = tmp_path / "alone.yaml"
    kept = RECIPE.replace("      on_policy: {teacher: traces_teacher, steps: 400, prompts: 64, samples: 2}\n", "")
    kept = kept.replace("    data: traces\n    problems: {use: playground}\n", "    data: traces\n")
    alone.write_text(kept, encoding="utf-8")
    less = Estimator(make_plan(resolve(alone), PluginHost.discover()), Speed())
    of_traces, of_both = less.of(less.by_id["here"]), Estimator(plan, Speed()).of(plan.stage("here"))
    assert of_traces is not None
    assert of_both is not None
    assert of_traces.sampled is None
    for both, traces in ((of_both.trained, of_traces.trained), (of_both.time_s, of_traces.time_s)):
        assert both is not None
        assert traces is not None
        assert both.expected > 2 * traces.expected


def test_what_a_teacher_elsewhere_grades_is_asked_elsewhere(plan: Plan, tmp_path: Path) -> None:
    lines = said(plan, tmp_path)
    table = lines[lines.index("asked elsewhere (low, expected, high)") + 1 :]
    assert table[1].split()[:2] == ["signals", "40"]
    assert table[2].split()[:2] == ["graded", "51,200"]
    assert table[3] == "  texts that are graded, at most, a token written for each: signals, graded"
    assert "no USD without prices" not in "".join(lines), "no price is known, or asked for, of grading"
    quote = graded_of(plan, plan.stage("graded"))
    assert quote is not None
    assert quote.tokens_in.high == 51_200 * (100 + 512)
    assert graded_of(plan, plan.stage("here")) is None, "its teacher is a stage"


def test_the_plan_says_the_signals(plan: Plan, tmp_path: Path) -> None:
    lines = [line.strip() for line in said(plan, tmp_path)]
    reverse = "reverse KL by the log-probs of what it wrote"
    assert f"signal: on_policy (400 steps, teacher remote_teacher, {reverse})" in lines
    assert f"signals in turn: traces (3 epochs, cross-entropy); on_policy (400 steps, teacher base, {reverse})" in lines


ON_POLICY = {"teacher": "t", "steps": 7, "prompts": 3, "samples": 2}
CACHED = {"signals": "kept"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"traces": {}}, "signal: traces (1 epoch, cross-entropy)"),
        ({"cached": CACHED}, "signal: cached (1 epoch, of kept)"),
        (
            {"cached": {**CACHED, "divergence": {"kind": "jsd", "like": "trl"}}, "traces": {"weight": 0.5}}
            | {"mix": "together", "lr": 1e-4},
            "signals together in every update: traces (1 epoch, weight 0.5, cross-entropy); "
            "cached (1 epoch, weight 1, of kept, jsd divergence as in trl)",
        ),
        ({"live": {"teacher": "t", "tokenizers": "uld"}}, "by rank, across tokenizers (uld))"),
        (
            {"live": {"teachers": [{"teacher": "a", "for": {"domain": "x"}}, {"teacher": "b"}]}},
            "signal: live (1 epoch, teachers a and b, forward divergence)",
        ),
        ({"on_policy": {**ON_POLICY, "signal": "full"}}, "signal: on_policy (7 steps, teacher t, reverse divergence)"),
    ],
)
def test_each_signal_is_said_with_what_was_chosen(options: dict[str, Any], line: str) -> None:
    (told,) = Distill(Distill.Config.model_validate(options)).learns_from
    assert told.endswith(line)


def test_together_the_data_may_ask_for_more_batches() -> None:
    both = {"traces": {}, "on_policy": ON_POLICY}
    in_turn = Distill(Distill.Config.model_validate(both))
    assert in_turn.rollout_batches == RolloutBatches(batches=7, prompts=3, samples=2)
    together = Distill(Distill.Config.model_validate({**both, "mix": "together", "lr": 1e-4}))
    assert together.rollout_batches == RolloutBatches(batches=7, prompts=3, samples=2, at_least=True)
    assert Distill(Distill.Config.model_validate({"traces": {}})).rollout_batches is None
