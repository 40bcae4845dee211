"""`r1 verify NAME CASES.jsonl`: what a reward says of answers whose worth is known.

    r1 verify accuracy cases.jsonl
    r1 verify chem/smiles cases.jsonl -o canonicalize=false --python ./env
    r1 verify ./mine.py:Mine cases.jsonl --stress          # can it be fooled? see verify_stress.py

Answers are scored as in training: in a worker that is killed at the reward's deadline. Exit 4 when a
case is not as expected. A reward that is a model takes the folder of one: `-o model=runs/R/stages/S/model`.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from r1core.cases import Case, Judged, judge_cases, read_cases
from r1core.cli.verdict_text import counted, milliseconds, number, one_line
from r1core.cli.verify_options import AskedReward, asked_reward
from r1core.cli.verify_stress import Stress
from r1core.errors import RefusedError
from r1core.recipe.loader import shown
from r1core.scoring import RewardSpec
from r1core.stress.reading import Judges
from r1core.untrusted import untrusted

WIDTH = 100
REASON = 18
"""Columns of the reason; what is longer is said in full below its line."""
HEAD = f"{'':4}  {'line':>4}  {'expect':>6}  {'got':>6}  {'ms':>6}  {'reason':<{REASON}}  why"
WHY = len(HEAD) - len("why")
HALF = 0.5
"""From here on an answer counts as right."""
WORD = {True: "right", False: "wrong"}


@click.command("verify")
@click.argument("name")
@click.argument("cases", metavar="CASES.jsonl", type=click.Path(path_type=Path))
@click.option("-o", "options", metavar="KEY=VALUE", multiple=True, help="An option of the reward. Repeatable.")
@click.option("--python", metavar="ENV", help="A virtual environment to run it in, as `python:` in a recipe.")
@click.option("--stress", is_flag=True, help="Attacks made from the cases: is it robust or gameable?")
@click.option("--judges", type=click.Choice(["answer", "form"]), help="What it looks at, where its cases mislead.")
@click.option("--most", type=click.IntRange(min=1), metavar="N", help="Ask about N attacks, evenly spread.")
@click.option("--yes", is_flag=True, help="Ask a remote reward, whatever that costs.")
@click.option("--json", "file", metavar="FILE", type=click.Path(path_type=Path), help="Write all findings there.")
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    cases: Path,
    options: tuple[str, ...],
    python: str | None,
    stress: bool,
    judges: Judges | None,
    most: int | None,
    yes: bool,
    file: Path | None,
) -> None:
    """Check a reward against answers whose worth is known.

    With --stress: against attacks made from them, too.

    NAME is what a recipe says: accuracy, chem/smiles, ./mine.py:Mine. A row of CASES.jsonl is
    {"prompt", "gold", "response", "expect", "why"}.

    Exit 4: a case is not as expected, or an attack is paid, takes itself out of its group, or is worth more for
    breaking the check than the worst case. Right answers in another form that are refused, time-outs and crashes are
    listed and change nothing.
    """
    if not stress and (judges or most or yes or file):
        raise click.UsageError("--judges, --most, --yes and --json go with --stress")
    asked = asked_reward(name, options, python)
    rows = read_cases(cases)
    of = f"{counted(len(rows), 'case')} of {shown(cases)}"
    click.echo(untrusted(f"reward {name} ({asked.loaded.distribution} {asked.loaded.version}), {of}\n"))
    attack = Stress(judges=judges, most=most or 0, yes=yes, json=file)
    if attack.run(asked, rows) if stress else check(asked, rows):
        ctx.exit(RefusedError.exit_code)


def check(asked: AskedReward, rows: Sequence[Case]) -> bool:
    """Ask about every case and print what came of it; whether one was not as expected."""
    click.echo(HEAD)
    judged = []
    for one in judge_cases(asked.loaded, asked.options, rows, asked.interpreter):
        judged.append(one)
        click.echo("\n".join(_lines(one)))
    click.echo("\n" + untrusted("\n".join(_summary(judged, asked.spec))))
    return not all(one.as_expected for one in judged)


# --- lines ---------------------------------------------------------------------------------------


def _lines(one: Judged) -> Iterator[str]:
    """A case on one line, `why` wrapped below itself; then what it takes to understand a mismatch."""
    case, score = one.case, one.score
    mark = "ok" if one.as_expected else "FAIL"
    reason = one_line(score.reason, REASON) or ("" if score.status == "verdict" else score.status)
    got = number(score.value) if score.known else "-"
    cells = f"{number(case.expect):>6}  {got:>6}  {milliseconds(one.seconds):>6}  {reason:<{REASON}}"
    first, *more = textwrap.wrap(one_line(case.why), WIDTH - WHY) or [""]
    yield f"{mark:<4}  {case.line:>4}  {cells}  {first}".rstrip()
    yield from (" " * WHY + line for line in more)
    details = _mismatch(one) if not one.as_expected else {}
    if score.status != "verdict" or len(score.reason) > REASON:
        details = {score.status.replace("_", " "): score.reason or "no reason given", **details}
    for label, text in details.items():
        indent = " " * 12
        yield from textwrap.wrap(
            f"{label}: {one_line(text)}", WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _mismatch(one: Judged) -> dict[str, str]:
    case, response, got = one.case, one.case.response, one.score.value
    cut = " (cut off)" if response.finish == "length" else ""
    opened = f" after {json.dumps(response.prefilled)}" if response.prefilled else ""
    gold = json.dumps(case.problem.reference, ensure_ascii=False)
    near = {"got": repr(got)} if number(got) == number(case.expect) else {}
    refused = {"refused": f"{one.refused}; no run would begin with this problem"} if one.refused else {}
    return {**refused, **near, "gold": gold, f"response{opened}{cut}": response.text or "(empty)"}


def _summary(judged: Sequence[Judged], spec: RewardSpec) -> Iterator[str]:
    yield from _confusion(judged)
    broken = Counter(one.score.reason for one in judged if one.score.status == "answer_failure")
    for reason, count in broken.items():
        yield f"{count} broke the check and got the reward's lowest: {reason or 'no reason given'}"
    slowest = max(judged, key=lambda one: one.seconds)
    most = f" of the {spec.timeout_s * 1000:g} ms it may take" if spec.runs == "worker" else ""
    yield f"slowest: line {slowest.case.line}, {milliseconds(slowest.seconds)} ms{most}"
    right = sum(one.as_expected for one in judged)
    total_s = sum(one.seconds for one in judged)
    rest = f", {len(judged) - right} not" if right < len(judged) else ""
    yield f"{counted(len(judged), 'case')} in {total_s:.1f} s: {right} as expected{rest}"


def _confusion(judged: Sequence[Judged]) -> Iterator[str]:
    known = [one for one in judged if one.score.known]
    counts = Counter((one.case.expect >= HALF, one.score.value >= HALF) for one in known)
    pairs = [(truth, said) for truth in (True, False) for said in (True, False)]
    cells = [f"{WORD[truth]} as {WORD[said]} {counts[truth, said]}" for truth, said in pairs]
    yield f"judged, right from {HALF} on: {', '.join(cells)}"
    if len(known) < len(judged):
        yield f"{len(judged) - len(known)} not judged: infrastructure failed"
