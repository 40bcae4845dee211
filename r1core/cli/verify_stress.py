"""`r1 verify NAME CASES.jsonl --stress`: can the reward be fooled?

    r1 verify accuracy cases.jsonl --stress --json stress.json
    r1 verify chem/smiles cases.jsonl --stress --judges form     # when the cases do not say what is looked at

Attacks are made from the right answers of the file (r1core/stress/) and asked twice, in a worker with its
deadline. Nothing is asked of a remote reward before one knows how much: `--yes`, or `--most N`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from r1core.cases import Case, asking
from r1core.cli.columns import columns
from r1core.cli.verdict_text import counted, milliseconds, number, one_line
from r1core.cli.verify_options import AskedReward
from r1core.errors import RecipeError
from r1core.recipe.loader import shown
from r1core.stress.attack import FAMILIES
from r1core.stress.reading import Judges
from r1core.stress.record import record
from r1core.stress.trial import Answered, Report, Trial, count, prepare, severity_of
from r1core.types import Score
from r1core.untrusted import untrusted

WIDTH = 100
SHOWN = 3
"""Findings of one family that are shown; `--json` has all of them."""


@dataclass(frozen=True, kw_only=True)
class Stress:
    """What the command line says of it."""

    judges: Judges | None
    most: int
    yes: bool
    json: Path | None

    def run(self, asked: AskedReward, cases: Sequence[Case]) -> bool:
        """Ask, print, and say whether it is anything but robust: gameable, or in disagreement with a case."""
        self._confirm(asked, cases)
        with asking(asked.loaded, asked.options, asked.interpreter) as ask:
            trial = prepare(asked.loaded, asked.spec, ask, cases, judges=self.judges, most=self.most)
            click.echo(untrusted("\n".join(_head(trial))))
            with _progress(len(trial.questions)) as tell:
                report = trial.run(ask, tell=tell)
        click.echo(untrusted("\n".join(_said(report))))
        if self.json is not None:
            self.json.write_text(json.dumps(record(report), indent=1) + "\n", encoding="utf-8")
            click.echo(f"all of it: {shown(self.json)}", err=True)
        return report.verdict != "robust"

    def _confirm(self, asked: AskedReward, cases: Sequence[Case]) -> None:
        """A remote reward costs money, or somebody's patience."""
        if not asked.spec.remote or self.yes or self.most:
            return
        raise RecipeError(
            f"{asked.loaded.name} is remote, and would be asked about {count(asked.loaded, asked.spec, cases)} answers",
            where="--stress",
            fix=f"add --yes, or --most 100: that many attacks, evenly spread, beside the {counted(len(cases), 'case')}",
        )


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar where a person watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=total, label="asking", file=sys.stderr) as bar:
        yield lambda: bar.update(1)


# --- what is said ----------------------------------------------------------------------------------


def _head(trial: Trial) -> Iterator[str]:
    reading = trial.reading
    for one in trial.cases:
        if not one.as_expected:
            got = f"the gold refused ({one.refused})" if one.refused else _score(one.score)
            yield f"case of line {one.case.line}: expected {number(one.case.expect)}, got {got}; it is left aside"
    looked_at = [
        *(["what answers say"] if reading.judges_answers else []),
        *(["the form of the think block"] if reading.judges_thinking else []),
        *(["answer tags"] if reading.judges_tags else []),
        *(["whether there is thinking"] if reading.wants_thinking else []),
    ]
    yield f"its cases pay {number(reading.top)}, {number(reading.bar)} for a wrong answer; they look at: " + (
        ", ".join(looked_at) or "nothing that an attack could change"
    )
    if not reading.judges_answers:
        yield "they do not show that another answer is worth less, so saying another is no attack (or --judges answer)"
    forms = sum(question.least is not None for question in trial.questions)
    attacks = len(trial.questions) - forms
    made = counted(len(trial.targets), "right answer")
    limit = (
        f"in a worker, {trial.spec.timeout_s:g} s each"
        if trial.spec.runs == "worker"
        else "in this process, no deadline"
    )
    yield f"{counted(attacks, 'attack')} and {counted(forms, 'equivalent form')} made from {made}; {limit}\n"


