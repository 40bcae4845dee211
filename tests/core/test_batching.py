"""From data to weighted batches: every token's share of a step, whatever the split; every sequence once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1core.batching import Supervision, encode, imitate, length_batches, require_same_start, supervised, weighted
from r1core.errors import RecipeError
from r1core.types import Problem, Tokens, TrainSequence

USER = ({"role": "user", "content": "how many"},)
LENGTHS = st.lists(st.integers(1, 60), max_size=60)
SHAPES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20)), min_size=1, max_size=12)


def sequence(start: int, counted: int) -> TrainSequence:
    return TrainSequence(ids=np.arange(start + counted), start=start, columns={})


def shares(sequences: Sequence[TrainSequence]) -> list[np.ndarray]:
    """The weights of the tokens that a policy counts: the first of a document has no predictor."""
    return [s.columns["weight"][1 if s.start == 0 else 0 :] for s in sequences]


# --- weights -----------------------------------------------------------------------------------


@given(SHAPES)
def test_the_token_mean_gives_every_token_the_same_share_of_one(shapes: list[tuple[int, int]]) -> None:
    tokens = np.concatenate(shares(weighted([sequence(*shape) for shape in shapes], "token_mean")))
    assert np.ptp(tokens) == 0 if tokens.size else True
    assert tokens.sum() == pytest.approx(1.0 if tokens.size else 0.0, abs=1e-6)


@given(SHAPES, st.randoms(use_true_random=False))
def test_no_split_or_order_changes_a_tokens_share(shapes: list[tuple[int, int]], random: Any) -> None:
    batch = weighted([sequence(*shape) for shape in shapes], "token_mean")
    losses = [np.cos(np.arange(len(share))) for share in shares(batch)]
    whole = sum(float(share @ loss) for share, loss in zip(shares(batch), losses, strict=True))
    parts: list[list[int]] = [[] for _ in range(3)]
    for place in random.sample(range(len(batch)), len(batch)):
        random.choice(parts).append(place)
    split = sum(float(shares([batch[place]])[0] @ losses[place]) for part in parts for place in part)
    assert split == pytest.approx(whole, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(2, 20)), min_size=1, max_size=12))
def test_the_sequence_mean_gives_every_sequence_the_same_share_of_one(shapes: list[tuple[int, int]]) -> None:
    batch = weighted([sequence(*shape) for shape in shapes], "sequence_mean")
    np.testing.assert_allclose([share.sum() for share in shares(batch)], 1 / len(shapes), atol=1e-6)


@given(SHAPES, st.integers(1, 100))
def test_the_constant_divisor_knows_no_length(shapes: list[tuple[int, int]], longest: int) -> None:
    for share in shares(weighted([sequence(*shape) for shape in shapes], "constant", longest=longest)):
        np.testing.assert_allclose(share, 1 / (len(shapes) * longest))


def test_weights_stand_beside_the_columns_that_are_there() -> None:
    given_ = TrainSequence(ids=np.arange(5), start=2, columns={"advantage": np.ones(3)})
    (found,) = weighted([given_], "token_mean")
    assert set(found.columns) == {"advantage", "weight"}
    assert len(found.columns["weight"]) == 3
    assert "weight" not in given_.columns
    assert weighted([], "sequence_mean") == []


# --- batches by length -------------------------------------------------------------------------


@given(LENGTHS, st.integers(1, 200), st.integers(1, 20), st.integers(0, 2**64 - 1))
def test_every_index_comes_once_within_the_budget(lengths: list[int], budget: int, bucket: int, key: int) -> None:
    batches = length_batches(lengths, batch_tokens=budget, bucket=bucket, key=key)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
        assert len({i // bucket for i in batch}) == 1


@given(LENGTHS, st.integers(1, 20), st.integers(0, 2**64 - 1))
def test_buckets_keep_the_order_of_the_data(lengths: list[int], bucket: int, key: int) -> None:
    batches = length_batches(lengths, batch_tokens=100, bucket=bucket, key=key)
    places = [batch[0] // bucket for batch in batches]
    assert places == sorted(places)


def test_the_key_decides_the_order_of_the_batches() -> None:
    lengths = list(range(1, 65))
    one, again, other = (length_batches(lengths, batch_tokens=64, bucket=64, key=key) for key in (1, 1, 2))
    assert one == again
    assert one != other
    assert sorted(map(sorted, one)) == sorted(map(sorted, other))


# --- from examples to steps --------------------------------------------------------------------


class Words:
    """A policy whose tokens are the lengths of words; records its updates."""

    positions = None

    def __init__(self) -> None:
        self.updates: list[tuple[Any, Any, float]] = []

    def prompt_ids(self, messages: Any) -> Tokens:
        return self._ids(messages[-1]["content"])

    def completion_ids(self, text: str) -> Tokens:
        return np.append(self._ids(text), 0)

    def document_ids(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._ids(text) for text in texts]

    def update(self, sequences: Sequence[TrainSequence], loss: Any, *, lr: float) -> dict[str, float]:
        self.updates.append((list(sequences), loss, lr))
        return {"loss": 2.5, "grad_norm": 0.5}

    @staticmethod
    def _ids(text: str) -> Tokens:
        return np.array([len(word) for word in text.split()], dtype=np.int64)


class Data:
    def __init__(self, *examples: Problem) -> None:
        self.policy = Words()
        self._examples = list(examples)

    def examples(self) -> list[Problem]:
        return self._examples

    @staticmethod
    def key(*parts: int | str) -> int:
        return sum(len(str(part)) + int(part) for part in parts if isinstance(part, int))


def document(text: str | None) -> Problem:
    return Problem(id="d", completion=text)


def answered(text: str | None) -> Problem:
    return Problem(id="a", messages=USER, completion=text)


def test_answers_count_and_prompts_do_not() -> None:
    context: Any = Data(answered("one two"), document("a bb ccc"), answered(None))
    answer, plain = supervised(context, context.examples())
    assert (answer.ids.tolist(), answer.start) == ([3, 4, 3, 3, 0], 2)
    assert (plain.ids.tolist(), plain.start) == ([1, 2, 3], 0)


def test_an_answer_that_was_cut_is_not_taught_to_end() -> None:
    cut = replace(answered("one two"), finish="length")
    policy: Any = Words()
    whole, part, nothing = encode(policy, [answered("one two"), cut, replace(cut, completion="")])
    assert whole.ids.tolist() == [3, 4, 3, 3, 0]
    assert (part.ids.tolist(), part.start) == ([3, 4, 3, 3], 2)
    assert supervised(Data(replace(cut, completion="")), [replace(cut, completion="")]) == []  # type: ignore[arg-type]
    assert len(nothing.ids) == nothing.start


@pytest.mark.parametrize(
    ("written", "opened", "text", "said"),
    [
        ("<think>", "", "a </think> b", "had begun it with '<think>', the model's begins it with ''"),
        ("", "<think>", "a", "had begun it with '', the model's begins it with '<think>'"),
        (None, "<think>", "<think> a </think> b", "the text opens it again"),
        ("<think>", "<think>\n", "a </think> b", ""),
        ("", "<think>", "a </think> b", ""),
        (None, "", "a </think> b", ""),
    ],
)
def test_a_text_that_another_template_began_is_refused(written: str | None, opened: str, text: str, said: str) -> None:
    policy: Any = Words()
    policy.prefilled = lambda messages: opened
    example = replace(answered(text), prefilled=written)
    if not said:
        require_same_start(policy, example, where="here")
        return
    with pytest.raises(RecipeError, match=said) as caught:
        require_same_start(policy, example, where="here")
    assert caught.value.where == "here"
    require_same_start(policy, replace(example, messages=()), where="here")


@pytest.mark.parametrize("empty", [None, "", "alone"])
def test_a_document_without_a_token_to_learn_is_left_out(empty: str | None) -> None:
    context: Any = Data(document(empty), document("a bb"), document(empty))
    assert [s.ids.tolist() for s in supervised(context, context.examples())] == [[1, 2]]


def test_an_epoch_is_every_sequence_once() -> None:
    context: Any = Data(*(document("x " * (2 + number)) for number in range(20)))
    options = Supervision(epochs=3, batch_tokens=30)
    sizes = [len(s.ids) for batch in options.batches(context) for s in batch]
    assert sorted(sizes) == sorted(3 * list(range(2, 22)))
    assert [len(s.ids) for batch in options.batches(context) for s in batch] == sizes
    third = len(sizes) // 3
    assert sizes[:third] != sizes[third : 2 * third]


def test_no_completion_at_all_is_an_error() -> None:
    context: Any = Data(answered(None))
    with pytest.raises(RecipeError, match="nothing to learn from"):
        Supervision().batches(context)


def test_a_supervised_step_is_the_token_mean_at_the_given_rate() -> None:
    context: Any = Data()
    loss: Any = object()
    step = imitate(context, [sequence(2, 3), sequence(1, 5)], loss, 1e-3)
    ((batch, used, lr),) = context.policy.updates
    assert used is loss
    assert lr == 1e-3
    assert np.concatenate(shares(batch)).tolist() == [1 / 8] * 8
    assert step.metrics == {"loss": 2.5, "grad_norm": 0.5, "learning_rate": 1e-3, "num_tokens": 8.0}


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_tokens": 0}, {"bucket": 0}, {"lr": 0}, {"batch": 3}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Supervision.model_validate(wrong)
