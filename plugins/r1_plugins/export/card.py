"""The model card: what a person asks of a model before using it, in an order to be read in.

What it is and how to use it, where it comes from, what it learned from and what was rejected, what was measured and
how, where its limits are, under which licence. The same export gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1_plugins.export.card_head import head
from r1_plugins.export.card_use import use
from r1_plugins.export.facts import Facts
from r1_plugins.export.lineage import Lineage, Step, split_metrics
from r1_plugins.export.markdown import code, plain, table
from r1_plugins.export.words import sentence

SHOWN = 12
MAIN = ("pass@1", "greedy", "hard")
"""Numbers by which the models of a run are put side by side."""
MEANINGS = {
    "pass@1": "right answers, sampled",
    "greedy": "right answers, decoded greedily",
    "hard": "right answers to problems longer than any in training",
    "format": "answers in the right form",
    "language": "thinking in the language of the question",
    "length": "tokens of an answer",
    "clipped_ratio": "answers cut off at the longest length",
}
"""What the numbers of `results.json` are."""


def card_of(facts: Facts) -> str:
    """The whole file."""
    parts = (head, _title, use, _made, _data, _metrics, _checks, _limits, _licence)
    return "\n".join(line for part in parts for line in part(facts)) + "\n"


def _title(facts: Facts) -> Iterator[str]:
    own = facts.lineage
    kind = "A reward model: it reads a question and an answer and gives one number" if facts.scores else "A model"
    if not facts.scores and facts.thinking is not None and facts.thinking.kept:
        kind = "A language model that thinks before it answers"
    made = f", made by the recipe {code(own.recipe)} of r1core" if own is not None else ""
    start = f" from {code(facts.base_model)}" if facts.base_model else ""
    length = f", reads {facts.context:,} tokens with its answer" if facts.context else ""
    yield from ("", f"# {plain(facts.name)}", "", f"{kind}{made}{start}.", "")
    stored = {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32"}.get(facts.dtype, facts.dtype)
    yield f"{_count(facts.parameters)} parameters ({code(facts.architecture)}), stored in {plain(stored)}{length}."
    yield ""


def _made(facts: Facts) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    own = facts.lineage
    if own is None:
        yield "The folder that it was exported from lies in no run of r1core, so nothing is known of how it was made."
        yield ""
        return
    chain = {step.id for step in own.chain}
    profile = f", profile {code(own.profile)}" if own.profile else ""
    yield f"Recipe {code(own.recipe)}{profile}. Its weights went through:"
    yield ""
    yield from (f"{number}. {sentence(step)}" for number, step in enumerate(own.chain, start=1))
    yield ""
    others = [step for step in own.steps if step.id not in chain]
    if others:
        yield "It learned from these, which are no part of its weights:"
        yield ""
        yield from (f"- {sentence(step)}" for step in others)
        yield ""
    yield "All options, the versions and hashes of all components and of every input are in `r1_run.json`. In the"
    stage = plain_word(own.own.id)
    yield f"folder of the run, `r1 recipe recipe.resolved.yaml --run-dir . --until {stage}` makes it again."
    yield ""


def plain_word(text: str) -> str:
    """A stage's id within a command: letters, digits and what ids have; anything else is a question mark."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "_-@=.,") else "?" for each in text)


# --- data ----------------------------------------------------------------------------------------


def _data(facts: Facts) -> Iterator[str]:
    sampled = [step for step in facts.lineage.steps if step.report] if facts.lineage is not None else []
    if not sampled:
        return
    yield "## What it learned from"
    yield ""
    rows = [_dataset_row(step) for step in sampled]
    yield from table(["dataset", "answers", "kept", "share", "licence stated"], rows)
    rejected = [row for step in sampled for row in _filter_rows(step)]
    if rejected:
        yield "What the filters rejected, in their order:"
        yield ""
        yield from table(["dataset", "filter", "seen", "rejected", "share", "reasons"], rejected)


def _dataset_row(step: Step) -> list[str]:
    rows, kept = int(step.report.get("rows", 0)), int(step.report.get("kept", 0))
    stated = (step.report.get("made") or {}).get("license")
    share = f"{kept / rows:.1%}" if rows else "-"
    return [code(step.id), f"{rows:,}", f"{kept:,}", share, plain(str(stated)) if stated else "none"]


def _filter_rows(step: Step) -> Iterator[list[str]]:
    for reason, count in (step.report.get("before_filters") or {}).items():
        yield [code(step.id), "(before any filter)", "", f"{count:,}", "", plain(str(reason))]
    for each in step.report.get("filters") or ():
        reasons = ", ".join(f"{plain(str(reason))} {count:,}" for reason, count in (each.get("reasons") or {}).items())
        share = float(each.get("share") or 0.0)
        yield [
            code(step.id),
            code(str(each["use"])),
            f"{each['seen']:,}",
            f"{each['rejected']:,}",
            f"{share:.1%}",
            reasons,
        ]


# --- metrics -------------------------------------------------------------------------------------


def _metrics(facts: Facts) -> Iterator[str]:
    yield "## What was measured"
    yield ""
    own = facts.lineage
    found = split_metrics(own.metrics) if own is not None else []
    if own is None or not found:
        yield "No evaluation of a run has measured this model."
        yield ""
        return
    rows = [[_named(name), f"{value:.4g}", _interval(interval), _how(own, name)] for name, value, interval in found]
    yield from table(["", "value", "95 % interval", "how"], rows)
    yield "Intervals are over problems: where the number would lie on other problems like these."
    yield ""
    for name, measured in own.manifest.items():
        if any(metric.partition("/")[0] == name for metric, _, _ in found):  # not every model is measured on every set
            yield f"- {code(name)}: {_measured(measured)}"
    yield ""
    yield from _beside(facts, own)


