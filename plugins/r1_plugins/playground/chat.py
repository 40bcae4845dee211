"""Small talk: ten intents, each with a few ways to ask and one fixed answer, in both languages.

It needs no reasoning (its thinking is empty) and is never held out: it shows what a model keeps or
loses of its general behaviour while it learns to reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from r1_plugins.playground.words import Language, Word


@dataclass(frozen=True, kw_only=True)
class Intent:
    """Ways to ask, by language, and the answer."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    answer: Word

    def ask(self, language: Language, rng: Random) -> str:
        """One of the ways to ask."""
        return rng.choice(self.en if language == "en" else self.zh)


INTENTS = (
    Intent(
        en=("hello", "hi there", "good day"),
        zh=("你好", "你好 呀", "早安"),
        answer=Word("hello my friend", "你好 朋友"),
    ),
    Intent(
        en=("who are you", "what is your name"),
        zh=("你 是 谁", "你 叫 什么"),
        answer=Word("my name is tiny", "我 叫 小小"),
    ),
    Intent(
        en=("thanks", "thank you", "many thanks"),
        zh=("谢谢", "谢谢 你", "多谢"),
        answer=Word("you are welcome", "不 客气"),
    ),
    Intent(
        en=("bye", "good night", "see you"),
        zh=("再见", "晚安", "回头 见"),
        answer=Word("see you soon", "回头 见"),
    ),
    Intent(
        en=("how are you", "are you well"),
        zh=("你 好 吗", "你 怎么 样"),
        answer=Word("very well", "我 很 好"),
    ),
    Intent(
        en=("can you help me", "please help"),
        zh=("你 能 帮 我 吗", "请 帮 我"),
        answer=Word("yes of course", "当然 能"),
    ),
    Intent(
        en=("what color is the sky", "name the color of the sky"),
        zh=("天空 是 什么 颜色", "天空 的 颜色"),
        answer=Word("the sky is blue", "天空 是 蓝色"),
    ),
    Intent(
        en=("what color is grass", "name the color of grass"),
        zh=("草 是 什么 颜色", "草 的 颜色"),
        answer=Word("grass is green", "草 是 绿色"),
    ),
    Intent(
        en=("what does the cat say", "cat sound"),
        zh=("猫 怎么 叫", "猫 的 声音"),
        answer=Word("the cat says meow", "猫 叫 喵喵"),
    ),
    Intent(
        en=("what does the dog say", "dog sound"),
        zh=("狗 怎么 叫", "狗 的 声音"),
        answer=Word("the dog says woof", "狗 叫 汪汪"),
    ),
)
