"""Problems made of another stage's rows, through a template: a model rewrites, judges or continues what was answered.

    problems:
      use: from_data
      data: cold_start_samples
      prompt: "Rewrite this thinking so that it reads well. Question: {question} Thinking: {thinking}"

The cold start of R1 was made so: readable answers of R1-Zero, rewritten by a model after human examples
(arXiv:2501.12948, v2 B.3.2). A template is text with names in braces, never code. What came of it is
learned as `data: {use: from_data, data: rewrites, prompt: "{original}", completion: text}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from pydantic import Field, field_validator

from r1core.choices import DataRef
from r1core.components import ProblemSource
from r1core.types import Problem

FIELDS = ("question", "original", "text", "thinking", "answer", "reference", "language")
"""What a template may name. `text` is the whole answer, from its opening think tag on; `original` is the question that
the first of several such sources, one upon the other, found."""
ORIGINAL = "from_question"
"""Where a problem's meta keeps it."""
BRACES = "a brace that is no field is written {{ or }}"


class FromData(ProblemSource):
    """Each row of a dataset as a problem, in the dataset's order; finite. What the row lacks (an answer without a
    closed think block has no `thinking` and no `answer`) leaves it out where the template or the completion needs it.

    A problem keeps the row's reference, domain, language and meta; its id is the row's with the sample's number, and
    `meta["from"]` the row's own.
    """

    name = "from_data"
    extra = "train"

    class Config(ProblemSource.Config):
        data: DataRef = Field(description="the stage whose rows are read")
        prompt: str = Field(
            "{question}",
            min_length=1,
            description="the question to ask; {name} stands for a field of the row: " + ", ".join(FIELDS),
        )
        only_kept: bool = Field(True, description="whether rows that filters rejected are left out")
        completion: Literal["text", "thinking", "answer"] | None = Field(
            None, description="field with the text to learn from; none is given when absent"
        )

        @field_validator("prompt")
        @classmethod
        def _known_fields(cls, prompt: str) -> str:
            _named(prompt)
            return prompt

    config: Config

    def problems(self, *, seed: int) -> Iterator[Problem]:
        """The rows as problems, whatever the seed."""
        from r1core.store.rows import read_rows  # parquet stays out of recipe checks

        for row in read_rows(Path(self.config.data)):
            if row["keep"] or not self.config.only_kept:
                problem = self._problem(row)
                if problem is not None:
                    yield problem

    def _problem(self, row: Mapping[str, Any]) -> Problem | None:
        fields = fields_of(row)
        needed = _named(self.config.prompt) | ({self.config.completion} if self.config.completion else set())
        if any(fields[name] is None for name in needed):
            return None
        completion = fields[self.config.completion] if self.config.completion is not None else None
        if self.config.completion == "text":
            completion = _own_text(row)
        return Problem(
            id=f"{row['id']}.{row['sample']}",
            messages=({"role": "user", "content": self.config.prompt.format_map(fields)},),
            reference=row["reference"],
            domain=row["domain"],
            language=row["language"],
            meta={**row["meta"], "from": row["id"], ORIGINAL: fields["original"]},
            completion=completion,
        )


def fields_of(row: Mapping[str, Any]) -> dict[str, str | None]:
    """The fields of a template; None for what the row lacks."""
    question = next((m["content"] for m in reversed(row["messages"]) if m["role"] == "user"), "")
    reference = row["reference"]
    if reference is not None and not isinstance(reference, str):
        reference = json.dumps(reference, ensure_ascii=False)
    return {
        "question": question,
        "original": row["meta"].get(ORIGINAL, question),
        "text": row["prefilled"] + row["text"],
        "thinking": row["thinking"],
        "answer": row["answer"],
        "reference": reference,
        "language": row["language"],
    }


def _own_text(row: Mapping[str, Any]) -> str:
    """What a model would write after a question alone: the chat template opens the think block again where it did so,
    but nothing gives the start of an answer that was given."""
    given = bool(row["messages"]) and row["messages"][-1]["role"] == "assistant"
    text: str = row["prefilled"] + row["text"] if given else row["text"]
    return text


def _named(prompt: str) -> frozenset[str]:
    """The fields that a template names. Raises ValueError for any other, and for all that is more than a name."""
    found: set[str] = set()
    try:
        parts = list(Formatter().parse(prompt))
    except ValueError as error:
        raise ValueError(f"{str(error).lower()}; {BRACES}") from error
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or spec or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(f"{{{written}}} is no field; fields: {', '.join(FIELDS)}; {BRACES}")
        found.add(name)
    return frozenset(found)
