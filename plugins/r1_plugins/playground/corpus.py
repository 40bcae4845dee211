"""The documents that a base model is made from: sound first, then bad habits.

A clean document solves its problem step by step between well-formed tags. A noisy one is mostly a
lazy direct answer with empty thinking; what it works out may contain slips, skipped steps, bare
symbols, the wrong language or a switch of language from word to word, and half of the tags are
broken or missing. Clean documents come first: the circuits form on them, the habits come last. Talk shows
good and bad manners in both parts.

One document in eight is a table of single arithmetic facts. The hundred facts are therefore not held
out; the problems built from them are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from r1_plugins.playground.questions import TOPICS, draw_question
from r1_plugins.playground.tasks import Arithmetic, Slip, Step, Task, draw_task, no_slip
from r1_plugins.playground.topics import Reply
from r1_plugins.playground.words import LANGUAGES, Language, Pick, only, other, write
from r1_plugins.playground.world import TaskName, choose, domain_of

TASK_SHARES: Mapping[TaskName, float] = {"arith": 0.34, "vars": 0.32, "sort": 0.26, "chat": 0.05, "harm": 0.03}
FACT_SHARE = 0.12
FACTS_PER_DOCUMENT = 5
SLIP_RATE = 0.35


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How documents of one part of the corpus are written; shares that sum to one, and rates."""

    styles: Mapping[str, float]
    languages: Mapping[str, float]
    tags: Mapping[str, float]
    slipping: float = 0.0
    """Share of documents whose steps slip, each with `SLIP_RATE`."""
    chat_wrong: float = 0.0
    """Share of small talk that answers another question."""
    direct_right: float = 0.4
    """Share of direct answers that are right."""


CLEAN = Habits(
    styles={"full": 0.85, "symbols": 0.15},
    languages={"target": 0.55, "other": 0.10, "switched": 0.35},
    tags={"full": 1.0},
)
NOISY = Habits(
    styles={"direct": 0.52, "full": 0.22, "skipped": 0.14, "symbols": 0.12},
    languages={"target": 0.45, "other": 0.15, "switched": 0.40},
    tags={"full": 0.50, "broken": 0.18, "untagged": 0.16, "plain": 0.16},
    slipping=0.45,
    chat_wrong=0.30,
)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text of the corpus, special tokens included, and what it is about."""

    text: str
    task: str
    language: Language
    operands: int


def make_document(tasks: tuple[TaskName, ...], operands: tuple[int, int], habits: Habits, rng: Random) -> Document:
    """A random document about one of `tasks`, or a table of facts."""
    language = rng.choice(LANGUAGES)
    pick = _pick(choose(habits.languages, rng), language, rng)
    if rng.random() < FACT_SHARE:
        return Document(text=f" {_facts(pick, rng)}<|end|>", task="facts", language=language, operands=2)
    name = choose({name: TASK_SHARES[name] for name in tasks}, rng)
    tags = choose(habits.tags, rng)
    if domain_of(name) == "general":
        text = _arrange(tags, *_talk(name, language, habits, rng), rng)
        return Document(text=text, task=name, language=language, operands=0)
    task = draw_task(name, operands, rng, held_out=False)
    thinking, answer = _solve(task, habits, pick, rng)
    text = _arrange(tags, write(task.question(), only(language)), thinking, answer, rng)
    return Document(text=text, task=name, language=language, operands=task.operands)


def worked_solution(task: Task, language: Language) -> str:
    """A clean completion: every step, in one language, between well-formed tags."""
    steps = task.steps(no_slip)
    return tagged(write([piece for step in steps for piece in step.words], only(language)), task.conclude(steps))


def worked_reply(reply: Reply, language: Language) -> str:
    """A clean completion in the reply's manner."""
    return tagged(write(reply.thinking, only(language)), write(reply.answer, only(language)))


def tagged(thinking: str, answer: str) -> str:
    """`<think> ...</think><answer> ...</answer>`; there is no space before a tag, which would be a stray token."""
    return f"<think>{_spaced(thinking)}</think><answer>{_spaced(answer)}</answer>"


def _spaced(text: str) -> str:
    return f" {text}" if text else ""


def _pick(mode: str, language: Language, rng: Random) -> Pick:
    if mode == "switched":
        return lambda: rng.choice(LANGUAGES)
    return only(language if mode == "target" else other(language))


def _facts(pick: Pick, rng: Random) -> str:
    steps = [Arithmetic.draw(2, rng).steps(no_slip)[0] for _ in range(FACTS_PER_DOCUMENT)]
    return write([piece for step in steps for piece in step.words[1:]], pick)


def _talk(task: str, language: Language, habits: Habits, rng: Random) -> tuple[str, str, str]:
    """(question, thinking, answer); a hasty reply leaves out its thinking, but for what leaks in it."""
    question = draw_question(task, rng, held_out=False)
    mistaken = task == "chat" and rng.random() < habits.chat_wrong
    topic = rng.choice(TOPICS[task]) if mistaken else question.topic
    manner = choose(topic.manners, rng)
    reply = topic.reply(manner)
    hasty = choose(habits.styles, rng) == "direct" and manner != "leaking"
    thinking = "" if hasty else write(reply.thinking, only(language))
    return question.text.of(language), thinking, write(reply.answer, only(language))


def _solve(task: Task, habits: Habits, pick: Pick, rng: Random) -> tuple[str, str]:
    """(thinking, answer) in a style of `habits`."""
    style = choose(habits.styles, rng)
    if style == "direct":
        return "", task.answer if rng.random() < habits.direct_right else task.lazy_answer(rng)
    steps = task.steps(_slipping(rng) if rng.random() < habits.slipping else no_slip)
    shown = _skip(steps, rng) if style == "skipped" else steps
    pieces = [piece for step in shown for piece in (step.symbols if style == "symbols" else step.words)]
    return write(pieces, pick), task.conclude(steps)


def _slipping(rng: Random) -> Slip:
    return lambda right, choices: rng.choice(choices) if rng.random() < SLIP_RATE else right


def _skip(steps: list[Step], rng: Random) -> list[Step]:
    """Some of the steps, in order, at least one."""
    kept = set(rng.sample(range(len(steps)), rng.randint(1, max(1, len(steps) - 1))))
    return [step for number, step in enumerate(steps) if number in kept]


def _arrange(tags: str, question: str, thinking: str, answer: str, rng: Random) -> str:
    """The whole document with the tags that a style of `Habits.tags` leaves."""
    if tags == "plain":
        return f" {question} :{_spaced(thinking)} {answer}<|end|>"
    solution = f"{_spaced(thinking)} {answer}" if tags == "untagged" else tagged(thinking, answer)
    if tags == "broken":
        for tag in rng.sample(("<think>", "</think>", "<answer>", "</answer>"), rng.randint(1, 2)):
            solution = solution.replace(tag, "")
    return f"<|user|> {question}<|assistant|>{solution}<|end|>"
