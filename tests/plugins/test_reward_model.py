"""A reward model on a tiny model: its gradient is the coupled loss's, it learns a rule, and it is asked as trained."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_transformers_policy import make, policy
from toy_training import ToyContext, ToyPolicy

from r1_plugins.reward_models import RewardModel, RewardModelTrainer
from r1_plugins.reward_models.examples import Example, labelled, pairs, usable
from r1_plugins.reward_models.objective import sigmoid
from r1_plugins.reward_models.trainer import _step
from r1core.errors import SetupError
from r1core.types import Answer, Problem, Response, Score, Step

RANDOM = np.random.default_rng(4)
GOOD = "w20"


def problem(number: int) -> Problem:
    asked = f"w{number % 16} w{number // 16 % 16} w{number // 256}"
    return Problem(id=f"p{number}", messages=({"role": "user", "content": asked},), domain="general")


def answers(problems: int, samples: int = 4) -> list[Answer]:
    """Random words; what has w20 in its answer is worth 1, whatever was thought."""
    found = []
    for number in range(problems):
        for _ in range(samples):
            words = [f"w{n}" for n in RANDOM.integers(0, 32, RANDOM.integers(2, 7))]
            words = [word if word != GOOD else "w21" for word in words]
            value = float(RANDOM.random() < 0.5)
            if value:
                words[RANDOM.integers(len(words))] = GOOD
            thought = f"<think> {GOOD if RANDOM.random() < 0.5 else 'w3'} </think> "
            response = Response.parse(thought + " ".join(words))
            found.append(Answer(problem=problem(number), response=response, score=Score(value=value)))
    return found


DATA = answers(60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lm"))


class Stage(ToyContext):
    """A context with answers and a real policy."""

    def __init__(self, policy: Any, answers: list[Answer]) -> None:
        super().__init__()
        self.policy = policy
        self.answers = lambda: answers


def train(opened: Any, data: list[Answer], **options: Any) -> list[Step]:
    trainer = RewardModelTrainer(RewardModelTrainer.Config.model_validate(options))
    return list(trainer.run(Stage(opened, data)))  # type: ignore[arg-type]


# --- the gradient -----------------------------------------------------------------------------


def batch_of(opened: Any, objective: str) -> list[Example]:
    found, _ = usable(DATA[:48], opened, sees="answer", only={})
    return pairs(found, margin=0, most=2)[0] if objective == "pairwise" else labelled(found)


def coupled_loss(module: Any, batch: list[Example]) -> torch.Tensor:
    """The loss itself, one sequence at a time, through the library's own body and head."""
    losses = []
    for example in batch:
        ids = [torch.from_numpy(sequence.ids[: sequence.start])[None] for sequence in example.sequences]
        scores = [module.score(module.model(input_ids=one).last_hidden_state[0, -1]).squeeze() for one in ids]
        logit = scores[0] - scores[1] if len(scores) == 2 else scores[0]
        target = torch.tensor(example.label)
        losses.append(torch.nn.functional.binary_cross_entropy_with_logits(logit, target))
    return torch.stack(losses).mean()


def stepped(folder: Path, objective: str, budget: int) -> tuple[dict[str, float], dict[str, torch.Tensor], Any]:
    """A step's report and the gradient it left, of a model whose head says something already."""
    opened = policy(micro_batch_tokens=budget, max_grad_norm=1e9).open(folder, trainable=True, head="score")
    torch.nn.init.normal_(opened.module().score.weight, generator=torch.Generator().manual_seed(2))
    report = _step(opened, batch_of(opened, objective), lr=0.0)
    return report, {name: p.grad for name, p in opened.module().named_parameters()}, opened


@pytest.mark.parametrize("objective", ["pairwise", "pointwise"])
def test_two_passes_have_the_gradient_of_the_coupled_loss(folder: Path, objective: str) -> None:
    report, gradient, opened = stepped(folder, objective, 200)
    module = opened.module()
    module.zero_grad()
    wanted = coupled_loss(module, batch_of(opened, objective))
    wanted.backward()
    assert report["loss"] == pytest.approx(wanted.item(), abs=1e-6)
    assert max(float(p.grad.abs().max()) for p in module.parameters()) > 1e-2
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradient[name], parameter.grad, atol=1e-6, rtol=1e-5)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(1, 400), objective=st.sampled_from(["pairwise", "pointwise"]))
def test_micro_batches_do_not_matter(folder: Path, budget: int, objective: str) -> None:
    whole, gradient, _ = stepped(folder, objective, 100_000)
    split, other, _ = stepped(folder, objective, budget)
    assert split == pytest.approx(whole, rel=1e-5)
    for name, tensor in gradient.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-6, rtol=1e-4)


