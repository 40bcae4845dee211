"""Models that others have trained to classify: the reward says what the library itself says of them, to 1e-5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_model import SPECIAL, WORDS, write_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from r1_plugins.reward_models import RewardModel
from r1core.errors import RecipeError, SetupError
from r1core.types import Message, Problem, Response

LABELS = {0: "harmful", 1: "harmless", 2: "unclear"}
LONGEST = 64
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} <|end|> {% endfor %}"


def encoder(folder: Path, labels: int = 3) -> Path:
    """A random BERT whose tokenizer puts special tokens around two texts."""
    torch.manual_seed(labels)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    config: Any = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=LONGEST,
        initializer_range=0.5,
        num_labels=labels,
        **({"id2label": LABELS, "label2id": {name: n for n, name in LABELS.items()}} if labels == 3 else {}),
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def decoder(folder: Path) -> Path:
    """A random Llama with one score, whose chat template closes every turn."""
    torch.manual_seed(0)
    write_tokenizer(folder, template=TEMPLATE)
    config: Any = LlamaConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        initializer_range=0.3,
        num_labels=1,
        pad_token_id=0,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder(tmp_path_factory.mktemp("llama"))


def reward(folder: Path, **options: Any) -> RewardModel:
    return RewardModel(RewardModel.Config(model=str(folder), device="cpu", **options))


def pair(question: str, answer: str) -> tuple[Problem, Response]:
    problem = Problem(id=question, messages=({"role": "user", "content": question},))
    return problem, Response.parse(f"<think> w9 </think> {answer}")


ASKED = [
    pair("w1 w2", "w3"),
    pair("w4", "w5 w6 w7 w8 w1 w1"),
    pair("w1", ""),
    pair("w2 w3 w4 w5", "w20 w21"),
    pair("w7", "w8 " * 30),
]


# --- what the library says -------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "function"), [("softmax", "softmax"), ("sigmoid", "sigmoid"), ("none", "none")])
@pytest.mark.parametrize("label", list(LABELS.values()))
def test_an_encoder_says_what_the_librarys_pipeline_says(bert: Path, scale: str, function: str, label: str) -> None:
    judge: Any = pipeline("text-classification", model=str(bert), top_k=None, device="cpu")
    wanted = []
    for problem, response in ASKED:
        said = judge({"text": problem.question, "text_pair": response.answer}, function_to_apply=function)
        wanted.append(next(each["score"] for each in said if each["label"] == label))
    found = [s.value for s in reward(bert, layout="pair", label=label, scale=scale).score_all(ASKED)]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.01


def test_a_decoder_says_what_the_librarys_forward_says(llama: Path) -> None:
    model: Any = AutoModelForSequenceClassification.from_pretrained(llama)
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    wanted = []
    for problem, response in ASKED:
        said = [*problem.messages, {"role": "assistant", "content": response.answer}]
        inputs = tokenizer.apply_chat_template(said, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            wanted.append(float(model(**inputs).logits[0, 0]))
    found = [s.value for s in reward(llama, layout="chat", scale="none").score_all(ASKED)]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) - min(wanted) > 0.01


def test_the_whole_response_may_be_seen(llama: Path) -> None:
    shown = reward(llama, layout="chat", sees="response")._loaded().shown(*ASKED[0], "response")
    tokenizer: Any = AutoTokenizer.from_pretrained(llama)
    assert shown is not None
    assert tokenizer.decode(shown.ids) == "<|user|> w1 w2 <|end|> <|assistant|> <think> w9 </think> w3 <|end|>"


def test_a_given_start_of_the_answer_is_no_message(llama: Path) -> None:
    start: tuple[Message, ...] = ({"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "<think> w9"})
    given = Problem(id="x", messages=start), Response.parse(" </think> w3", prefilled="<think> w9")
    for sees in ("answer", "response"):
        ask = reward(llama, layout="chat", sees=sees)
        assert ask.score(*given).value == pytest.approx(ask.score(*ASKED[0]).value, abs=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.integers(0, len(ASKED) - 1), min_size=1, max_size=12), budget=st.integers(1, 300))
@pytest.mark.parametrize("layout", ["pair", "chat"])
def test_a_score_does_not_depend_on_what_else_is_asked(
    bert: Path, llama: Path, layout: str, chosen: list[int], budget: int
) -> None:
    options: dict[str, Any] = {"label": "harmless"} if layout == "pair" else {"scale": "none"}
    ask = reward({"pair": bert, "chat": llama}[layout], layout=layout, micro_batch_tokens=budget, **options)
    alone = {i: ask.score(*ASKED[i]).value for i in set(chosen)}
    together = [score.value for score in ask.score_all([ASKED[i] for i in chosen])]
    assert together == pytest.approx([alone[i] for i in chosen], abs=1e-6)


# --- nothing is cut --------------------------------------------------------------------------------


def test_an_answer_that_is_too_long_is_not_cut_but_worth_nothing(bert: Path) -> None:
    ask = reward(bert, layout="pair", label="harmless")
    fine, long, question = ask.score_all([ASKED[0], pair("w1", "w2 " * LONGEST), pair("w1 " * LONGEST, "w2")])
    assert fine.status == "verdict"
    assert (long.status, long.reason) == ("answer_failure", f"too_long: {LONGEST + 4} tokens of {LONGEST}")
    assert (question.status, question.reason) == ("infrastructure", "question_too_long")


def test_a_limit_of_its_own_is_kept_and_not_above_the_models(bert: Path) -> None:
    assert reward(bert, layout="pair", label="1", max_tokens=6).score(*ASKED[0]).status == "verdict"
    assert reward(bert, layout="pair", label="1", max_tokens=5).score(*ASKED[0]).status == "answer_failure"
    with pytest.raises(RecipeError, match=rf"max_tokens is 65, but the model reads {LONGEST} at most"):
        reward(bert, layout="pair", label="1", max_tokens=65).score(*ASKED[0])


# --- what is refused -------------------------------------------------------------------------------


def test_a_model_with_several_labels_wants_one_of_them(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"3 labels: harmful, harmless, unclear\n.*`label`"):
        reward(bert, layout="pair").score(*ASKED[0])
    with pytest.raises(RecipeError, match=r"no label 'harmles'.*\n.*did you mean 'harmless'"):
        reward(bert, layout="pair", label="harmles").score(*ASKED[0])
    with pytest.raises(RecipeError, match="no label '3'"):
        reward(bert, layout="pair", label="3").score(*ASKED[0])
    assert reward(encoder(tmp_path, labels=1), layout="pair").score(*ASKED[0]).status == "verdict"


def test_labels_by_name_and_number_are_the_same(bert: Path) -> None:
    by_name, by_number = (reward(bert, layout="pair", label=label).score(*ASKED[0]) for label in ("unclear", "2"))
    assert by_name == by_number


def test_a_chat_without_a_template_and_a_model_without_a_head_are_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no chat template\n.*layout: pair"):
        reward(bert, layout="chat", label="1").score(*ASKED[0])
    from transformers import LlamaForCausalLM

    write_tokenizer(tmp_path)
    config: Any = LlamaConfig(vocab_size=48, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(SetupError, match=r"no model that classifies: it lacks score\.weight"):
        reward(tmp_path, layout="chat").score(*ASKED[0])
    with pytest.raises(SetupError, match=r"no \*\.safetensors"):
        reward(tmp_path / "nowhere", layout="pair").score(*ASKED[0])


@pytest.mark.parametrize("options", [{"label": "1"}, {"scale": "softmax"}])
def test_options_that_only_others_models_have_are_refused_for_ones_own(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say chat or pair"):
        RewardModel.Config(model="x", **options)
