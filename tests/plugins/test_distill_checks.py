"""What distillation refuses before its first step: other tokens, other caches, traces not learned as written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import SPECIAL, TEMPLATE, WORDS
from tokenizers import Tokenizer, models, pre_tokenizers
from toy_distill import ASKED, TRACES, Class, folder, gradient, policy, train
from toy_training import ToyContext, group
from transformers import PreTrainedTokenizerFast

from r1core.components import Policy, Sampler
from r1core.errors import RecipeError, SetupError
from r1core.types import Problem, SampleRequest, TopLogprobs, TrainSequence

OWN: Mapping[str, Any] = {"teacher": "teacher", "steps": 1, "prompts": 2, "samples": 2}
OPENS = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|> <think>{% endif %}")
MODES: Sequence[Mapping[str, Any]] = [
    {"live": {"teacher": "teacher"}},
    {"cached": {"signals": "cache"}},
    {"on_policy": OWN},
    {"on_policy": {**OWN, "signal": "full"}},
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("models") / "student", seed=0)


def refused(context: Class, said: str, **options: Any) -> RecipeError:
    """It stops with this reason, and has learned nothing."""
    with pytest.raises(RecipeError, match=said) as caught:
        train(context, **options)
    assert all(parameter.grad is None for parameter in context.policy.module().parameters())
    assert caught.value.where
    assert caught.value.fix
    return caught.value


# --- teacher and student with other tokens ----------------------------------------------------------


def reordered(path: Path) -> Path:
    """A model whose vocabulary has the same size and the same words, under other numbers."""
    folder(path, seed=1)
    words = {word: i for i, word in enumerate(SPECIAL + WORDS[::-1])}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<pad>")
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(path)
    return path


@pytest.mark.parametrize("mode", MODES)
def test_a_vocabulary_of_the_same_size_with_other_numbers_is_refused(
    tmp_path: Path, student: Path, mode: Mapping[str, Any]
) -> None:
    context = Class(student, {"teacher": reordered(tmp_path / "teacher")})
    context.cache()
    refused(context, "different tokenizers", **mode)


@pytest.mark.parametrize("mode", MODES)
def test_another_end_token_over_the_same_ids_is_refused_by_its_name(
    tmp_path: Path, student: Path, mode: Mapping[str, Any]
) -> None:
    """A base model and the chat model of its family."""
    teacher = folder(tmp_path / "teacher", seed=1)
    told = json.loads((teacher / "tokenizer_config.json").read_text())
    (teacher / "tokenizer_config.json").write_text(json.dumps({**told, "eos_token": "<|user|>"}))
    context = Class(student, {"teacher": teacher})
    context.cache()
    said = (
        r"same token ids and other end tokens: the teacher ends an answer with <\|user\|>, the student with <\|end\|>"
    )
    error = refused(context, said, **mode)
    assert '"eos_token": "<|user|>" in the tokenizer_config.json' in error.fix


def test_a_cache_that_tells_only_the_old_marks_is_read(student: Path) -> None:
    context = Class(student, {"teacher": student})
    cache = context.cache()
    cache.about = {name: value for name, value in cache.about.items() if name not in ("ids", "end")}
    assert train(context, cached={"signals": "cache"})
    other = Class(student, {"teacher": student})
    other.cache().about = {**cache.about, "tokenizer": "0" * 64}
    refused(other, "different tokenizers", cached={"signals": "cache"})


@pytest.mark.parametrize("mode", MODES)
def test_another_chat_template_is_refused(tmp_path: Path, student: Path, mode: Mapping[str, Any]) -> None:
    context = Class(student, {"teacher": folder(tmp_path / "teacher", seed=1, template=OPENS)})
    context.cache()
    refused(context, "different chat templates", **mode)


def test_policies_that_cannot_tell_their_marks_are_compared_by_an_answer() -> None:
    context = ToyContext(lambda at: [group("a", 0.0, tokens=[(5, 6)])])
    context.teacher.prompt_ids = lambda messages: np.array([1])  # type: ignore[method-assign]
    with pytest.raises(RecipeError, match="different tokenizers or chat templates"):
        train(context, on_policy=OWN)
    assert not context.policy.updates


def test_a_reward_model_is_no_teacher(tmp_path: Path, student: Path) -> None:
    judge = tmp_path / "judge"
    policy().open(student, trainable=True, head="score").export(judge)
    context = Class(student, {})
    context.model = lambda ref: context.policy.frozen(judge)  # type: ignore[method-assign]
    with pytest.raises(SetupError, match="this model scores answers"):
        train(context, on_policy=OWN)


def test_a_policy_without_whole_distributions_is_no_live_teacher(student: Path) -> None:
    class Mute(type(policy())):  # type: ignore[misc]
        name = "mute"
        head = Policy.head

    context = Class(student, {})
    context.models["teacher"] = Mute(policy().config).open(student, trainable=False)
    refused(context, "gives no loss its next-token distributions", live={"teacher": "teacher"})
    assert len(train(context, on_policy=OWN)) == 1


# --- a cache that is another ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "asked", "said"),
    [
        ({"temperature": 2.0}, {"divergence": {"temperature": 1.0}}, "at temperature 1, the signals were stored at 2"),
        ({"k": 4}, {"divergence": {"top_k": 8}}, "compares 8 tokens, the signals hold 4"),
        ({"k": 0, "scheme": "sampled"}, {"divergence": {"kind": "reverse"}}, "hold each token's own log-prob"),
        ({}, {"teacher": "r1"}, "these signals are of f00d, teacher, not of r1"),
        ({}, {"divergence": {"square": True}}, "square changes nothing at temperature 1"),
    ],
)
def test_a_cache_made_in_another_way_is_refused(student: Path, made: Any, asked: Any, said: str) -> None:
    context = Class(student, {"teacher": student})
    context.cache(**made)
    refused(context, said, cached={"signals": "cache", **asked})


def test_a_cache_made_as_asked_is_taken(student: Path) -> None:
    context = Class(student, {"teacher": student})
    context.cache(k=4, temperature=2.0)
    asked = {"temperature": 2.0, "top_k": 4, "square": True}
    assert len(train(context, cached={"signals": "cache", "teacher": "teacher", "divergence": asked})) == 1


# --- traces that would not be learned as they were written ------------------------------------------


def traces(*texts: str, prefilled: str | None = None) -> list[Problem]:
    return [Problem(id=f"t{n}", messages=ASKED, completion=text, prefilled=prefilled) for n, text in enumerate(texts)]


@pytest.mark.parametrize("signal", ["traces", "live"])
@pytest.mark.parametrize(
    ("template", "prefilled", "text", "said"),
    [
        (TEMPLATE, None, "w1 </think> w2", "closes a think block that nothing opens, as 2 of 3 do"),
        (TEMPLATE, "<think>", "w1 </think> w2", "had begun it with '<think>', the model's begins it with ''"),
        (OPENS, "", "w1 w2", "had begun it with '', the model's begins it with '<think>'"),
        (OPENS, None, "<think> w1 </think> w2", "the model's template opens the think block"),
        (TEMPLATE, None, "<think> w1 </think> unheard-of", "the tokenizer makes"),
        (TEMPLATE, "", "w1 <|end|> w2", "the tokenizer makes"),
    ],
)
def test_a_trace_that_would_be_learned_otherwise_is_refused(
    tmp_path: Path, template: str, prefilled: str | None, text: str, said: str, signal: str
) -> None:
    path = folder(tmp_path / "student", seed=0, template=template)
    sound = Problem(id="sound", messages=ASKED, completion="w1 </think> w2" if template == OPENS else "w3")
    context = Class(path, {"teacher": path}, examples=[sound, *traces(text, text, prefilled=prefilled)])
    options: dict[str, Any] = {signal: {"teacher": "teacher"} if signal == "live" else {}}
    refused(context, f"text 't0' would not be read as written: .*{said}", **options)


def test_a_stray_closing_tag_is_told_and_learned(student: Path) -> None:
    context = Class(student, {}, examples=traces("w1 w2", "w1 </think> w2", "<think> w1 </think>"))
    assert len(train(context, traces={})) == 1
    assert context.notes == ["1 of 3 traces close a think block that nothing opens, 't1' first"]


def test_what_a_poor_writer_wrote_under_the_same_template_is_learned(student: Path) -> None:
    context = Class(student, {}, examples=traces("w1 </think> w2", "w3 </think>", prefilled=""))
    assert len(train(context, traces={})) == 1
    assert context.notes == []


def test_a_template_that_opens_what_a_dataset_left_out_makes_its_traces_whole(tmp_path: Path) -> None:
    path = folder(tmp_path / "student", seed=0, template=OPENS)
    context = Class(path, {}, examples=traces("w1 </think> w2", prefilled=""))
    assert len(train(context, traces={})) == 1


@pytest.mark.parametrize(
    ("template", "text"), [(TEMPLATE, "<think> w1 </think> w2"), (OPENS, "w1 </think> w2"), (TEMPLATE, "w1 w2")]
)
def test_traces_with_one_think_block_or_none_are_learned(tmp_path: Path, template: str, text: str) -> None:
    context = Class(folder(tmp_path / "student", seed=0, template=template), {}, examples=traces(text))
    assert len(train(context, traces={})) == 1
    assert context.notes == []


def test_other_spaces_are_told_and_learned(student: Path) -> None:
    context = Class(student, {}, examples=traces("w1 w2", "w1  w2\n"))
    assert len(train(context, traces={})) == 1
    assert context.notes == ["the tokenizer spells 1 of 2 traces otherwise (spaces, forms of letters), 't1' first"]


# --- who teaches, and at which temperature ----------------------------------------------------------


@pytest.mark.parametrize("signal", ["live", "on_policy"])
def test_a_problem_that_no_teacher_is_for_is_named(student: Path, signal: str) -> None:
    examples = [*TRACES, replace(TRACES[0], id="odd", domain="general")]
    context = Class(student, {"teacher": student}, examples=examples, domains=("reasoning", "general"))
    teachers = {"teachers": [{"teacher": "teacher", "for": {"domain": "reasoning"}}]}
    own = {"steps": 1, "prompts": 2, "samples": 1} if signal == "on_policy" else {}
    name = "p1" if signal == "on_policy" else "odd"
    refused(context, f"no teacher is for problem '{name}' .domain 'general'", **{signal: {**teachers, **own}})


def test_the_policy_gradient_needs_answers_of_temperature_1(student: Path) -> None:
    context = Class(student, {"teacher": student}, temperature=0.7)
    refused(context, "samples at temperature 1", on_policy=OWN)


# --- a teacher that is elsewhere --------------------------------------------------------------------


class Elsewhere(Sampler):
    """Grades as a model in memory does, but for the tokens of one place; keeps what it was asked."""

    name = "elsewhere"
    silent_at: int | None = None
    asked: list[int]
    model: Any

    def sync(self, policy: Policy) -> None:
        self.asked = []
        self.synced = policy

    def generate(self, requests: Sequence[SampleRequest]) -> Any:
        raise AssertionError("a teacher writes nothing")

    def score(self, sequences: Sequence[TrainSequence], *, top_k: int, temperature: float) -> list[TopLogprobs]:
        assert (top_k, temperature) == (0, 1.0)
        self.asked.append(len(sequences))
        told = self.model.top_logprobs(sequences, k=0, temperature=1.0)
        for _, _, own in told if self.silent_at is not None else ():
            own[self.silent_at] = self.says
        return list(told)


def taught_from_afar(
    student: Path, teacher: Path, *, silent_at: int | None = None, says: float = np.nan
) -> tuple[Class, Elsewhere]:
    context, far = Class(student, {}), Elsewhere(Elsewhere.Config())
    far.model, far.silent_at, far.says = policy().open(teacher, trainable=False), silent_at, says
    context.build = lambda use, kind: far  # type: ignore[method-assign]
    return context, far


def test_a_teacher_elsewhere_gives_the_gradient_of_one_in_memory(tmp_path: Path, student: Path) -> None:
    teacher = folder(tmp_path / "teacher", seed=1)
    near = Class(student, {"teacher": teacher})
    context, far = taught_from_afar(student, teacher)
    (step,) = train(context, on_policy={**OWN, "teacher": {"use": "elsewhere"}})
    (wanted,) = train(near, on_policy=OWN)
    assert step.metrics["reverse_kl"] == pytest.approx(wanted.metrics["reverse_kl"], abs=1e-6)
    assert (gradient(context) - gradient(near)).norm() < 1e-4 * gradient(near).norm()
    assert far.asked == [4]
    assert far.synced is context.policy


@pytest.mark.parametrize("says", [np.nan, -np.inf])
def test_tokens_that_it_did_not_grade_or_finds_impossible_are_not_learned_from(
    tmp_path: Path, student: Path, says: float
) -> None:
    context, _ = taught_from_afar(student, folder(tmp_path / "teacher", seed=1), silent_at=0, says=says)
    (step,) = train(context, on_policy={**OWN, "teacher": {"use": "elsewhere"}})
    lengths = [len(rollout.completion_ids) for rollout in context.answered]
    assert step.metrics["num_tokens"] == sum(lengths) - len(lengths)
    assert step.metrics["on_policy/present"] == pytest.approx(1 - len(lengths) / sum(lengths))
    assert np.isfinite([step.metrics["loss"], step.metrics["reverse_kl"]]).all()
    assert gradient(context).isfinite().all()


def test_answers_that_it_did_not_grade_at_all_are_a_step_without_an_update(tmp_path: Path, student: Path) -> None:
    context, far = taught_from_afar(student, folder(tmp_path / "teacher", seed=1), silent_at=0)
    context.length = 1
    (step,) = train(context, on_policy={**OWN, "teacher": {"use": "elsewhere"}})
    assert far.asked == [4]
    assert step.note == "nothing to learn from: no token has a signal"
    assert all(parameter.grad is None for parameter in context.policy.module().parameters())
