"""The two sources of the tiny world: problems to train and measure on, documents to make a base model from.

Item i depends on (run's seed, stream, i) alone: any prefix of a stream is the same however far one reads.
One exception: the first thousand held-out problems are distinct, so there an item also depends on
the ones before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal, Self
from zlib import crc32

from pydantic import Field, model_validator

from r1_plugins.playground.corpus import CLEAN, NOISY, make_document, worked_reply, worked_solution
from r1_plugins.playground.questions import draw_question
from r1_plugins.playground.tasks import draw_task
from r1_plugins.playground.tokenizer import save_tokenizer, vocabulary_size
from r1_plugins.playground.words import LETTERS, Language, only, write
from r1_plugins.playground.world import GENERAL, TaskName, choose, domain_of
from r1core.components import ProblemSource
from r1core.types import Problem

DISTINCT = 1000
"""How many held-out problems differ from each other."""
TRIES = 200
"""Draws after which a repeat is accepted: a small space (two-operand arithmetic, talk) runs out."""


class _Sizes(ProblemSource.Config):
    """What both sources choose from."""

    operands: tuple[int, int] = Field(
        (2, 4), description="fewest and most operands of a problem; a sorting problem has one letter more"
    )
    seed: int = Field(0, ge=0, description="number of the stream; the run's own seed counts too")

    @model_validator(mode="after")
    def _range(self) -> Self:
        low, high = self.operands
        if not 2 <= low <= high < len(LETTERS):
            raise ValueError(f"operands must satisfy 2 <= fewest <= most < {len(LETTERS)}, got [{low}, {high}]")
        return self


class Playground(ProblemSource):
    """Problems of the tiny world, in English and Chinese: arithmetic modulo 10, variables and sorting (the domain
    `reasoning`), small talk and questions that nobody should answer (`general`)."""

    name = "playground"

    class Config(_Sizes):
        tasks: list[TaskName] = Field(["arith", "vars", "sort"], min_length=1, description="drawn from uniformly")
        languages: list[Language] = Field(["en", "zh"], min_length=1, description="drawn from uniformly")
        split: Literal["train", "held_out"] = Field(
            "train", description="held_out problems never occur in training, in either language"
        )
        opener: bool = Field(
            False, description="start each answer with the first word of a worked solution, to probe the base's steps"
        )
        solved: bool = Field(
            False,
            description="give each problem a well-formed completion to learn from: a worked solution, a reply",
        )
        manners: Literal["mixed", "best"] = Field(
            "mixed", description="of solved chat and harm: good and bad as in the corpus, or as people prefer"
        )
        limit: int | None = Field(None, ge=1, description="number of problems; endless when absent")

        @model_validator(mode="after")
        def _opener_needs_steps(self) -> Self:
            general = [task for task in self.tasks if task in GENERAL]
            if self.opener and general:
                named = " and ".join(general)
                raise ValueError(f"opener needs worked solutions, which {named} lack: leave {named} out of tasks")
            return self

        @model_validator(mode="after")
        def _data_ends(self) -> Self:
            if self.solved and self.limit is None:
                raise ValueError("solved problems are data, and data must end: give a limit")
            return self

    config: Config

    @property
    def fields(self) -> dict[str, frozenset[str]]:
        """What tells the problems apart."""
        tasks = frozenset(self.config.tasks)
        fixed = {
            "domain": frozenset(map(domain_of, tasks)),
            "language": frozenset(self.config.languages),
            "task": tasks,
        }
        return {**fixed, "operands": frozenset(), "intent": frozenset()}

    @property
    def endless(self) -> bool:
        """Unless limited."""
        return self.config.limit is None

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The problems, endless unless limited."""
        place = f"playground/{self.config.split}/{seed}/{self.config.seed}"
        seen: set[str] = set()
        for index in itertools.count() if self.config.limit is None else range(self.config.limit):
            yield self._problem(f"{place}/{index}", seen if index < DISTINCT else None)

    def _problem(self, place: str, seen: set[str] | None) -> Problem:
        """The problem that belongs at `place`; one whose question is not in `seen`, if held out."""
        rng = Random(place)
        task = rng.choice(self.config.tasks)
        problem = self._draw(task, rng)
        if self.config.split == "held_out" and seen is not None:
            for _ in range(TRIES):
                if problem.question not in seen:
                    break
                problem = self._draw(task, rng)
            seen.add(problem.question)
        return replace(problem, id=f"{place}/{crc32(problem.question.encode()):08x}")

    def _draw(self, task: TaskName, rng: Random) -> Problem:
        """A random problem of `task` that belongs to the split, without its id."""
        language = rng.choice(self.config.languages)
        return self._general(task, language, rng) if task in GENERAL else self._reasoning(task, language, rng)

    def _general(self, task: TaskName, language: Language, rng: Random) -> Problem:
        question = draw_question(task, rng, held_out=self.config.split == "held_out")
        topic = question.topic
        mixed = choose(topic.manners, rng)  # drawn in any case, so that manners do not change what is asked
        reply = topic.reply(topic.best if self.config.manners == "best" else mixed)
        return Problem(
            id="",
            messages=({"role": "user", "content": question.text.of(language)},),
            reference=topic.reference(language),
            domain=domain_of(task),
            language=language,
            meta={"task": task, "intent": topic.name, "operands": 0},
            completion=worked_reply(reply, language) if self.config.solved else None,
        )

    def _reasoning(self, name: TaskName, language: Language, rng: Random) -> Problem:
        task = draw_task(name, self.config.operands, rng, held_out=self.config.split == "held_out")
        question = {"role": "user", "content": write(task.question(), only(language))}
        start = {"role": "assistant", "content": f"<think> {task.opener.of(language)}"}
        return Problem(
            id="",
            messages=(question, start) if self.config.opener else (question,),
            reference=task.answer,
            domain=domain_of(name),
            language=language,
            meta={"task": name, "operands": task.operands},
            completion=worked_solution(task, language) if self.config.solved else None,
        )


