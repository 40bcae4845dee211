"""What answers from elsewhere will take, for `--dry-run`: calls, tokens, USD and time of each stage that asks.

Tokens that go in come from the prompts themselves (the first `READ` are read); what is in the trace ledger already is
not counted off. The sampler tells the rest (`Sampler.quote`, and `Sampler.quote_graded` of texts that it grades).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from r1core.choices import Use
from r1core.cli.columns import columns
from r1core.cli.estimate import Estimator
from r1core.cli.estimate_view import count_of, time_of
from r1core.cli.speed import Speed
from r1core.components import Sampler
from r1core.errors import R1Error
from r1core.estimates import Quote, Range
from r1core.recipe.annotations import Rewriter
from r1core.recipe.plan import Plan, StagePlan
from r1core.stages.asking import asked
from r1core.stages.problems import first_of

READ = 2000
UNREAD_BYTES = Range(50, 400, 4000)
"""Bytes of a prompt, where none can be read."""


def quote_lines(plan: Plan, stages: Sequence[StagePlan]) -> Iterator[str]:
    """A table of the stages that ask elsewhere, for answers or for what a teacher says of texts."""
    written = {stage.id: quote for stage in stages if (quote := quote_of(plan, stage)) is not None}
    graded = {stage.id: quote for stage in stages if (quote := graded_of(plan, stage)) is not None}
    quotes = {**written, **graded}
    if not quotes:
        return
    yield ""
    yield "asked elsewhere (low, expected, high)"
    head = ["stage", "calls", "tokens in", "tokens out", "USD", "time"]
    yield from columns([head, *([name, *_row(quote)] for name, quote in quotes.items())])
    if graded:
        yield f"  texts that are graded, at most, a token written for each: {', '.join(graded)}"
    if any(quote.usd is None for quote in written.values()):
        yield "  no USD without prices: {input: .., output: ..}, per million tokens, in the sampler's options"


def quote_of(plan: Plan, stage: StagePlan) -> Quote | None:
    """What a stage's teacher will take; None for a stage that asks none."""
    body = stage.stage
    spec = body.sample
    if spec is None or body.sampler is None or spec.answers == "given":
        return None
    sampler: Sampler = plan.component("sampler", body.sampler)
    if not sampler.remote:
        return None
    samples = spec.samples if spec.answers == "model" else 1
    prompts, prompt_bytes = _prompts(plan, stage)
    return sampler.quote(
        prompts * samples, prompt_bytes=prompt_bytes * samples, max_new_tokens=body.sampling.max_new_tokens.at(0, 1)
    )


def graded_of(plan: Plan, stage: StagePlan) -> Quote | None:
    """What the grading of a stage's texts will take elsewhere; None where its teachers are here, or data decides."""
    graders = _graders(plan, stage)
    told = Estimator(plan, Speed()).graded(stage) if graders else None
    if told is None:
        return None
    texts, tokens = told
    quotes = (sampler.quote_graded(texts, tokens=tokens) for sampler in graders)
    return next((quote for quote in quotes if quote is not None), None)


def _graders(plan: Plan, stage: StagePlan) -> list[Sampler]:
    """The samplers that a signals stage, or a trainer's options, have as teachers."""
    body = stage.stage
    own = [body.sampler] if body.signals is not None and body.sampler is not None else []
    chosen = chosen_within(plan, "trainer", body.train) if body.train is not None else []
    uses = [*own, *(use for kind, use in chosen if kind == "sampler")]
    return [plan.component("sampler", use) for use in uses]


def chosen_within(plan: Plan, kind: str, use: Use) -> list[tuple[str, Use]]:
    """(kind, choice) of the components that a component's options choose."""
    found: list[tuple[str, Use]] = []
    rewriter = Rewriter(use=lambda inner, own, _path: found.append((own, inner)), ref=lambda stage, _mark, _path: stage)
    rewriter.model(plan.host.find(kind, use.use).Config.model_validate(use.options))
    return found


def _prompts(plan: Plan, stage: StagePlan) -> tuple[int, Range]:
    """How many prompts the stage asks, and their bytes."""
    spec, problems = stage.stage.sample, stage.stage.problems
    assert spec is not None, "asked of sample stages"
    assert problems is not None, "the plan checks that a sample stage has problems"
    wanted = min(spec.sampled, READ)
    try:
        found = first_of(problems.at(0, 1), wanted, lambda use: plan.component("source", use), seed=stage.seed)
    except R1Error:  # its data comes from a stage that has not run, or is not there: the run will say so
        return spec.sampled, UNREAD_BYTES * spec.sampled
    sizes = [sum(len(message["content"].encode()) for message in asked(problem, spec)) for problem in found]
    if len(found) < wanted or not found:
        return len(found), Range.exactly(sum(sizes))
    return spec.sampled, Range.exactly(sum(sizes) * spec.sampled / len(found))


def _row(quote: Quote) -> list[str]:
    return [
        f"{quote.calls:,}",
        count_of(quote.tokens_in),
        count_of(quote.tokens_out),
        "-" if quote.usd is None else ", ".join(f"{usd:,.2f}" for usd in quote.usd.all),
        time_of(quote.time_s) if quote.time_s is not None else "-",
    ]
