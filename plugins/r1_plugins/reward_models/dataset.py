"""A stage's scored answers, ready to learn from: the part that is learned, the part held out, and all counts.

What does not suffice is refused with its counts; what is left out is told in the metrics of the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r1_plugins.reward_models.examples import Example, Usable, chosen_longer, labelled, pairs, split, usable
from r1core.contexts import TrainContext
from r1core.errors import RecipeError, RefusedError

if TYPE_CHECKING:
    from r1_plugins.reward_models.trainer import RewardModelTrainer

WHERE = "trainer reward_model"
REASONS = ("other_problems", "not_scored", "no_answer")
"""Why an answer is left out."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is learned from, what is held out, and the counts as metrics."""

    learned: list[Example]
    held_out: list[Example]
    told: dict[str, float]


def dataset(context: TrainContext, config: RewardModelTrainer.Config) -> Dataset:
    """From the stage's data. Raises RecipeError or RefusedError where it does not suffice."""
    answers, left_out = usable(context.answers(), context.policy, sees=config.sees, only=config.only)
    if not answers:
        counts = ", ".join(f"{left_out[reason]} {reason.replace('_', ' ')}" for reason in REASONS)
        raise RecipeError(
            f"there is no answer to learn from; left out: {counts}",
            where=WHERE,
            fix="give `data` of stages that score answers, and look at `only` and `sees`",
        )
    told = {f"data/{reason}": float(left_out[reason]) for reason in REASONS}
    if config.objective == "pointwise":
        examples = labelled(answers)
    else:
        examples, without = _pairs(answers, config)
        told |= {"pairs/problems_without": float(without), "pairs/chosen_longer": chosen_longer(examples)}
    learned, held_out = split(examples, config.held_out)
    _require(learned, "learned from", config, of=len(examples))
    if config.held_out:
        _require(held_out, "held out", config, of=len(examples))
    told |= {"data/answers": float(len(answers)), "data/learned": float(len(learned))}
    return Dataset(learned=learned, held_out=held_out, told=told)


def _pairs(answers: Sequence[Usable], config: RewardModelTrainer.Config) -> tuple[list[Example], int]:
    examples, without = pairs(answers, margin=config.margin, most=config.pairs_per_problem)
    if not examples:
        raise RefusedError(
            f"{len(answers)} answers to {without} problems make no pair whose scores differ by more than "
            f"{config.margin:g}",
            where=WHERE,
            fix="sample more answers to each problem, or lower `margin`",
        )
    return examples, without


def _require(part: Sequence[Example], what: str, config: RewardModelTrainer.Config, *, of: int) -> None:
    """Refuse a part that nothing can be learned from, or measured on."""
    fix = f"give it more problems, or change `held_out`: it is {config.held_out:g} of the questions"
    if not part:
        raise RefusedError(f"of {of} {config.objective} examples none is {what}", where=WHERE, fix=fix)
    good = round(sum(example.label for example in part))
    if config.objective == "pointwise" and good in (0, len(part)):
        counts = f"{good} good and {len(part) - good} bad ones are {what}"
        raise RefusedError(f"of {of} answers {counts}: it takes both", where=WHERE, fix=fix)
