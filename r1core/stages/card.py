"""The dataset card of a sample stage: what a person asks of traces before learning from them, as the hub shows it.

The head is YAML that the hub reads; the rest is `report.json` in words and tables. The same report gives the same
bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1core.stages.provenance import licenses_of

SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
"""The hub's words for how many rows there are."""
SHARES = {
    "well_formed_thinking": "thinking in one well-formed block",
    "cut_off": "cut off at the longest length",
    "repeats": "the same text as an earlier one",
}


def card_of(name: str, report: Mapping[str, Any]) -> str:
    """The whole file."""
    body = (_head, _title, _made, _yields, _quality, _by, _lengths, _columns)
    return "\n".join(line for each in body for line in each(name, report)) + "\n"


def _head(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    licenses = licenses_of(report["made"])
    languages = [each for each in report["all"]["language"] if len(each) == 2 and each.isalpha()]
    size = next((word for most, word in SIZES if report["rows"] < most), "n>10M")
    yield "---"
    yield f"pretty_name: {json.dumps(name)}"
    if len(licenses) == 1:
        yield f"license: {json.dumps(licenses[0])}"
    if languages:
        yield f"language: {json.dumps(languages)}"
    yield "task_categories: [text-generation]"
    yield f"size_categories: [{json.dumps(size)}]"
    yield "configs:"
    yield "- config_name: default"
    yield "  data_files: data/*.parquet"
    yield "---"


def _title(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    rows, kept, every = report["rows"], report["kept"], report["all"]
    yield from (
        f"# {name}",
        "",
        f"{rows:,} answers to {every['problems']:,} problems, {kept:,} of them kept ({_percent(kept / rows)}). "
        "Rows that a filter rejected are there, too: `keep` says which to learn from, `reason` why not.",
        "",
    )


# --- where it comes from -------------------------------------------------------------------------


def _made(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where it comes from"
    yield ""
    yield from _stage(report["made"], "")
    licenses = licenses_of(report["made"])
    yield f"- licence: {', '.join(licenses) if licenses else 'not stated; look at the sources'}"
    yield ""


def _stage(made: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}- stage `{made['stage']}` of recipe `{made['recipe']}`, seed {made['seed']}"
    inner = indent + "  "
    for use in made.get("problems", []):
        yield f"{inner}- problems: {_use(use)}"
    for name, teacher in _teacher(made):
        yield f"{inner}- {name}: {teacher}"
    for use in made.get("verifiers", []):
        yield f"{inner}- verifier `{use['part']}`: {_use(use)}, {use['version']}"
    if made.get("filters") and indent:  # the dataset's own have a table
        yield f"{inner}- filters: {', '.join(_use(use) for use in made['filters'])}"
    for one in made.get("data", []):
        yield from _stage(one, inner)


def _teacher(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    teacher = made.get("teacher", {})
    if "model" in teacher:
        model = teacher["model"]
        source = f" (`{model['import']}`)" if "import" in model else ""
        yield "teacher", f"model of stage `{model['stage']}`{source}, fingerprint `{model['fingerprint'][:12]}`"
    if "sampler" in teacher:
        yield "sampler" if "model" in teacher else "teacher", _use(teacher["sampler"])
    if "sampling" in made:
        yield "sampling", f"`{json.dumps(made['sampling'], sort_keys=True)}`"
    if "instruction" in made:
        yield "instruction", json.dumps(made["instruction"], ensure_ascii=False)


def _use(use: Mapping[str, Any]) -> str:
    options = json.dumps(use["options"], ensure_ascii=False, sort_keys=True) if use.get("options") else ""
    return f"`{use['use']}`{f' `{options}`' if options else ''}"


# --- what it is like -----------------------------------------------------------------------------


def _yields(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    if not report["filters"] and not report["before_filters"]:
        return
    yield "## What was rejected"
    yield ""
    rows = [[reason, "", f"{count:,}", ""] for reason, count in report["before_filters"].items()]
    for each in report["filters"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in each["reasons"].items())
        rows.append([_use(each), f"{each['seen']:,}", f"{each['rejected']:,}", _percent(each["share"]), reasons])
    yield from _table(["filter, in order", "seen", "rejected", "share", "reasons"], rows)


def _quality(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    every, kept = report["all"], report["kept_rows"]
    yield "## What it is like"
    yield ""
    rows = [[said, _percent(every["shares"][key]), _percent(kept["shares"][key])] for key, said in SHARES.items()]
    for part in every["parts"]:
        rows.append([f"`{part}`, mean over problems", *(_estimate(side["parts"].get(part)) for side in (every, kept))])
    yield from _table(["", "all", "kept"], rows)
    if every["parts"]:
        yield "In brackets: 95 % of other problems like these. Over all answers that is what the teacher can do."
        yield ""


def _by(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield "## By domain and language"
    yield ""
    rows = [
        [f"{field} {value}", f"{count:,}", f"{kept:,}", _percent(kept / count)]
        for field in ("domain", "language")
        for value, count in report["all"][field].items()
        for kept in [report["kept_rows"][field].get(value, 0)]
    ]
    yield from _table(["", "all", "kept", "share"], rows)


def _lengths(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Lengths"
    yield ""
    for unit, every in report["all"]["lengths"].items():
        kept = report["kept_rows"]["lengths"].get(unit, {"histogram": {}, "mean": math.nan})
        rows = [
            [f"{int(least):,} to {2 * int(least) - 1:,}", f"{count:,}", f"{kept['histogram'].get(least, 0):,}"]
            for least, count in every["histogram"].items()
        ]
        rows.append(["mean", _number(every["mean"]), _number(kept["mean"])])
        yield from _table([unit, "all", "kept"], rows)


def _columns(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Columns"
    yield ""
    yield "`messages` is what was asked, `prefilled` + `text` the whole answer, `thinking` and `answer` its parts,"
    yield "`parts` what each verifier said. `messages`, `reference`, `meta` and `parts` are JSON text."
    yield "`report.json` has all figures."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        yield f"| {' | '.join([*cells, *[''] * (len(head) - len(cells))])} |"
    yield ""


def _estimate(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "-"
    bounds = f" [{part['low']:.3f}, {part['high']:.3f}]" if "low" in part else ""
    return f"{part['mean']:.3f}{bounds}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f} %"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