def _named(name: str) -> str:
    """The metric and, where its name alone does not say it, what it is."""
    part = name.partition("/")[2]
    meaning = MEANINGS.get(name, "")
    if part.startswith("k="):
        meaning = f"at least one of {part.removeprefix('k=')} answers right"
    elif part.startswith("cons="):
        meaning = f"what most of {part.removeprefix('cons=')} answers say is right"
    return f"{code(name)}: {plain(meaning)}" if meaning else code(name)


def _how(own: Lineage, name: str) -> str:
    measured = own.manifest.get(name) or own.manifest.get(name.partition("/")[0])
    if not measured:
        first = next(iter(own.manifest), "")
        return f"on the answers to {code(first)}" if first else ""
    if "=" in (part := name.partition("/")[2]) and not part.startswith(("k=", "cons=")):
        return f"those of {code(name.partition('/')[0])} with {code(part)}"
    greedy = measured["temperature"] == 0
    way = "greedy" if greedy else f"T = {measured['temperature']:g}, top-p {measured['top_p']:g}"
    return f"{measured['problems']['number']:,} problems, {_times(measured['samples'])}, {way}"


def _measured(measured: Mapping[str, Any]) -> str:
    problems = measured["problems"]
    rewards = ", ".join(code(str(each["use"])) for each in (measured.get("rewards") or {}).values())
    return (
        f"{problems['number']:,} problems (sha256 {code(problems['sha256'][:SHOWN])}), "
        f"{_times(measured['samples'])}, at most {measured['max_new_tokens']:,} tokens, "
        f"right by {code(str(measured['reward']))}; rewards {rewards}; "
        f"sampler {code(str(measured['sampler']['use']))}; "
        f"seed {measured['seed']}"
    )


def _beside(facts: Facts, own: Lineage) -> Iterator[str]:
    shown = [name for name in MAIN if name in own.metrics]
    if not own.others or not shown:
        return
    yield "Beside the models on its way, as the same run measured them:"
    yield ""
    rows = [[code(name), *(_cell(row, each) for each in shown)] for name, row in own.others.items()]
    rows.append([f"**{code(facts.name)}**", *(f"**{_cell(own.metrics, each)}**" for each in shown)])
    yield from table(["model", *(code(name) for name in shown)], rows)


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return f"{value:.3f} {_interval(row.get(f'{name}_ci95'))}".strip() if isinstance(value, int | float) else "-"


def _interval(interval: Any) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""


def _times(samples: int) -> str:
    return "one answer to each" if samples == 1 else f"{samples:,} answers to each"


# --- checks, limits, licence ---------------------------------------------------------------------


def _checks(facts: Facts) -> Iterator[str]:
    yield "## What was checked when it was exported"
    yield ""
    found = facts.reloaded
    yield (
        f"- Loaded again from this folder and held against what it was made from, {found.positions:,} positions of "
        f"{found.texts} texts: logits differ by at most {found.max_difference:.2g} "
        f"({found.relative:.1g} of the largest), {found.same_argmax:.1%} of the most likely tokens are the same."
    )
    if facts.merged is not None:
        yield (
            f"- The LoRA adapter is merged. Before and after, in float32: at most {facts.merged.max_difference:.2g} "
            f"({facts.merged.relative:.1g} of the largest) apart."
        )
    if facts.thinking is not None:
        kept = "keeps" if facts.thinking.kept else "**loses**"
        yield f"- The chat template {kept} the thinking of the last answer, through its tokens and back."
    ends = ", ".join(f"{code(text)} ({', '.join(said)})" for text, said in facts.ends.values())
    if ends:
        yield f"- An answer ends at: {ends}. All are in `generation_config.json`."
    yield ""


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Limits"
    yield ""
    own = facts.lineage
    clipped = own.metrics.get("clipped_ratio") if own is not None else None
    if facts.context:
        yield f"- It reads at most {facts.context:,} tokens, thinking included."
    if isinstance(clipped, int | float):
        yield f"- In its evaluation {clipped:.1%} of its answers were cut off at the longest length that was allowed."
    asked = sorted({str(step.id) for step in own.steps if step.kind == "sample"}) if own is not None else []
    measured = own is not None and bool(own.metrics)
    if facts.scores:
        yield "- Its score says which of two answers to the same question people like those of its data would prefer."
        yield "  Scores of different questions cannot be compared, and a model trained on them finds their gaps."
    elif measured:
        yield "- The numbers above hold for problems like those of its evaluation, and say nothing about others."
    else:
        yield "- Nobody has measured it: measure it before you rely on it (`r1 eval`)."
    if asked and not facts.scores:
        yield "- What it learned from was written by models and chosen by verifiers: it has their mistakes, too."
    if not facts.scores:
        yield "- What it writes as thinking need not be how it came to its answer."
        yield "- Nothing here is a test of safety."
    yield ""


def _licence(facts: Facts) -> Iterator[str]:
    yield from ("## Licence", "", facts.licence.sentence())
    own = facts.lineage
    made = [(step.report.get("made") or {}).get("license") for step in own.steps] if own is not None else []
    if stated := list(dict.fromkeys(str(each) for each in made if each)):
        yield f"Of the data it learned from: {', '.join(plain(each) for each in stated)}."


def _count(parameters: int) -> str:
    for size, word in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g}{word}"
    return str(parameters)
