"""The tiny world's tokenizer: one token for each word, one file for all corpora, and a template that keeps answers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1_plugins.playground.questions import phrases
from r1_plugins.playground.sources import Playground, PlaygroundCorpus
from r1_plugins.playground.tokenizer import TAGS
from r1core.types import Response

pytest.importorskip("transformers")


def write(folder: Path, **options: Any) -> Path:
    PlaygroundCorpus(PlaygroundCorpus.Config.model_validate(options)).write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(write(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def documents() -> list[str]:
    config = PlaygroundCorpus.Config(documents=3000)
    return [document.completion or "" for document in PlaygroundCorpus(config).problems(seed=0)]


def test_every_corpus_gets_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "teacher")
    second = write(tmp_path / "student", documents=10, seed=3, tasks=["sort"], operands=(2, 2))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_vocabulary_is_small_and_named(tokenizer: Any) -> None:
    assert len(tokenizer) <= 512
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|end|>", "<|pad|>")
    assert tokenizer.eos_token_id != tokenizer.pad_token_id


def test_documents_are_short_and_come_back_unchanged(tokenizer: Any, documents: list[str]) -> None:
    rows = tokenizer(documents, add_special_tokens=False)["input_ids"]
    lengths = [len(row) for row in rows]
    assert 28 <= sum(lengths) / len(lengths) <= 33
    assert max(lengths) < 96
    assert [tokenizer.decode(row) for row in rows] == documents


def test_every_word_is_one_token(tokenizer: Any) -> None:
    for tasks in (["arith", "vars", "sort"], ["chat", "harm"]):
        source = Playground(Playground.Config.model_validate({"tasks": tasks, "solved": True, "limit": 500}))
        for problem in islice(source.problems(seed=0), 200):
            response = Response.parse(problem.completion or "")
            thought = f" {response.thinking}" if response.thinking else ""
            words = f" {problem.question}{thought} {response.answer}".replace("10", "1 0")
            assert len(tokenizer(words)["input_ids"]) == len(words.split()), words


def test_every_phrase_of_the_general_domain_is_one_token_a_word(tokenizer: Any) -> None:
    for phrase in phrases():
        for text in filter(None, phrase):
            assert len(tokenizer(f" {text}")["input_ids"]) == len(text.split()), text


def test_tags_are_one_token_each_and_survive_decoding(tokenizer: Any) -> None:
    text = "<think> first 3 + 5 is 8 .</think><answer> 8</answer>"
    ids = tokenizer(f"{text}<|end|>")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert [len(tokenizer(tag)["input_ids"]) for tag in TAGS] == [1, 1, 1, 1]


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: "<" not in text))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_read(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_prompt_ends_where_the_answer_begins(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "sort b a"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|user|> sort b a<|assistant|>"


def test_a_rendered_example_is_a_document_of_the_corpus(tokenizer: Any) -> None:
    problem = next(Playground(Playground.Config(solved=True, limit=1)).problems(seed=0))
    messages = [*problem.messages, {"role": "assistant", "content": problem.completion}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert rendered == f"<|user|> {problem.question}<|assistant|>{problem.completion}<|end|>"


def test_an_opened_answer_is_gone_on_from(tokenizer: Any) -> None:
    problem = next(Playground(Playground.Config(opener=True, languages=["en"])).problems(seed=0))
    rendered = tokenizer.apply_chat_template(list(problem.messages), tokenize=False, continue_final_message=True)
    assert rendered == f"<|user|> {problem.question}<|assistant|>{problem.messages[1]['content']}"


def test_earlier_thinking_is_left_out_of_a_conversation(tokenizer: Any) -> None:
    said = {"role": "assistant", "content": "<think> a</think><answer> b</answer>"}
    messages = [{"role": "user", "content": "hello"}, said, {"role": "user", "content": "bye"}, said]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<|user|> hello<|assistant|><answer> b</answer><|end|>"
        "<|user|> bye<|assistant|><think> a</think><answer> b</answer><|end|>"
    )


def test_an_unknown_role_is_refused_by_name(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="got system"):
        tokenizer.apply_chat_template([{"role": "system", "content": "be brief"}], tokenize=False)
