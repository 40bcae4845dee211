"""The engine `echo`: four logits that are a proper distribution over answers, and whole recipes without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import PreTrainedTokenizerFast

from r1_plugins.echo import EchoPolicy, EchoSampler, EchoSource, tokens
from r1_plugins.echo.forms import BARE, FORMS, PARROT, RIGHT, decisions, written
from r1_plugins.echo.sampler import continuations
from r1core.batching import weighted
from r1core.errors import RecipeError, SetupError
from r1core.losses import CrossEntropy
from r1core.types import Problem, SampleRequest, Tokens, TrainSequence

ASKED = Problem(id="p", messages=({"role": "user", "content": "What comes after 41?"},), reference="42")
logits_of_four = st.lists(st.floats(-8, 8), min_size=4, max_size=4)


def policy(logits: Any = (0.0, 0.0, 0.0, 0.0)) -> EchoPolicy:
    made = EchoPolicy(EchoPolicy.Config())
    made.logits, made.trainable = np.array(logits, dtype=np.float64), True
    return made


def answer(form: int, *, start: int | None = None, asked: Problem = ASKED) -> TrainSequence:
    """The tokens of an answer in this form; counted from `start` on, from its first when absent."""
    prompt = tokens.render(asked.messages)
    ids = np.concatenate([prompt, policy().completion_ids(written(form, asked.question, asked.reference))])
    return TrainSequence(ids=ids, start=len(prompt) if start is None else start, columns={})


def shares(logits: Any) -> Any:
    return np.exp(logits) / np.exp(logits).sum()


def sampled(opened: EchoPolicy, count: int, asked: Problem = ASKED, **options: Any) -> list[Any]:
    sampler = EchoSampler(EchoSampler.Config())
    sampler.sync(opened)
    values: dict[str, Any] = {"keys": tuple(range(count)), "samples": tuple(range(count)), "max_new_tokens": 99}
    request = SampleRequest(problem=asked, prompt_ids=opened.prompt_ids(asked.messages), **{**values, **options})
    return list(sampler.generate([request]))


def form_of(text: str) -> int:
    return next(form for form in range(len(FORMS)) if written(form, ASKED.question, ASKED.reference) == text)


# --- the policy ------------------------------------------------------------------------------------


@given(logits_of_four)
def test_the_tokens_of_an_answer_are_as_likely_as_its_form(logits: list[float]) -> None:
    found = [float(own.sum()) for own in policy(logits).logprobs([answer(form) for form in range(len(FORMS))])]
    np.testing.assert_allclose(np.exp(found), shares(np.array(logits)), rtol=1e-9)


@given(logits_of_four, st.integers(0, 3), st.data())
def test_a_token_is_predicted_from_what_came_before_it(logits: list[float], form: int, data: st.DataObject) -> None:
    whole = answer(form)
    cut = data.draw(st.integers(whole.start, len(whole.ids) - 1))
    (all_of_it,) = policy(logits).logprobs([whole])
    (rest,) = policy(logits).logprobs([TrainSequence(ids=whole.ids, start=cut, columns={})])
    (beginning,) = policy(logits).logprobs([TrainSequence(ids=whole.ids[:cut], start=whole.start, columns={})])
    np.testing.assert_array_equal(all_of_it, np.concatenate([beginning, rest]))


@given(logits_of_four, st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), min_size=1, max_size=6))
@settings(max_examples=40)
def test_an_update_follows_the_gradient(logits: list[float], learned: list[tuple[int, float]]) -> None:
    batch = weighted(
        [
            TrainSequence(ids=own.ids, start=own.start, columns={"advantage": np.full(len(own.ids) - own.start, value)})
            for own, value in ((answer(form), value) for form, value in learned)
        ],
        "token_mean",
    )

    def loss(at: Any) -> float:
        found = policy(at).logprobs(batch)
        pairs = zip(found, batch, strict=True)
        return -sum(float((lp * s.columns["weight"] * s.columns["advantage"]).sum()) for lp, s in pairs)

    step = 1e-5
    slope = np.array([(loss(logits + step * e) - loss(logits - step * e)) / (2 * step) for e in np.eye(4)])
    opened = policy(logits)
    report = opened.update(batch, CrossEntropy(), lr=0.1)
    assert report["loss"] == pytest.approx(loss(logits), abs=1e-12)
    assert report["grad_norm"] == pytest.approx(float(np.linalg.norm(slope)), abs=1e-8)
    assert opened.logits is not None
    moved = opened.logits - logits
    clear = np.abs(slope) > 1e-6  # Adam's first step is lr, against the slope's sign
    np.testing.assert_allclose(moved[clear], -0.1 * np.sign(slope[clear]), rtol=0.02)


def test_numbers_that_are_not_finite_change_nothing() -> None:
    opened = policy()
    own = answer(RIGHT)
    bad = TrainSequence(ids=own.ids, start=own.start, columns={"weight": np.full(len(own.ids) - own.start, np.nan)})
    assert opened.update([bad], CrossEntropy(), lr=0.1)["skipped"] == 1.0
    assert opened.logits is not None
    assert opened.logits.tolist() == [0.0] * 4


def test_plain_documents_have_no_form() -> None:
    (ids,) = policy().document_ids(["a document<|end|>"])
    assert ids[-1] == tokens.END
    assert not list(decisions(ids))
    assert policy().completion_ids("a document<|end|>")[-2] == ord(">")


def test_a_foreign_text_counts_as_the_form_that_it_shows() -> None:
    prompt = tokens.render(ASKED.messages)
    logits = (0.0, 1.0, 2.0, 3.0)
    for text, form in (("<think>x</think><answer>43", RIGHT), ("<think><answer>Which?", PARROT), ("no idea", BARE)):
        ids = np.concatenate([prompt, policy().completion_ids(text)])
        (found,) = policy(logits).logprobs([TrainSequence(ids=ids, start=len(prompt), columns={})])
        assert np.exp(found.sum()) == pytest.approx(shares(np.array(logits))[form])


def test_it_says_what_it_cannot_do(tmp_path: Path) -> None:
    new = EchoPolicy(EchoPolicy.Config())
    with pytest.raises(RecipeError, match=r"no key 'initialiser_range'\n.*did you mean 'initializer_range'"):
        new.create(tmp_path, {"model_type": "echo", "initialiser_range": 1}, seed=0)
    with pytest.raises(RecipeError, match="makes no 'llama' model"):
        new.create(tmp_path, {"model_type": "llama"}, seed=0)
    with pytest.raises(SetupError, match="no model is open"):
        new.logprobs([answer(RIGHT)])
    with pytest.raises(SetupError, match="no score head"):
        new.open(tmp_path, trainable=True, head="score")
    with pytest.raises(SetupError, match="no torch module"):
        new.module()
    new.create(tmp_path, {"model_type": "echo"}, seed=0)
    with pytest.raises(SetupError, match="this model is frozen"):
        new.frozen(tmp_path).update([answer(RIGHT)], CrossEntropy(), lr=0.1)
    with pytest.raises(SetupError, match="no weights yet"):
        next(EchoSampler(EchoSampler.Config()).generate([]), None)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    files = {
        "its numbers are F32": lambda path: save_file({"logits": np.zeros(4, dtype=np.float32)}, path),
        "its logits are": lambda path: save_file({"logits": np.zeros(5)}, path),
        "no model of policy echo": lambda path: path.write_bytes(b"x" * 40),
    }
    for said, write in files.items():
        write(tmp_path / "model.safetensors")
        with pytest.raises(SetupError, match=said):
            policy().open(tmp_path, trainable=False)


# --- its files are everyone's ------------------------------------------------------------------------

TEXTS = [
    "<think>One moment.</think><answer>42</answer>",
    "<answer><answer>",
    "naïve 数学 🙂\n\t",
    "",
    "<thin",
    "\x00\x7f\xa0",
]


def test_the_tokenizer_is_one_that_libraries_read(tmp_path: Path) -> None:
    tokens.write_tokenizer(tmp_path)
    library: Any = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert len(library) == tokens.BYTES + len(tokens.NUMBER)
    assert library.eos_token_id == tokens.END
    for text in TEXTS:
        ids = library(text, add_special_tokens=False)["input_ids"]
        assert ids == tokens.encode(text).tolist()
        assert library.decode(ids) == text == tokens.decode(np.array(ids, dtype=np.int64))


@pytest.mark.parametrize("roles", [("user",), ("user", "assistant", "user"), ("system", "user")])
def test_a_prompt_is_what_the_chat_template_writes(tmp_path: Path, roles: tuple[str, ...]) -> None:
    tokens.write_tokenizer(tmp_path)
    library: Any = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    messages = [{"role": role, "content": f"{place} 数"} for place, role in enumerate(roles)]
    rendered = library.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert library(rendered, add_special_tokens=False)["input_ids"] == tokens.render(messages).tolist()


def test_the_weights_are_one_file_of_safetensors(tmp_path: Path) -> None:
    policy((0.0, 1.5, -2.0, 0.25)).export(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["logits"].tolist() == [0.0, 1.5, -2.0, 0.25]
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "echo"
    assert (tmp_path / "tokenizer.json").exists()


# --- the sampler -------------------------------------------------------------------------------------


def test_answers_are_drawn_as_the_policy_likes_them() -> None:
    logits, count = np.log([0.1, 0.2, 0.6, 0.1]), 4000
    counts = Counter(form_of(rollout.response.text) for rollout in sampled(policy(logits), count))
    for form, share in enumerate((0.1, 0.2, 0.6, 0.1)):
        assert abs(counts[form] / count - share) < 5 * np.sqrt(share * (1 - share) / count)


def test_a_nucleus_leaves_the_tail_out() -> None:
    logits = np.log([0.25, 0.3, 0.4, 0.05])
    forms = {form_of(r.response.text) for r in sampled(policy(logits), 300, top_p=0.9)}
    assert forms == {RIGHT, PARROT, BARE}
    assert {form_of(r.response.text) for r in sampled(policy(logits), 300, top_p=0.5)} == {PARROT}


def test_a_low_temperature_is_nearly_greedy() -> None:
    rollouts = sampled(policy((2.0, 0.0, 0.0, 0.0)), 200, temperature=0.05)
    assert {form_of(r.response.text) for r in rollouts} == {RIGHT}
    assert all(r.logprobs is None for r in rollouts), "they are the policy's at temperature 1 alone"


def test_it_goes_on_with_what_fits() -> None:
    whole = [written(form, ASKED.question, ASKED.reference) for form in range(len(FORMS))]
    assert continuations(ASKED, "") == whole
    assert continuations(ASKED, "<think>One") == [whole[form].removeprefix("<think>One") for form in (RIGHT, PARROT)]
    assert continuations(ASKED, "4") == ["2"]
    assert continuations(ASKED, whole[RIGHT]) == [""]
    assert continuations(ASKED, "Well, ") == whole


def test_a_state_is_worth_what_its_continuations_are() -> None:
    prefix: Tokens = tokens.encode("<think>One moment.")
    rollouts = sampled(policy(np.log([0.3, 0.1, 0.5, 0.1])), 2000, prefix_ids=prefix)
    right = sum(rollout.response.answer == "42" for rollout in rollouts) / 2000
    assert right == pytest.approx(0.75, abs=0.05)
    assert {rollout.response.thinking for rollout in rollouts} == {"One moment."}


# --- the source --------------------------------------------------------------------------------------


def test_its_answers_have_the_shares_that_were_asked() -> None:
    source = EchoSource(EchoSource.Config.model_validate({"limit": 2000, "shares": {"silent": 0}}))
    problems = list(source.problems(seed=3))
    counts = Counter(problem.meta["form"] for problem in problems)
    assert counts["silent"] == 0
    assert counts["right"] / 2000 == pytest.approx(1 / 9, abs=0.04)
    assert counts["bare"] / 2000 == pytest.approx(6 / 9, abs=0.06)
    assert problems == list(source.problems(seed=3)) != list(source.problems(seed=4))
    assert all(str(int(p.question.split()[-1].rstrip("?")) + 1) == p.reference for p in problems)
    with pytest.raises(ValueError, match="at least one form"):
        EchoSource.Config.model_validate({"shares": dict.fromkeys(FORMS, 0)})


def test_a_model_made_of_them_has_their_habits() -> None:
    problems = list(EchoSource(EchoSource.Config()).problems(seed=0))
    opened = policy()
    learned = weighted([answer(FORMS.index(p.meta["form"]), asked=p) for p in problems], "token_mean")
    for step in range(120):
        opened.update(learned, CrossEntropy(), lr=0.2 if step < 60 else 0.02)
    counts = Counter(problem.meta["form"] for problem in problems)
    wanted = [counts[form] / len(problems) for form in FORMS]
    assert opened.logits is not None
    np.testing.assert_allclose(shares(opened.logits), wanted, atol=0.02)
    assert int(np.argmax(wanted)) == BARE, "the habit of most is poor"


# --- whole recipes, without torch ---------------------------------------------------------------------

RECIPE = """\
r1: 1
name: light
profile: none
engines: {policy: echo, sampler: echo}
rollouts: {keep: none}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 20}, model: {scratch: {model_type: echo}}, data: {use: echo}}
  zero:
    train: {use: rl, preset: PRESET, steps: 16, prompts: 8, samples: 8, lr: 0.3}
    model: base
    problems: {use: echo}
    rewards: [accuracy]
