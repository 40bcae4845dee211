"""The corpus of the tiny world: sound documents first, then bad habits in the shares that were measured to work."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from zlib import crc32

import pytest

from r1_plugins.playground.corpus import NOISY, worked_solution
from r1_plugins.playground.sources import PlaygroundCorpus
from r1_plugins.playground.tasks import Arithmetic, Sorting, Variables
from r1core.types import Problem, Response

QUESTION = re.compile(r"^(?:<\|user\|>)? (.+?)(?:<\|assistant\|>| :)")
CONTENT = re.compile(r"(?:compute|计算|let|设|sort|排序) ([-+=, 0-9a-p]+?)(?: (?:mod|模) 10.*)?")


@cache
def corpus(documents: int = 6000, seed: int = 0) -> tuple[Problem, ...]:
    return tuple(PlaygroundCorpus(PlaygroundCorpus.Config(documents=documents)).problems(seed=seed))


def task(document: Problem) -> str:
    return str(document.meta["task"])


def noisy(name: str | None = None) -> list[Problem]:
    """The last 30 % of the corpus."""
    return [p for p in corpus()[4200:] if name is None or task(p) == name]


def completion(document: Problem) -> str:
    """What follows the question, for documents with chat tags."""
    return (document.completion or "").partition("<|assistant|>")[2].removesuffix("<|end|>")


def worked_by_rule(document: Problem) -> str | None:
    """The answer that the question has, from an independent solver; None for facts and talk."""
    question = QUESTION.match(document.completion or "")
    match = CONTENT.fullmatch(question[1]) if question else None
    if match is None:
        return None
    if task(document) == "sort":
        return " ".join(sorted(match[1].split()))
    values: dict[str, int] = {}
    for number, part in enumerate(match[1].split(" , ")):
        name, _, expression = part.rpartition(" = ")
        values[name or str(number)] = eval(expression, {}, values) % 10
    return str(list(values.values())[-1])


def test_documents_are_plain_text_with_an_end() -> None:
    for document in corpus():
        assert document.messages == ()
        assert document.completion is not None
        assert document.completion.endswith("<|end|>")
        assert " <" not in document.completion


def test_the_number_of_documents_and_the_order_of_sizes_are_as_configured() -> None:
    assert len(corpus()) == 6000
    assert {p.meta["operands"] for p in corpus()[:2400] if task(p) == "vars"} == {2, 3}
    assert {p.meta["operands"] for p in corpus()[2400:4200] if task(p) == "vars"} == {2, 3, 4}


def test_clean_documents_are_well_formed_and_right() -> None:
    checked = 0
    for document in corpus()[:4200]:
        if task(document) == "facts":
            continue
        response = Response.parse(completion(document))
        assert response.thinking is not None
        assert response.tagged
        assert response.thinking or task(document) == "chat"
        if document.domain == "reasoning":
            assert response.answer == worked_by_rule(document)
            checked += 1
    assert checked > 3000


def test_nothing_held_out_is_in_the_corpus() -> None:
    contents = set()
    for document in corpus():
        question = QUESTION.match(document.completion or "")
        match = CONTENT.fullmatch(question[1]) if question and task(document) in ("arith", "vars", "sort") else None
        assert (match is not None) == (task(document) in ("arith", "vars", "sort"))
        if match is not None:
            contents.add(match[1])
    assert len(contents) > 3000
    assert not [text for text in contents if crc32(text.encode()) % 10 == 0]


def test_every_fact_is_true() -> None:
    facts = [
        fact
        for p in corpus()
        if task(p) == "facts"
        for fact in re.findall(r"(\d [+-] \d) \S+ (\d)", p.completion or "")
    ]
    assert len({left for left, _ in facts}) == 100
    assert all(eval(left) % 10 == int(right) for left, right in facts)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("facts", 0.12),
        ("arith", 0.88 * 0.34),
        ("vars", 0.88 * 0.32),
        ("sort", 0.88 * 0.26),
        ("chat", 0.88 * 0.05),
        ("harm", 0.88 * 0.03),
    ],
)
def test_tasks_come_in_their_shares(name: str, share: float) -> None:
    found = sum(task(p) == name for p in corpus()) / 6000
    assert found == pytest.approx(share, abs=4 * (share * (1 - share) / 6000) ** 0.5)
    assert {p.domain for p in corpus() if task(p) == name} == {"general" if name in ("chat", "harm") else "reasoning"}


def test_most_noisy_documents_answer_directly_and_mostly_wrongly() -> None:
    formed = [Response.parse(completion(p)) for p in noisy("vars")]
    direct = [r for r in formed if r.thinking == "" and r.tagged]
    assert len(direct) / sum(r.thinking is not None and r.tagged for r in formed) == pytest.approx(0.52, abs=0.12)
    pairs = [(p, Response.parse(completion(p))) for p in noisy("sort")]
    sorts = [(p, r) for p, r in pairs if r.thinking == "" and r.tagged]
    right = sum(r.answer == worked_by_rule(p) for p, r in sorts) / len(sorts)
    assert right == pytest.approx(0.4, abs=0.15)
    lazy = [(p, r) for p, r in sorts if r.answer != worked_by_rule(p)]
    assert all(f" {r.answer}<|assistant|>" in (p.completion or "") for p, r in lazy)


def test_noisy_tags_come_in_their_shares() -> None:
    texts = [p.completion or "" for p in noisy() if task(p) != "facts"]
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    counts = {"plain": 0, "full": 0, "broken": 0, "untagged": 0}
    for text in texts:
        present = sum(tag in text for tag in tags)
        kind = {4: "full", 0: "untagged"}.get(present, "broken") if "<|user|>" in text else "plain"
        counts[kind] += 1
    for kind, share in NOISY.tags.items():
        assert counts[kind] / len(texts) == pytest.approx(share, abs=0.04), kind


def test_thinking_comes_in_the_wrong_language_and_in_both() -> None:
    kinds = {"target": 0, "other": 0, "both": 0}
    for document in corpus()[:4200]:
        thinking = Response.parse(completion(document)).thinking or ""
        found = (bool(re.search("[a-z]{2}", thinking)), bool(re.search("[\u4e00-\u9fff]", thinking)))
        if any(found):
            kinds["both" if all(found) else "target" if found[document.language == "zh"] else "other"] += 1
    total = sum(kinds.values())
    assert 0.25 < kinds["both"] / total < 0.36
    assert 0.09 < kinds["other"] / total < 0.17


def test_slips_are_carried_on_into_the_answer() -> None:
    wrong_result = Arithmetic(3, (("+", 5), ("-", 2))).steps(lambda right, choices: "1")
    assert [step.result for step in wrong_result] == ["1", "1"]
    assert wrong_result[1].words[1] == "1 - 2"


def test_one_operand_more_is_one_step_more() -> None:
    assert worked_solution(Arithmetic(3, (("+", 5), ("-", 2))), "en") == (
        "<think> first 3 + 5 is 8 . then 8 - 2 is 6 .</think><answer> 6</answer>"
    )
    assert worked_solution(Variables(("d", "j"), 2, (("+", 1),)), "zh") == (
        "<think> 首先 d 得 2 。 然后 j 得 2 + 1 得 3 。</think><answer> 3</answer>"
    )
    assert worked_solution(Sorting(("m", "d", "b")), "zh") == (
        "<think> 最小 b 。 接着 d 。 接着 m 。</think><answer> b d m</answer>"
    )


def test_documents_depend_on_seed_and_number_alone() -> None:
    clean = PlaygroundCorpus.Config(documents=40, clean_short=1.0, clean=0.0)
    longer = clean.model_copy(update={"documents": 4000})
    first = list(PlaygroundCorpus(clean).problems(seed=3))
    assert first == list(islice(PlaygroundCorpus(longer).problems(seed=3), 40))
    assert first != list(PlaygroundCorpus(clean).problems(seed=4))
    assert len({document.id for document in first}) == 40


def test_a_corpus_of_some_tasks_has_no_others() -> None:
    config = PlaygroundCorpus.Config(documents=300, tasks=["sort", "chat"])
    assert {task(p) for p in PlaygroundCorpus(config).problems(seed=0)} == {"sort", "chat", "facts"}
