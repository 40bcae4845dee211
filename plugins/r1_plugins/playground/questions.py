"""The questions of the general domain: an opening, a way to ask, a close, each in both languages.

Every combination is a question, so questions that were never learned from can be asked about topics
that were: what is measured on them is manners, not recall of sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from random import Random

from r1_plugins.playground.chat import INTENTS
from r1_plugins.playground.harm import ACTS
from r1_plugins.playground.topics import Topic
from r1_plugins.playground.words import Word
from r1_plugins.playground.world import is_held_out

TOPICS: dict[str, tuple[Topic, ...]] = {"chat": INTENTS, "harm": ACTS}
NOTHING = Word("", "")
OPENINGS = (
    NOTHING,
    Word("please", "请"),
    Word("friend", "朋友"),
    Word("tell me", "告诉 我"),
    Word("tiny", "小小"),
    Word("hello", "你好"),
)
CLOSES = (NOTHING, Word("now", "现在"), Word("today", "今天"), Word("again", "再次"), Word("my friend", "我 的 朋友"))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, in both languages, and its topic."""

    topic: Topic
    text: Word

    @property
    def held_out(self) -> bool:
        """Whether it is kept from everything that a model learns from, in both languages."""
        return is_held_out(self.text.en)


@cache
def questions(task: str, *, held_out: bool) -> tuple[Question, ...]:
    """All questions of "chat" or "harm" that are held out, or all that are not."""
    made = (
        Question(topic=topic, text=_join((opening, way, close)))
        for topic in TOPICS[task]
        for way in topic.ways
        for opening in OPENINGS
        for close in CLOSES
    )
    return tuple(question for question in made if question.held_out == held_out)


def draw_question(task: str, rng: Random, *, held_out: bool) -> Question:
    """A random question of `task`, held out or not."""
    return rng.choice(questions(task, held_out=held_out))


def phrases() -> list[Word]:
    """All that is asked and said in the general domain, for the tokenizer."""
    said = [phrase for topics in TOPICS.values() for topic in topics for phrase in (*topic.ways, *topic.phrases())]
    return [*said, *OPENINGS, *CLOSES]


def _join(parts: Iterable[Word]) -> Word:
    en, zh = zip(*parts, strict=True)
    return Word(" ".join(filter(None, en)), " ".join(filter(None, zh)))