"""
HIDE = """\
from importlib.machinery import PathFinder
whole = PathFinder.find_spec
HEAVY = {"torch", "transformers", "tokenizers", "safetensors", "pyarrow", "huggingface_hub", "tensorboard"}
def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in HEAVY else whole(name, path, target)
PathFinder.find_spec = classmethod(find_spec)
"""


def r1_without_torch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where nothing but a light install can be found, in stage processes, too."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(HIDE)
    code = "from r1core.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("preset", ["grpo", "ppo_mc"])
def test_reinforcement_learning_works_on_a_light_install(tmp_path: Path, preset: str) -> None:
    (tmp_path / "light.yaml").write_text(RECIPE.replace("PRESET", preset))
    done = r1_without_torch(tmp_path, "recipe", "light.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    zero = tmp_path / "runs" / "light" / "stages" / "zero"
    steps = [json.loads(line) for line in (zero / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 16
    assert steps[0]["reward"] < 0.3 < 0.8 < np.mean([step["reward"] for step in steps[-3:]])
    assert all(step["sampler/logprob_gap"] == 0 for step in steps)
    assert not (zero / "rollouts").exists()
    assert (zero / "model" / "model.safetensors").exists()


def test_rows_that_cannot_be_written_are_said_before_any_compute(tmp_path: Path) -> None:
    (tmp_path / "light.yaml").write_text(RECIPE.replace("PRESET", "grpo").replace("rollouts: {keep: none}\n", ""))
    done = r1_without_torch(tmp_path, "recipe", "light.yaml")
    assert done.returncode == 3
    assert (
        "the rollouts of zero are kept as parquet files: pyarrow is not installed: pip install pyarrow" in done.stderr
    )
    assert "rollouts: {keep: none}" in done.stderr
    assert not (tmp_path / "runs").exists()
