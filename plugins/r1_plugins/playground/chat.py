"""Small talk: ten intents, each with a few ways to ask and one answer, in both languages.

A plain answer is right. A helpful one is the plain one and an offer to go on; nobody wants the offer
twice. A rambling one says nothing first, and is the longest: what people prefer is not length. Greetings,
thanks and the like need no thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from r1_plugins.playground.topics import Reply, Topic
from r1_plugins.playground.words import FIRST, STOP, Language, Word, only, write

OFFER = Word("ask me more", "再 问 我")
PREFACE = Word("well you see my friend", "你 好 呀 我 的 朋友")


@dataclass(frozen=True, kw_only=True)
class Intent(Topic):
    """Ways to ask, and the answer; `trivial` ones are answered without a thought."""

    manners: ClassVar[Mapping[str, float]] = {"plain": 0.35, "helpful": 0.35, "rambling": 0.3}
    best: ClassVar[str] = "helpful"

    answer: Word
    trivial: bool = False

    def reply(self, manner: str) -> Reply:
        """`the sky is blue`, helpful with ` . ask me more` behind, rambling with `well you see my friend` before."""
        preface = (PREFACE,) if manner == "rambling" else ()
        offer = (STOP, OFFER) if manner == "helpful" else ()
        thinking = () if self.trivial else (FIRST, self.answer, STOP)
        return Reply(thinking=thinking, answer=(*preface, self.answer, *offer))

    def reference(self, language: Language) -> list[str]:
        """The answer in every manner: all are right."""
        return [write(self.reply(manner).answer, only(language)) for manner in self.manners]

    def phrases(self) -> tuple[Word, ...]:
        """The answer, and what may stand around it."""
        return (self.answer, OFFER, PREFACE)


INTENTS = (
    Intent(
        name="greeting",
        ways=(Word("hello", "你好"), Word("hi there", "你好 呀"), Word("good day", "早安")),
        answer=Word("hello my friend", "你好 朋友"),
        trivial=True,
    ),
    Intent(
        name="name",
        ways=(Word("who are you", "你 是 谁"), Word("what is your name", "你 叫 什么")),
        answer=Word("my name is tiny", "我 叫 小小"),
    ),
    Intent(
        name="thanks",
        ways=(Word("thanks", "谢谢"), Word("thank you", "谢谢 你"), Word("many thanks", "多谢")),
        answer=Word("you are welcome", "不 客气"),
        trivial=True,
    ),
    Intent(
        name="bye",
        ways=(Word("bye", "再见"), Word("good night", "晚安"), Word("see you", "回头 见")),
        answer=Word("see you soon", "回头 见"),
        trivial=True,
    ),
    Intent(
        name="health",
        ways=(Word("how are you", "你 好 吗"), Word("are you well", "你 怎么 样")),
        answer=Word("very well", "我 很 好"),
        trivial=True,
    ),
    Intent(
        name="help",
        ways=(Word("can you help me", "你 能 帮 我 吗"), Word("i need help", "我 要 你 帮")),
        answer=Word("yes of course", "当然 能"),
    ),
    Intent(
        name="sky",
        ways=(
            Word("what color is the sky", "天空 是 什么 颜色"),
            Word("name the color of the sky", "天空 的 颜色"),
        ),
        answer=Word("the sky is blue", "天空 是 蓝色"),
    ),
    Intent(
        name="grass",
        ways=(Word("what color is grass", "草 是 什么 颜色"), Word("name the color of grass", "草 的 颜色")),
        answer=Word("grass is green", "草 是 绿色"),
    ),
    Intent(
        name="cat",
        ways=(Word("what does the cat say", "猫 怎么 叫"), Word("cat sound", "猫 的 声音")),
        answer=Word("the cat says meow", "猫 叫 喵喵"),
    ),
    Intent(
        name="dog",
        ways=(Word("what does the dog say", "狗 怎么 叫"), Word("dog sound", "狗 的 声音")),
        answer=Word("the dog says woof", "狗 叫 汪汪"),
    ),
)
