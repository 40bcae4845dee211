"""Cases: what answers are worth, as data, so that whoever knows the domain can say it without programming.

    {"prompt": "ethanol", "gold": "CCO", "response": "<think>..</think><answer>OCC</answer>", "expect": 1, "why": "..."}

`gold` is the problem's reference, `response` literally what the model wrote, `expect` what the reward
has to say of it, `why` the reason in a sentence. Cases are asked as in training: through a scoring
worker with its deadline, one at a time, so that each has its own seconds.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from r1core.components import Reward
from r1core.errors import Diagnostic, RecipeError
from r1core.plugins import Loaded
from r1core.recipe.findings import findings
from r1core.recipe.loader import Document, shown
from r1core.recipe.nodes import Mark, node_of
from r1core.scoring import RewardSpec, ScoringService
from r1core.scoring.golds import refusals
from r1core.scoring.python import Interpreter
from r1core.types import Finish, Group, Problem, Response, Rollout, Score

TOLERANCE = 1e-6
"""How far a score may be from what a case expects."""


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value


Worth: TypeAlias = Annotated[FiniteFloat, BeforeValidator(_number)]
"""A number, or true and false for 1 and 0."""


class Row(BaseModel):
    """The base of a row's schema: unknown keys are errors, and nothing is converted in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CaseRow(Row):
    """One line of a cases file."""

    prompt: str = Field(description="what the user asks")
    gold: Any = Field(description="the problem's reference, any JSON; null where the reward compares with nothing")
    response: str = Field(description="what the model wrote; a final answer stands behind a closed think block")
    expect: Worth = Field(description="what the response is worth; true is 1, false 0")
    why: str = Field(min_length=1, description="the reason, a sentence")
    domain: str = Field("reasoning", min_length=1, description="the problem's domain")
    language: str = Field("en", min_length=1, description="the problem's language")
    meta: dict[str, Any] = Field(default_factory=dict, description="what else the reward reads of the problem")
    prefilled: str = Field("", description='what the prompt had already opened of the answer, such as "<think>"')
    finish: Finish = Field("stop", description="length: the answer was cut off")
    tokens: int | None = Field(None, ge=0, description="how many the model wrote, for a reward that counts them")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A problem, an answer to it, and what that is worth. `line` is its place in the file."""

    line: int
    problem: Problem
    response: Response
    expect: float
    why: str


class Asked(NamedTuple):
    """A score, and the seconds it took, a worker's restarts among them."""

    score: Score
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A case and what the reward said of it."""

    case: Case
    score: Score
    seconds: float
    refused: str = ""
    """Why the reward cannot judge answers to the problem at all (`Reward.refuses`): no run would begin with it."""

    @property
    def as_expected(self) -> bool:
        """Whether the score is the expected one; what infrastructure failed to score never is, nor one of a problem
        that is refused. An answer that broke the check is worth the reward's `lowest`."""
        return (
            not self.refused
            and self.score.known
            and math.isclose(self.score.value, self.case.expect, rel_tol=0, abs_tol=TOLERANCE)
        )


# --- the file ------------------------------------------------------------------------------------

RowT = TypeVar("RowT", bound=Row)


def read_cases(path: Path) -> list[Case]:
    """The cases of a JSONL file, in order. Raises one RecipeError with everything that is wrong with it."""
    return [_case(row, line, path) for line, row in read_rows(path, CaseRow)]


def read_rows(path: Path, schema: type[RowT]) -> list[tuple[int, RowT]]:
    """(line from 1, row) of a JSONL file whose rows have this schema; blank lines are skipped."""
    name = shown(path)
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError as error:
        raise RecipeError(f"cannot read {name!r}: {error.strerror}", where="cases", fix="give a JSONL file") from error
    rows: list[tuple[int, RowT]] = []
    wrong: list[Diagnostic] = []
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            rows.append((line, _row(text, schema, name, line)))
        except _WrongRowError as error:
            wrong += error.findings
    if wrong:
        raise RecipeError.of(wrong)
    if not rows:
        keys = ", ".join(f'"{key}": ...' for key, field in schema.model_fields.items() if field.is_required())
        raise RecipeError("there is no row in it", where=name, fix=f"write one object on each line: {{{keys}}}")
    return rows