class PlaygroundCorpus(ProblemSource):
    """Documents to train a base model on: clean and short first, then clean, then noisy. Nothing held out is in it."""

    name = "playground_corpus"

    class Config(_Sizes):
        documents: int = Field(60000, ge=1, description="number of documents")
        clean_short: float = Field(0.4, ge=0, le=1, description="share of clean documents with one operand less")
        clean: float = Field(0.3, ge=0, le=1, description="share of clean documents of every size, after those")
        tasks: list[TaskName] = Field(
            ["arith", "vars", "sort", "chat", "harm"], min_length=1, description="what the documents are about"
        )

        @model_validator(mode="after")
        def _shares(self) -> Self:
            if self.clean_short + self.clean > 1:
                raise ValueError(f"clean_short + clean must be at most 1, got {self.clean_short + self.clean:g}")
            return self

    config: Config

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The documents, each a problem without messages whose completion is the text with its special tokens."""
        low, high = self.config.operands
        short = round(self.config.documents * self.config.clean_short)
        clean = short + round(self.config.documents * self.config.clean)
        for index in range(self.config.documents):
            place = f"playground_corpus/{seed}/{self.config.seed}/{index}"
            operands = (low, max(low, high - 1)) if index < short else (low, high)
            habits = CLEAN if index < clean else NOISY
            document = make_document(tuple(self.config.tasks), operands, habits, Random(place))
            yield Problem(
                id=f"{place}/{crc32(document.text.encode()):08x}",
                domain=domain_of(document.task),
                language=document.language,
                meta={"task": document.task, "operands": document.operands},
                completion=document.text,
            )

    @property
    def vocabulary(self) -> int:
        """The bytes, the words, and the tokens of the chat template."""
        return vocabulary_size()

    def write_tokenizer(self, folder: Path) -> None:
        """The tokenizer of the tiny world; the same for every config, so a teacher and its student share it."""
        save_tokenizer(folder)
