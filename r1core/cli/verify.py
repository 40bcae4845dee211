"""`r1 verify NAME CASES.jsonl`: what a reward says of answers whose worth is known.

    r1 verify accuracy cases.jsonl
    r1 verify chem/smiles cases.jsonl -o canonicalize=false
    r1 verify ./mine.py:Mine cases.jsonl

Answers are scored as in training: in a worker that is killed at the reward's deadline. Exit 4 when a
case is not as expected. A reward that is a model takes the folder of one: `-o model=runs/R/stages/S/model`.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from r1core.cases import Case, Judged, judge_cases, read_cases, spec_of
from r1core.choices import Ref, Use
from r1core.errors import Diagnostic, RecipeError, RefusedError, SetupError
from r1core.plugins import Loaded, PluginHost
from r1core.recipe.annotations import Path as KeyPath
from r1core.recipe.annotations import Rewriter
from r1core.recipe.findings import findings, refused
from r1core.recipe.loader import Document, parse_value, shown
from r1core.recipe.nodes import Mark, Node
from r1core.scoring import RewardSpec
from r1core.untrusted import untrusted

ORIGIN = "-o"
WIDTH = 100
REASON = 18
"""Columns of the reason; what is longer is said in full below its line."""
HEAD = f"{'':4}  {'line':>4}  {'expect':>6}  {'got':>6}  {'ms':>6}  {'reason':<{REASON}}  why"
WHY = len(HEAD) - len("why")
SHOWN = 300
"""Characters of a stranger's text that are shown."""
HALF = 0.5
"""From here on an answer counts as right."""
WORD = {True: "right", False: "wrong"}


@click.command("verify")
@click.argument("name")
@click.argument("cases", metavar="CASES.jsonl", type=click.Path(path_type=Path))
@click.option("-o", "options", metavar="KEY=VALUE", multiple=True, help="An option of the reward. Repeatable.")
@click.pass_context
def command(ctx: click.Context, name: str, cases: Path, options: tuple[str, ...]) -> None:
    """Check a reward against answers whose worth is known.

    NAME is what a recipe says: accuracy, chem/smiles, ./mine.py:Mine. A row of CASES.jsonl is
    {"prompt", "gold", "response", "expect", "why"}.
    """
    host = PluginHost.discover()
    for warning in host.warnings:
        click.echo(untrusted(warning), err=True)
    reward = host.load("reward", name, Path.cwd())
    chosen = _options(reward, options)
    rows = read_cases(cases)
    lacking = reward.lacks()
    if lacking:
        raise SetupError("; ".join(lacking), where=f"reward {name}", fix="see: r1 doctor")
    click.echo(
        untrusted(f"reward {name} ({reward.distribution} {reward.version}), {_counted(rows)} of {shown(cases)}\n")
    )
    click.echo(HEAD)
    judged = []
    for one in judge_cases(reward, chosen, rows):
        judged.append(one)
        click.echo("\n".join(_lines(one)))
    click.echo("\n" + untrusted("\n".join(_summary(judged, spec_of(reward, chosen)))))
    if not all(one.as_expected for one in judged):
        ctx.exit(RefusedError.exit_code)


# --- options -------------------------------------------------------------------------------------


def _options(reward: Loaded, given: Sequence[str]) -> dict[str, Any]:
    """The reward's options with its defaults, checked as in a recipe. Raises RecipeError with all findings."""
    document = Document(Node(dict(_given(given)), Mark(ORIGIN)))
    cls, owner = reward.cls, f"{reward.name} ({reward.distribution} {reward.version})"
    try:
        config = cls.Config.model_validate(document.data)
    except ValidationError as error:
        raise refused(findings(error, cls.Config, document, owner=owner)) from error
    return Rewriter(use=_chosen, ref=_artifact).model(config)


def _given(options: Sequence[str]) -> Iterator[tuple[str, Node]]:
    seen = set()
    for text in options:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"{ORIGIN} {text!r} is not key=value", fix=f"such as {ORIGIN} tolerance=1e-6")
        if key in seen:
            raise RecipeError(f"option {key!r} is given twice", where=ORIGIN, fix="keep one of them")
        seen.add(key)
        yield key, parse_value(value, ORIGIN)


