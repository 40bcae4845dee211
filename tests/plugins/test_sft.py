"""Supervised fine-tuning: cross-entropy on answers or documents, in the data's batches, at the scheduled rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_training import ToyContext, problem

from r1_plugins.sft import Sft
from r1core.errors import RecipeError
from r1core.losses import CrossEntropy, PolicyGradient
from r1core.nn import TokenView
from r1core.types import Problem, Step

DATA = [
    *(Problem(id=f"a{n}", messages=problem("ask").messages, completion="y" * n) for n in range(1, 9)),
    *(Problem(id=f"d{n}", completion="z" * n) for n in range(2, 10)),
]


def train(context: ToyContext, **options: Any) -> list[Step]:
    return list(Sft(Sft.Config.model_validate(options)).run(context))


def test_it_reads_data_and_lets_the_data_decide_how_long() -> None:
    trainer = Sft(Sft.Config())
    assert trainer.reads == {"data"}
    assert trainer.planned_steps is None


def test_every_text_is_learned_once_an_epoch() -> None:
    context = ToyContext(examples=DATA)
    steps = train(context, batch_tokens=30, epochs=2)
    learned = [sequence.ids.tolist() for batch in context.policy.updates for sequence in batch]
    texts = [context.policy.document_ids([d.completion or ""])[0].tolist() for d in DATA[8:]]
    asked = context.policy.prompt_ids(problem("ask").messages).tolist()
    texts += [asked + context.policy.completion_ids(d.completion or "").tolist() for d in DATA[:8]]
    assert sorted(learned) == sorted(texts * 2)
    assert len(steps) == len(context.policy.updates) > 4
    assert all(isinstance(loss, CrossEntropy) for loss in context.policy.losses)


def test_prompts_do_not_count_and_weights_sum_to_one() -> None:
    context = ToyContext(examples=DATA)
    train(context, batch_tokens=40)
    for batch in context.policy.updates:
        counted = [s.columns["weight"][1 if s.start == 0 else 0 :] for s in batch]
        assert sum(weight.sum() for weight in counted) == pytest.approx(1)
        assert {s.start for s in batch} <= {0, len("ask")}


def test_the_rate_follows_the_schedule() -> None:
    context = ToyContext(examples=DATA)
    lr = {"peak": 1.0, "warmup_steps": 2, "decay": "linear"}
    steps = train(context, batch_tokens=1, lr=lr)
    wanted = [0.5, 1.0, *(1 - done / 14 for done in range(14))]
    assert context.policy.rates == pytest.approx(wanted)
    assert [step.metrics["learning_rate"] for step in steps] == context.policy.rates
    assert set(steps[0].metrics) == {"loss", "grad_norm", "learning_rate", "num_tokens"}


def test_an_extension_goes_through_the_order_of_the_data_again() -> None:
    context = ToyContext(examples=DATA, extra=(4,))
    train(context, batch_tokens=1, bucket=1)
    learned = [batch[0].ids.tolist() for batch in context.policy.updates]
    assert len(learned) == 20
    assert learned[16:] == [learned[place] for place in (0, 4, 8, 12)]


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(RecipeError, match="nothing to learn"):
        train(ToyContext(examples=[problem("ask")]))


@pytest.mark.parametrize(("options", "positions"), [({}, 9), ({"longest": 9}, 100), ({"longest": 9}, None)])
def test_texts_longer_than_the_model_has_positions_are_left_out_whole_and_counted(
    options: dict[str, Any], positions: int | None
) -> None:
    context = ToyContext(examples=DATA)
    context.policy.positions = positions
    train(context, **options)
    learned = sorted(len(sequence.ids) for batch in context.policy.updates for sequence in batch)
    assert learned == sorted([*range(5, 10), *range(2, 10)]), "an answer to a prompt of 3, with its end token, or none"
    assert context.notes[0].startswith("3 of 16 texts are left out: they have more than 9 tokens")
    assert context.told["left_out"]["data"].startswith("3 of 16 texts of more than 9 tokens")


def test_a_text_that_fits_to_the_last_position_is_learned_and_nothing_is_said() -> None:
    context = ToyContext(examples=DATA)
    context.policy.positions = 12
    train(context)
    assert sum(map(len, context.policy.updates)) == 16
    assert (context.notes, context.told) == ([], {})


def test_data_of_which_no_text_fits_is_refused() -> None:
    context = ToyContext(examples=DATA[7:8])
    context.policy.positions = 11
    with pytest.raises(RecipeError, match=r"all 1 texts have more than 11 tokens.*the shortest has 12"):
        train(context)


def test_cross_entropy_and_policy_gradient_are_what_they_say() -> None:
    logprob = torch.tensor([-0.5, -2.0])
    advantage = torch.tensor([3.0, -1.0])
    index = torch.zeros(2, dtype=torch.long)
    view = TokenView(columns={"advantage": advantage}, sequence=index, targets=index, given={"logprob": logprob})
    assert CrossEntropy()(view).tolist() == [0.5, 2.0]
    assert PolicyGradient()(view).tolist() == [1.5, -2.0]
    assert CrossEntropy.reads == PolicyGradient.reads == {"logprob"}


def test_a_curriculum_stays_in_order() -> None:
    context = ToyContext(examples=DATA)
    train(context, batch_tokens=1, bucket=1)
    assert [batch[0].start for batch in context.policy.updates] == [3] * 8 + [0] * 8
    assert np.diff([len(batch[0].ids) for batch in context.policy.updates[:8]]).tolist() == [1] * 7
