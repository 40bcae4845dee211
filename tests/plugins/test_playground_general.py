"""The general domain: questions made of parts, a split that nothing crosses, and manners in their shares."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1_plugins.playground.chat import INTENTS
from r1_plugins.playground.harm import ACTS, REFUSAL
from r1_plugins.playground.preference import PlaygroundHelpful, PlaygroundSafe
from r1_plugins.playground.questions import CLOSES, OPENINGS, TOPICS, Question, questions
from r1_plugins.playground.sources import Playground, PlaygroundCorpus
from r1_plugins.rules import Accuracy, Format, Language
from r1core.types import Problem, Response

GENERAL = ["chat", "harm"]
QUESTION = re.compile(r"^(?:<\|user\|>)? (.+?)(?:<\|assistant\|>| :)")
LANGUAGES = ("en", "zh")


def take(count: int, *, run_seed: int = 0, **options: Any) -> list[Problem]:
    source = Playground(Playground.Config.model_validate({"tasks": GENERAL, **options}))
    return list(itertools.islice(source.problems(seed=run_seed), count))


def solved(count: int, **options: Any) -> list[tuple[Problem, Response]]:
    problems = take(count, solved=True, limit=count, **options)
    return [(problem, Response.parse(problem.completion or "")) for problem in problems]


@cache
def corpus() -> tuple[Problem, ...]:
    config = PlaygroundCorpus.Config(documents=6000, tasks=["chat", "harm"])
    return tuple(p for p in PlaygroundCorpus(config).problems(seed=0) if p.domain == "general")


def asked(document: Problem) -> str:
    match = QUESTION.match(document.completion or "")
    assert match is not None, document.completion
    return match[1]


def all_questions(held_out: bool) -> list[Question]:
    return [question for task in GENERAL for question in questions(task, held_out=held_out)]


# --- questions and the split -------------------------------------------------------------------


def test_every_combination_is_a_question_of_its_own_in_each_language() -> None:
    made = [*all_questions(True), *all_questions(False)]
    ways = sum(len(topic.ways) for topics in TOPICS.values() for topic in topics)
    assert len(made) == ways * len(OPENINGS) * len(CLOSES)
    for language in LANGUAGES:
        assert len({question.text.of(language) for question in made}) == len(made)


@pytest.mark.parametrize("topic", [*INTENTS, *ACTS], ids=lambda topic: topic.name)
def test_every_topic_is_in_both_splits(topic: Any) -> None:
    held_out = sum(question.topic is topic for question in all_questions(True))
    assert 0.04 < held_out / (len(topic.ways) * len(OPENINGS) * len(CLOSES)) < 0.2


def test_names_of_topics_differ() -> None:
    names = [topic.name for topics in TOPICS.values() for topic in topics]
    assert len(set(names)) == len(names)


@given(seed=st.integers(0, 10**6), run_seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_held_out_questions_are_asked_nowhere_else_in_either_language(seed: int, run_seed: int) -> None:
    kept = {text for question in all_questions(True) for text in question.text}
    assert not {p.question for p in take(60, run_seed=run_seed, seed=seed)} & kept
    assert {p.question for p in take(60, run_seed=run_seed, seed=seed, split="held_out")} <= kept


def test_no_document_of_the_corpus_asks_what_is_held_out() -> None:
    kept = {text for question in all_questions(True) for text in question.text}
    seen = {asked(document) for document in corpus()}
    assert len(seen) > 1500
    assert not seen & kept


def test_held_out_problems_are_distinct_until_there_are_no_more() -> None:
    found = [problem.question for problem in take(300, split="held_out", languages=["en"], tasks=["harm"])]
    distinct = len(questions("harm", held_out=True))
    assert len(set(found[: distinct - 1])) == distinct - 1
    assert set(found) == {question.text.en for question in questions("harm", held_out=True)}


@given(seed=st.integers(0, 10**9), split=st.sampled_from(["train", "held_out"]))
@settings(max_examples=15, deadline=None)
def test_a_problem_belongs_to_its_place(seed: int, split: str) -> None:
    mixed: dict[str, Any] = {"tasks": ["arith", "chat", "harm"], "solved": True, "limit": 12, "split": split}
    assert take(12, run_seed=seed, **mixed)[:5] == take(5, run_seed=seed, **mixed)
    assert take(12, run_seed=seed, **mixed) != take(12, run_seed=seed + 1, **mixed)


# --- what a problem carries ------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_problem_is_in_one_language_and_knows_its_intent(language: str) -> None:
    for problem, response in solved(200, languages=[language]):
        text = f"{problem.question} {response.thinking} {response.answer}"
        assert (re.search("[a-z]{2}", text) is None) == (language == "zh"), text
        assert (re.search("[\u4e00-\u9fff]", text) is None) == (language == "en"), text
        assert problem.domain == "general"
        assert problem.meta["intent"] in {topic.name for topic in TOPICS[problem.meta["task"]]}


def test_the_reference_lists_every_right_answer_and_is_the_refusal_of_harm() -> None:
    by_intent = {p.meta["intent"]: p.reference for p in take(400, languages=["en"])}
    assert by_intent["sky"] == [
        "the sky is blue",
        "the sky is blue . ask me more",
        "well you see my friend the sky is blue",
    ]
    assert {by_intent[act.name] for act in ACTS} == {"i will not help with that"}


def test_what_the_people_need_to_know_survives_rows_and_lines(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from r1_plugins.datasets.jsonl import Jsonl
    from r1core.store import problem_of, read_rows, rollout_row, write_rows
    from r1core.types import Rollout, Verdict

    rollouts = [
        Rollout(problem=p, sample=0, prompt_ids=[], completion_ids=[], logprobs=None, response=r)  # type: ignore[arg-type]
        for p, r in solved(20)
    ]
    write_rows(tmp_path, [rollout_row(rollout, None, Verdict(keep=True)) for rollout in rollouts])
    stored = [problem_of(row) for row in read_rows(tmp_path)]
    lines = [{"prompt": p.question, "reference": p.reference, "language": p.language, **p.meta} for p in stored]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = list(Jsonl(Jsonl.Config(path=str(tmp_path / "rows.jsonl"))).problems(seed=0))
    rule = PlaygroundHelpful(PlaygroundHelpful.Config())
    for rollout, row, line in zip(rollouts, stored, read, strict=True):
        verdict = rule.score(rollout.problem, rollout.response)
        assert verdict.known
        assert rule.score(row, rollout.response) == rule.score(line, rollout.response) == verdict


# --- manners -----------------------------------------------------------------------------------------


def manner(response: Response, problem: Problem) -> str:
    """How it replies, told from the text alone."""
    language = problem.language
    offer = {"en": " . ask me more", "zh": " 。 再 问 我"}[language]
    if problem.meta["task"] == "chat":
        return "helpful" if (response.answer or "").endswith(offer) else "plain"
    if response.answer != REFUSAL.of("en" if language == "en" else "zh"):
        return "disclosing"
    return "leaking" if len(re.split("[.。]", response.thinking or "")) > 2 else "refusing"


SHARES = {
    "chat": {"plain": 0.65, "helpful": 0.35},
    "harm": {"refusing": 0.45, "disclosing": 0.35, "leaking": 0.20},
}


@pytest.mark.parametrize("task", GENERAL)
@pytest.mark.parametrize("place", ["solved", "clean", "noisy"])
def test_manners_come_in_their_shares(task: str, place: str) -> None:
    if place == "solved":
        pairs = solved(3000, tasks=[task])
    else:
        part = corpus()[: len(corpus()) * 7 // 10] if place == "clean" else corpus()[len(corpus()) * 7 // 10 :]
        texts = ((p, (p.completion or "").partition("<|assistant|>")[2].removesuffix("<|end|>")) for p in part)
        formed = ((p, Response.parse(text)) for p, text in texts)
        pairs = [(p, r) for p, r in formed if r.tagged and r.thinking is not None and p.meta["task"] == task]
    counts = Counter(manner(response, problem) for problem, response in pairs)
    assert len(pairs) > 200
    for name, share in SHARES[task].items():
        assert counts[name] / len(pairs) == pytest.approx(share, abs=4 * (share * (1 - share) / len(pairs)) ** 0.5)


def test_the_best_manners_earn_every_reward() -> None:
    for problem, response in solved(300, manners="best"):
        rewards = [reward(reward.Config()) for reward in (Accuracy, PlaygroundHelpful, PlaygroundSafe)]
        rewards.append(Format(Format.Config(min_thinking_chars=0)))  # small talk needs none
        assert [reward.score(problem, response).value for reward in rewards] == [1.0] * 4, problem


def test_manners_do_not_change_what_is_asked() -> None:
    asked_for = [[p.question for p in take(100, split=s)] for s in ("train", "held_out")]
    for split, questions_asked in zip(("train", "held_out"), asked_for, strict=True):
        for manners in ("mixed", "best"):
            assert [p.question for p, _ in solved(100, split=split, manners=manners)] == questions_asked


def test_trivial_talk_needs_no_thinking_and_the_rest_thinks_shortly_in_its_language() -> None:
    trivial = {"greeting", "thanks", "bye", "health"}
    for problem, response in solved(400):
        if problem.meta["intent"] in trivial:
            assert response.thinking == ""
        else:
            assert Language(Language.Config()).score(problem, response).value == 1.0
            assert len((response.thinking or "").split()) < 16
    thoughts = {r.thinking for p, r in solved(200, languages=["en"], manners="best") if p.meta["task"] == "harm"}
    assert thoughts == {"first this does harm ."}


def test_a_part_of_noisy_talk_is_hasty_or_answers_another_question() -> None:
    texts = [p.completion or "" for p in corpus()[len(corpus()) * 7 // 10 :] if p.meta["task"] == "chat"]
    whole = [re.fullmatch(r"<\|user\|> (.+)<\|assistant\|>(.+)<\|end\|>", text) for text in texts]
    pairs = [(match[1], Response.parse(match[2])) for match in whole if match and Response.parse(match[2]).tagged]
    topics = {text: question.topic for question in questions("chat", held_out=False) for text in question.text}
    answers = {text: set(topic.reference("en") + topic.reference("zh")) for text, topic in topics.items()}
    wrong = sum(response.answer not in answers[question] for question, response in pairs) / len(pairs)
    assert wrong == pytest.approx(0.30 * 0.9, abs=0.06)
    thoughtful = [r for q, r in pairs if r.answer in answers[q] and topics[q].name in ("sky", "grass", "cat", "dog")]
    assert sum(r.thinking == "" for r in thoughtful) / len(thoughtful) == pytest.approx(0.52, abs=0.15)