class _WrongRowError(Exception):
    def __init__(self, found: Sequence[Diagnostic]) -> None:
        super().__init__(found)
        self.findings = found


def _row(text: bytes, schema: type[RowT], name: str, line: int) -> RowT:
    def wrong(message: str, hint: str = "") -> NoReturn:
        raise _WrongRowError([Diagnostic(message=message, file=name, line=line, column=1, hint=hint)])

    try:
        row = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        wrong(f"not UTF-8 at byte {error.start + 1} of the line", "save the file as UTF-8")
    except json.JSONDecodeError as error:
        wrong(f"not JSON: {error.msg} at column {error.colno}", "write one object on each line")
    except RecursionError:
        wrong("nested too deeply")
    except ValueError as error:
        wrong(str(error))
    if not isinstance(row, dict):
        wrong(f"expected an object, got {_shown(row)}", "write one object on each line")
    try:
        return schema.model_validate(row)
    except ValidationError as error:
        keys = Document(node_of(dict.fromkeys(row), Mark(name, line, 1)))
        raise _WrongRowError(findings(error, schema, keys)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two equal keys JSON would silently keep the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} is given twice")
        found[key] = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _case(row: CaseRow, line: int, path: Path) -> Case:
    problem = Problem(
        id=f"{path.name}:{line}",
        messages=({"role": "user", "content": row.prompt},),
        reference=row.gold,
        domain=row.domain,
        language=row.language,
        meta=row.meta,
    )
    response = Response.parse(row.response, finish=row.finish, prefilled=row.prefilled)
    return Case(
        line=line, problem=problem, response=replace(response, tokens=row.tokens), expect=row.expect, why=row.why
    )


# --- asking --------------------------------------------------------------------------------------

Ask: TypeAlias = Callable[[Problem, Response], Asked]


def judge_cases(
    reward: Loaded, options: Mapping[str, Any], cases: Sequence[Case], interpreter: Interpreter | None = None
) -> Iterator[Judged]:
    """What the reward says of each case, as it comes. Raises SetupError when it cannot be built or run here."""
    refused = refused_cases(spec_of(reward, options, interpreter), cases)
    with asking(reward, options, interpreter) as ask:
        for case in cases:
            score, seconds = ask(case.problem, case.response)
            yield Judged(case=case, score=score, seconds=seconds, refused=refused.get(case.line, ""))


def refused_cases(spec: RewardSpec, cases: Sequence[Case]) -> dict[int, str]:
    """Line -> why the reward refuses the problem there; asked as before a run."""
    return {cases[found.number].line: found.reason for found in refusals(spec, [case.problem for case in cases])}


def spec_of(reward: Loaded, options: Mapping[str, Any], interpreter: Interpreter | None = None) -> RewardSpec:
    """The only reward of an imaginary stage; `options` are JSON."""
    if not issubclass(reward.cls, Reward):
        raise TypeError(f"{reward.name} is no reward")
    return RewardSpec.of(reward.cls, name=reward.name, target=reward.target, options=options, interpreter=interpreter)


@contextlib.contextmanager
def asking(reward: Loaded, options: Mapping[str, Any], interpreter: Interpreter | None = None) -> Iterator[Ask]:
    """A function that has the reward score one answer, in one worker (in this process where it is a model: what runs
    in the stage has no deadline in training either). No sentinels: the worth of what is asked is known anyway."""
    spec = spec_of(reward, options, interpreter)
    with ScoringService([spec], workers=1, max_infrastructure_rate=1.0, sentinels=False) as service:

        def ask(problem: Problem, response: Response) -> Asked:
            started = time.perf_counter()
            (group,) = service.score([_alone(problem, response)])
            return Asked(group.scores[0], time.perf_counter() - started)

        yield ask


def _alone(problem: Problem, response: Response) -> Group:
    """A group of one answer, without tokens: rewards see text."""
    none = np.zeros(0, dtype=np.int64)
    rollout = Rollout(problem=problem, sample=0, prompt_ids=none, completion_ids=none, logprobs=None, response=response)
    return Group(problem=problem, rollouts=(rollout,))
