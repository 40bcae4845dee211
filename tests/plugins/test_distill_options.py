"""The options of distillation: what each divergence is made of, and that no option is without an effect."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from r1_plugins.distill import Distill
from r1_plugins.distill.divergence import Divergence, Kind, told
from r1core.nn import CONVENTIONS, Measure, divergence, measure

LIVE = {"teacher": "teacher"}
CACHED = {"signals": "signals"}
OWN = {"teacher": "teacher", "signal": "full"}


def config(**options: Any) -> Distill.Config:
    return Distill.Config.model_validate(options)


# --- a divergence ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ({}, Measure(kind="forward")),
        ({"kind": "jsd", "beta": 0.1}, Measure(kind="jsd", beta=0.1, beta_on="teacher")),
        ({"like": "kdflow", "kind": "jsd", "beta": 0.1}, Measure(kind="jsd", beta=0.1, beta_on="student")),
        ({"like": "kdflow", "kind": "jsd", "beta_on": "teacher"}, Measure(kind="jsd", beta_on="teacher")),
        (
            {"like": "distillkit", "temperature": 2.0},
            Measure(kind="forward", temperature=2.0, square=True, tail="teacher"),
        ),
        ({"like": "torchtune"}, Measure(kind="forward", entropy="left")),
        (
            {"like": "verl", "support": "teacher", "top_k": 8, "floor": -10.0},
            Measure(kind="forward", support="teacher", top_k=8, tail="none", at_least_zero=True, floor=-10.0),
        ),
    ],
)
def test_what_is_written_wins_over_the_convention_it_is_like(written: Any, made: Measure) -> None:
    assert Divergence.model_validate(written).measure("forward") == made


def test_the_options_are_those_that_a_measure_has() -> None:
    own = {
        name: field.annotation for name, field in Divergence.model_fields.items() if name not in ("like", "reduction")
    }
    assert set(own) == {field.name for field in fields(Measure)}
    assert get_args(Kind) == get_args(measure.Kind)
    assert set(get_args(get_args(Divergence.model_fields["like"].annotation)[0])) == set(CONVENTIONS)


def test_a_cache_gives_support_and_temperature() -> None:
    made = Divergence.model_validate({"kind": "jsd", "square": True}).measure("forward", cached_k=32, temperature=2.0)
    assert made == Measure(kind="jsd", square=True, support="teacher", top_k=32, temperature=2.0)
    assert Divergence(top_k=4).measure("forward", cached_k=32).top_k == 4


def test_the_convention_is_told_in_words() -> None:
    made = Divergence.model_validate({"like": "distillkit", "kind": "jsd", "temperature": 2.0}).measure("forward")
    assert told(made) == ("jsd divergence, beta 0.5 on the teacher, temperature 2 (squared into the loss), token mean")
    cached = Divergence().measure("forward", cached_k=32)
    assert told(cached) == (
        "forward divergence, a KL, on the teacher's 32 likeliest tokens, tail bucket, temperature 1, token mean"
    )


CHANGES: dict[str, Any] = {
    "beta": 0.25,
    "beta_on": "student",
    "alpha": 0.3,
    "mixture": "detached",
    "temperature": 2.0,
    "square": True,
    "entropy": "left",
    "support": "student",
    "top_k": 3,
    "tail": "none",
    "floor": -5.0,
    "at_least_zero": True,
}
"""Another value of each field but the kind."""


@pytest.mark.parametrize("kind", get_args(Kind))
def test_conventions_that_give_other_numbers_are_told_in_other_words(kind: Any) -> None:
    """A field has a say where changing it changes loss or gradient of some logits; then it must be in the words."""
    support = "vocabulary" if kind == "ranking" else "teacher"
    base = Measure(kind=kind, support=support, top_k=2, beta=0.3, temperature=1.5, tail="none")
    base = replace(base, tail="bucket") if kind != "forward" else base
    found = numbers(base)
    seen = set()
    for name, value in CHANGES.items():
        if value == getattr(base, name) or (name == "support" and kind == "ranking"):
            continue
        other = replace(base, **{name: value})
        if not torch.equal(numbers(other), found):
            seen.add(name)
            assert told(other) != told(base), name
    assert "temperature" in seen or kind == "ranking"
    assert told(base, "sequence_mean") != told(base)


def numbers(measure: Measure) -> torch.Tensor:
    """The values of some logits, and their gradient."""
    random = torch.Generator().manual_seed(1)
    student = (4 * torch.randn(6, 5, generator=random, dtype=torch.float64)).requires_grad_()
    value = divergence(student, 4 * torch.randn(6, 5, generator=random, dtype=torch.float64), measure)
    value.sum().backward()
    assert student.grad is not None
    return torch.cat([value.detach().flatten(), student.grad.flatten()])


@pytest.mark.parametrize(
    "written",
    [
        {"like": "trl"},
        {"like": "verl"},
        {"like": "torchtune"},
        {"like": "torchtune", "kind": "reverse"},
        {"like": "verl", "support": "teacher", "top_k": 2},
        {"like": "kdflow", "kind": "jsd", "beta": 0.1},
        {"like": "distillkit", "temperature": 2.0},
        {"like": "distillm", "kind": "skewed_reverse"},
    ],
)
def test_a_convention_is_taken_where_it_is_so_anyway_too(written: dict[str, Any]) -> None:
    assert config(live={"teacher": "t", "divergence": written}).live is not None


# --- options without an effect ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"beta": 0.3}, "live.divergence.beta changes nothing with kind forward"),
        ({"kind": "reverse", "beta_on": "student"}, "beta_on changes nothing with kind reverse"),
        ({"kind": "jsd", "alpha": 0.2}, "alpha changes nothing with kind jsd: remove it, or take kind skewed_forward"),
        ({"kind": "skewed_forward", "mixture": "detached"}, "mixture changes nothing with kind skewed_forward"),
        ({"kind": "reverse", "entropy": "left"}, "entropy changes nothing with kind reverse"),
        ({"square": True}, "square changes nothing at temperature 1"),
        ({"square": True, "temperature": 1.0}, "square changes nothing at temperature 1"),
        ({"tail": "none"}, "tail changes nothing where the whole vocabulary is compared"),
        ({"floor": -10.0}, "floor changes nothing where the whole vocabulary is compared"),
        ({"top_k": 8}, "top_k changes nothing where the whole vocabulary is compared"),
        ({"kind": "ranking", "top_k": 5, "temperature": 2.0}, "temperature changes nothing with kind ranking"),
        ({"kind": "ranking"}, "give top_k"),
        ({"kind": "ranking", "top_k": 5, "support": "teacher"}, "remove support"),
        ({"support": "student"}, "support: student has the top_k likeliest tokens: give top_k"),
        ({"kind": "reverse", "support": "teacher", "top_k": 4, "tail": "teacher"}, "kind reverse is infinite"),
        ({"kind": "reverse", "support": "teacher", "top_k": 4, "like": "distillkit"}, "kind reverse is infinite"),
        ({"kind": "hrl"}, "Input should be"),
        ({"hrl_topk": 5}, "Extra inputs are not permitted"),
    ],
)
def test_an_option_of_a_divergence_that_changes_nothing_is_refused(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(live={**LIVE, "divergence": written})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "there is no signal"),
        ({"live": {}}, "give either `teacher` or `teachers`"),
        ({"live": {**LIVE, "teachers": [LIVE]}}, "give either `teacher` or `teachers`"),
        ({"live": {"teachers": [LIVE, {**LIVE, "for": {"domain": "math"}}]}}, "it stands last"),
        (
            {"live": {"teachers": [{**LIVE, "for": {"domain": "a"}}] * 2}},
            "an earlier teacher takes all problems of the one for domain a,",
        ),
        (
            {
                "live": {
                    "teachers": [{**LIVE, "for": {"domain": "a"}}, {**LIVE, "for": {"domain": "a", "language": "b"}}]
                }
            },
            "an earlier teacher takes all problems of the one for domain a, language b,",
        ),
        ({"on_policy": {"teachers": [{**LIVE, "for": {"id": "p1"}}]}}, "on_policy.teachers cannot be chosen by `id`"),
        ({"live": {"teacher": {"use": "elsewhere"}}}, "'elsewhere' tells log-probs of given tokens"),
        ({"on_policy": {**OWN, "teacher": {"use": "elsewhere"}}}, "'elsewhere' tells log-probs of given tokens"),
        ({"on_policy": {"teacher": "t", "divergence": {"kind": "jsd"}}}, "set signal: full"),
        ({"cached": {**CACHED, "divergence": {"support": "student", "top_k": 4}}}, "is not what a cache holds"),
        ({"cached": {**CACHED, "divergence": {"kind": "ranking", "top_k": 4}}}, "which no cache holds"),
        ({"traces": {}, "mix": "together", "lr": 1e-3}, "there is only traces"),
        ({"traces": {}, "live": LIVE, "mix": "together"}, "give `lr` beside mix"),
        ({"traces": {"lr": 1e-3}, "live": LIVE, "mix": "together", "lr": 1e-3}, "traces.lr changes nothing"),
        ({"traces": {}, "live": LIVE, "lr": 1e-3}, "lr changes nothing where signals come in turn"),
        ({"traces": {"weight": 2.0}, "live": LIVE}, "traces.weight weighs signals of one update"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"cached": {**CACHED, "divergence": {"kind": "jsd", "beta": 0.1, "tail": "renormalised", "square": True}}},
        {"live": {**LIVE, "divergence": {"kind": "ranking", "top_k": 5}}},
        {"on_policy": {**OWN, "divergence": {"like": "distillm", "kind": "skewed_reverse", "alpha": 0.2}}},
        {"on_policy": {"teacher": {"use": "elsewhere"}}},
        {"traces": {}, "cached": CACHED, "mix": "together", "lr": {"peak": 1e-3, "decay": "cosine"}},
    ],
)
def test_options_survive_being_written_out_in_full(options: Any) -> None:
    """A run goes on from a recipe with every default filled in: nothing may then look like a slip."""
    made = config(**options)
    assert config(**made.model_dump(by_alias=True)) == made


def test_teachers_for_the_same_value_of_other_fields_are_told_apart() -> None:
    by_domain, by_language, rest = (
        {**LIVE, **given} for given in ({"for": {"domain": "en"}}, {"for": {"language": "en"}}, {})
    )
    named, plain = (
        config(live={"teachers": [first, by_language, rest]}).live
        for first in (by_domain, by_language | {"for": {"language": "zh"}})
    )
    assert named is not None
    assert plain is not None
    assert [named.label(each) for each in named.teachers] == ["domain=en", "language=en", "rest"]
    assert [plain.label(each) for each in plain.teachers] == ["zh", "en", "rest"]


# --- what the plan is told -------------------------------------------------------------------------


def test_together_an_update_has_the_tokens_of_all_signals() -> None:
    signals = {"traces": {"batch_tokens": 100}, "on_policy": {"teacher": "t", "prompts": 2, "samples": 3}}
    assert Distill(config(**signals)).update_tokens(50) == 300
    assert Distill(config(**signals, mix="together", lr=1e-3)).update_tokens(50) == 400
    assert Distill(config(traces={"batch_tokens": 100}, cached=CACHED)).update_tokens(20_000) == 20_000


def test_a_cache_needs_neither_teacher_nor_data() -> None:
    trainer = Distill(config(cached=CACHED))
    assert (trainer.reads, trainer.models_beside) == (frozenset(), {})


def test_steps_are_known_where_no_data_decides() -> None:
    assert Distill(config(on_policy={"teacher": "t", "steps": 7})).planned_steps == 7
    assert Distill(config(on_policy={"teacher": "t"}, traces={})).planned_steps is None