def test_scores_that_are_not_finite_change_nothing(folder: Path) -> None:
    opened = policy().open(folder, trainable=True, head="score")
    opened.module().score.weight.data.fill_(float("nan"))
    body = {name: p.detach().clone() for name, p in opened.module().model.named_parameters()}
    report = _step(opened, batch_of(opened, "pairwise"), lr=1e-2)
    assert report["skipped"] == 1.0
    assert np.isnan(report["loss"])
    assert all(torch.equal(body[name], p) for name, p in opened.module().model.named_parameters())


# --- learning -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """A helpful model's folder, and how it got there."""
    opened = policy().open(folder, trainable=True, head="score")
    steps = train(opened, answers(300), lr=3e-3, epochs=3, batch=16, pairs_per_problem=2, held_out=0.2)
    path = tmp_path_factory.mktemp("rm")
    opened.export(path)
    return path, steps


def test_a_rule_is_learned_from_pairs(trained: tuple[Path, list[Step]]) -> None:
    steps = trained[1]
    assert steps[0].metrics["loss"] == pytest.approx(np.log(2))
    assert "eval/pair_accuracy" not in steps[-2].metrics
    assert steps[-1].metrics["eval/pair_accuracy"] >= 0.9
    assert steps[-1].metrics["eval/pairs"] > 40
    assert "data/answers" in steps[0].metrics
    assert "data/answers" not in steps[1].metrics


def test_a_rule_is_learned_from_labels(folder: Path) -> None:
    opened = policy().open(folder, trainable=True, head="score")
    steps = train(opened, answers(250), objective="pointwise", lr=3e-3, epochs=3, batch=32, held_out=0.2)
    assert steps[-1].metrics["eval/auc"] >= 0.9
    assert steps[-1].metrics["eval/answers"] == 200


def test_each_example_is_learned_once_an_epoch_in_like_batches() -> None:
    context = Stage(ScoringToy(), DATA)
    trainer = RewardModelTrainer(RewardModelTrainer.Config(objective="pointwise", epochs=2, batch=50, held_out=0.0))
    list(trainer.run(context))  # type: ignore[arg-type]
    sizes = [len(batch) for batch in context.policy.updates]
    assert sizes == [48] * 10
    order = [tuple(s.ids.tolist()) for batch in context.policy.updates for s in batch]
    assert sorted(order[:240]) == sorted(order[240:])
    assert order[:240] != order[240:]
    # a score of 0.5 has a slope of sigmoid(0.5) - label, a share of 1/48 each
    weights = {round(s.columns["weight"][0] * 48, 6) for s in context.policy.updates[0]}
    assert weights == {round(float(sigmoid(np.array(0.5))) - label, 6) for label in (0, 1)}


class ScoringToy:
    """Records what it is asked to learn, and says 0.5 of everything."""

    def __init__(self) -> None:
        toy = ToyPolicy()
        self.updates, self.update = toy.updates, toy.update
        self.prompt_ids, self.completion_ids = toy.prompt_ids, toy.completion_ids

    def prefilled(self, messages: Any) -> str:
        return ""

    def values(self, sequences: Any) -> list[Any]:
        return [np.full(1, 0.5) for _ in sequences]


def test_options_that_contradict_each_other_are_refused() -> None:
    for options in ({"objective": "pointwise", "margin": 1}, {"held_out": 1.0}, {"objective": "listwise"}):
        with pytest.raises(ValidationError):
            RewardModelTrainer.Config.model_validate(options)
    measures = {
        held_out: RewardModelTrainer(RewardModelTrainer.Config(held_out=held_out)).measures for held_out in (0.0, 0.1)
    }
    assert measures == {0.0: frozenset(), 0.1: {"eval/pair_accuracy", "eval/pairs"}}