def _said(report: Report) -> Iterator[str]:
    yield from columns(list(_table(report)), left=2, indent="")
    yield from _list("FALSE POSITIVES: paid more than a wrong answer", report.paid)
    yield from _list("TAKE THEMSELVES OUT: an infrastructure failure spares an answer its due", report.taken_out)
    yield from _list("BREAKING IT PAYS: what it is worth then is more than the worst case", report.profitable)
    yield from _list("FALSE NEGATIVES: right answers that are refused", report.refused)
    yield from _list("BREAK THE CHECK: stopped, crashed or raised; worth its lowest", report.broken)
    yield from _list("MOODY: worth something else when asked again", report.moody)
    yield from _list("LATE: the core's doing, not the reward's (a loaded machine?)", report.late)
    yield ""
    yield from textwrap.wrap(_verdict(report), WIDTH)


def _table(report: Report) -> Iterator[Sequence[str]]:
    yield ["attacks", "severity", "asked", "to refuse", "paid", "broke it", "left out"]
    families = dict.fromkeys(
        [*FAMILIES, *(one.question.family for one in report.answered if one.question.least is None)]
    )
    for family in families:
        own = [one for one in report.answered if one.question.family == family]
        if own:
            to_refuse = sum(one.question.most is not None for one in own)
            paid, broke = sum(one.is_paid for one in own), sum(one.is_broken for one in own)
            counts = (len(own), to_refuse, paid, broke, report.left_out[family])
            yield [family, severity_of(own[0].question), *(str(n) if n else "-" for n in counts)]


def _list(title: str, found: Sequence[Answered]) -> Iterator[str]:
    """The findings of one kind, by family, the first few of each."""
    if not found:
        return
    yield f"\n{title} ({len(found)})"
    for family, total in Counter(one.question.family for one in found).items():
        own = [one for one in found if one.question.family == family]
        yield from textwrap.wrap(f"{family}: {_why(own[0])}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        for one in own[:SHOWN]:
            yield from _finding(one)
        if total > SHOWN:
            yield f"    and {total - SHOWN} more"


def _why(one: Answered) -> str:
    return one.question.why if one.question.family in FAMILIES else "beside the reward's code"


def _finding(one: Answered) -> Iterator[str]:
    question = one.question
    gold = one_line(json.dumps(question.problem.reference, ensure_ascii=False), 40)
    took = f", {milliseconds(one.seconds)} ms" if one.is_broken or one.seconds >= 1 else ""
    scores = dict.fromkeys(map(_score, one.scores))
    got = f"got {', then '.join(scores)}{took}; gold {gold}; {one_line(question.label, 60)}"
    yield from textwrap.wrap(got, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
    shown_text = one_line(question.response.prefilled + question.response.text, 160) or "(empty)"
    yield from textwrap.wrap(shown_text, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)


def _score(score: Score) -> str:
    reason = f" ({one_line(score.reason, 40)})" if score.reason else ""
    return f"{number(score.value)}{reason}" if score.known else f"no score{reason}"


def _verdict(report: Report) -> str:
    held = [one for one in report.answered if one.question.most is not None]
    forms = [one for one in report.answered if one.question.least is not None]
    wrong = _disagreement(report)
    if report.gameable:
        bad = [*report.paid, *report.taken_out, *report.profitable]
        families = ", ".join(dict.fromkeys(one.question.family for one in bad))
        through = f"{len(bad)} of {counted(len(report.answered) - len(forms), 'attack')} get through: {families}"
        return f"gameable: {through}" + (f"; and {wrong}" if wrong else "")
    said = "nothing that was asked is an attack on what its cases look at"
    if held:
        paid = f"{len(forms) - len(report.refused)} of {counted(len(forms), 'equivalent form')} paid"
        said = f"none of {counted(len(held), 'attack')} is paid; {paid}"
    return f"failed: {wrong}; {said}" if wrong else f"robust: {said}"


def _disagreement(report: Report) -> str:
    """Which cases are not as expected; "" where all are."""
    lines = [str(one.case.line) for one in report.disagreed]
    if not lines:
        return ""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    verb = "is" if len(lines) == 1 else "are"
    where = f"line {', '.join(lines[:SHOWN])}{more}"
    return f"{len(lines)} of {counted(len(report.cases), 'case')} {verb} not as expected ({where})"