def _chosen(use: Use, kind: str, path: KeyPath) -> Any:
    return use.model_dump(mode="json")


def _artifact(folder: str, ref: Ref, path: KeyPath) -> str:
    """In a recipe it is a stage's id; here there are no stages, so it is the folder of what one made."""
    if Path(folder).is_dir():
        return str(Path(folder).resolve())
    key = ".".join(map(str, path))
    finding = Diagnostic(
        message=f"there is no folder {folder!r}: without a recipe, {key} is the folder of a stage's {ref.artifact}",
        path=key,
        file=ORIGIN,
        hint=f"such as {ORIGIN} {key}=runs/<run>/stages/<stage>/{ref.artifact}",
    )
    raise RecipeError.of([finding])


# --- lines ---------------------------------------------------------------------------------------


def _lines(one: Judged) -> Iterator[str]:
    """A case on one line, `why` wrapped below itself; then what it takes to understand a mismatch."""
    case, score = one.case, one.score
    mark = "ok" if one.as_expected else "FAIL"
    reason = _line(score.reason, REASON) or ("" if score.status == "verdict" else score.status)
    got = _number(score.value) if score.known else "-"
    cells = f"{_number(case.expect):>6}  {got:>6}  {_ms(one.seconds):>6}  {reason:<{REASON}}"
    first, *more = textwrap.wrap(_line(case.why), WIDTH - WHY) or [""]
    yield f"{mark:<4}  {case.line:>4}  {cells}  {first}".rstrip()
    yield from (" " * WHY + line for line in more)
    details = _mismatch(one) if not one.as_expected else {}
    if score.status != "verdict" or len(score.reason) > REASON:
        details = {score.status.replace("_", " "): score.reason or "no reason given", **details}
    for label, text in details.items():
        indent = " " * 12
        yield from textwrap.wrap(
            f"{label}: {_line(text)}", WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _mismatch(one: Judged) -> dict[str, str]:
    case, response, got = one.case, one.case.response, one.score.value
    cut = " (cut off)" if response.finish == "length" else ""
    opened = f" after {json.dumps(response.prefilled)}" if response.prefilled else ""
    gold = json.dumps(case.problem.reference, ensure_ascii=False)
    near = {"got": repr(got)} if _number(got) == _number(case.expect) else {}
    return {**near, "gold": gold, f"response{opened}{cut}": response.text or "(empty)"}


def _summary(judged: Sequence[Judged], spec: RewardSpec) -> Iterator[str]:
    yield from _confusion(judged)
    broken = Counter(one.score.reason for one in judged if one.score.status == "answer_failure")
    for reason, count in broken.items():
        yield f"{count} broke the check and got the reward's lowest: {reason or 'no reason given'}"
    slowest = max(judged, key=lambda one: one.seconds)
    most = f" of the {spec.timeout_s * 1000:g} ms it may take" if spec.runs == "worker" else ""
    yield f"slowest: line {slowest.case.line}, {_ms(slowest.seconds)} ms{most}"
    right = sum(one.as_expected for one in judged)
    total_s = sum(one.seconds for one in judged)
    rest = f", {len(judged) - right} not" if right < len(judged) else ""
    yield f"{_counted([one.case for one in judged])} in {total_s:.1f} s: {right} as expected{rest}"


def _confusion(judged: Sequence[Judged]) -> Iterator[str]:
    known = [one for one in judged if one.score.known]
    counts = Counter((one.case.expect >= HALF, one.score.value >= HALF) for one in known)
    pairs = [(truth, said) for truth in (True, False) for said in (True, False)]
    cells = [f"{WORD[truth]} as {WORD[said]} {counts[truth, said]}" for truth, said in pairs]
    yield f"judged, right from {HALF} on: {', '.join(cells)}"
    if len(known) < len(judged):
        yield f"{len(judged) - len(known)} not judged: infrastructure failed"


def _counted(cases: Sequence[Case]) -> str:
    return f"{len(cases)} case" + "s" * (len(cases) != 1)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"


def _line(text: str, width: int = SHOWN) -> str:
    """A stranger's text on one line, cut at `width`."""
    line = " ".join(untrusted(text).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