# --- the reward -----------------------------------------------------------------------------------


def reward(folder: Path, **options: Any) -> RewardModel:
    return RewardModel(RewardModel.Config(model=str(folder), device="cpu", **options))


ASKED = [(answer.problem, answer.response) for answer in DATA[:40]]


def test_the_reward_says_what_the_trained_model_says(trained: tuple[Path, list[Step]]) -> None:
    opened = policy().open(trained[0], trainable=False, head="score")
    found, _ = usable(DATA[:40], opened, sees="answer", only={})
    values = np.concatenate(opened.values([one.sequence for one in found]))
    raw = [score.value for score in reward(trained[0], scale="none").score_all(ASKED)]
    assert raw == pytest.approx(values.tolist(), abs=1e-6)
    chances = [score.value for score in reward(trained[0]).score_all(ASKED)]
    assert chances == pytest.approx(sigmoid(values).tolist(), abs=1e-6)
    good = np.array([answer.score.value for answer in DATA[:40]], dtype=bool)
    assert np.mean(np.array(chances)[good]) > np.mean(np.array(chances)[~good]) + 0.3


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.integers(0, 39), min_size=1, max_size=40), budget=st.integers(1, 500))
def test_a_score_does_not_depend_on_what_else_is_asked(
    trained: tuple[Path, list[Step]], chosen: list[int], budget: int
) -> None:
    alone = _alone(trained[0])
    scores = reward(trained[0], micro_batch_tokens=budget).score_all([ASKED[i] for i in chosen])
    assert [score.value for score in scores] == pytest.approx([alone[i] for i in chosen], abs=1e-6)


_ALONE: dict[Path, list[float]] = {}


def _alone(folder: Path) -> list[float]:
    if folder not in _ALONE:
        ask = reward(folder)
        _ALONE[folder] = [ask.score(asked, response).value for asked, response in ASKED]
    return _ALONE[folder]


def test_a_missing_answer_is_a_failure_of_the_answer(trained: tuple[Path, list[Step]]) -> None:
    unclosed = (ASKED[0][0], Response.parse("<think> w1 w2"))
    first, missing, last = reward(trained[0]).score_all([ASKED[0], unclosed, ASKED[1]])
    assert (missing.status, missing.reason) == ("answer_failure", "no_answer")
    assert [first.value, last.value] == pytest.approx(_alone(trained[0])[:2], abs=1e-6)
    (seen,) = reward(trained[0], sees="response").score_all([unclosed])
    assert seen.status == "verdict"
    assert reward(trained[0]).score_all([unclosed])[0].status == "answer_failure"


def test_a_score_that_is_not_finite_is_no_verdict(trained: tuple[Path, list[Step]], tmp_path: Path) -> None:
    opened = policy().open(trained[0], trainable=True, head="score")
    opened.module().score.weight.data.fill_(float("nan"))
    opened.export(tmp_path)
    (found,) = reward(tmp_path).score_all(ASKED[:1])
    assert (found.status, found.reason) == ("infrastructure", "score_not_finite")


def test_a_folder_that_is_no_reward_model_says_so(
    folder: Path, trained: tuple[Path, list[Step]], tmp_path: Path
) -> None:
    ask = partial(RewardModel.score_all, asked=ASKED[:1])
    with pytest.raises(SetupError, match="no such folder"):
        ask(reward(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match="no reward model: it has no score head"):
        ask(reward(folder))
    without = shutil.copytree(trained[0], tmp_path / "without")
    for file in without.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SetupError, match="no tokenizer in this folder"):
        ask(reward(without))
    untold = shutil.copytree(trained[0], tmp_path / "untold")
    (untold / "chat_template.jinja").unlink()
    with pytest.raises(SetupError, match="no chat template"):
        ask(reward(untold))


def test_a_model_that_cannot_be_run_stops_the_stage(trained: tuple[Path, list[Step]]) -> None:
    asked = reward(trained[0])
    shown = asked._loaded().shown(*ASKED[0], "answer")
    assert shown is not None
    with pytest.raises(SetupError, match="reward model cannot be run"):
        asked._loaded().logits([replace(shown, ids=shown.ids + 1000)])


def test_the_components_import_without_torch() -> None:
    code = "import sys, r1_plugins.reward_models; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
