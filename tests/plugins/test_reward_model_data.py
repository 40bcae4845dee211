"""What a reward model learns from: what is shown of an answer, pairs and labels, what is held out, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1_plugins.reward_models import RewardModelTrainer
from r1_plugins.reward_models.dataset import Dataset, dataset
from r1_plugins.reward_models.examples import Example, Usable, chosen_longer, labelled, pairs, split
from r1_plugins.reward_models.objective import accuracy, auc, logistic
from r1_plugins.reward_models.text import Sees, scored_sequence
from r1core.errors import RecipeError, RefusedError
from r1core.types import Answer, Message, Problem, Response, Score, Tokens, TrainSequence

LOST = Score(value=float("nan"), status="infrastructure")


class Letters:
    """A tokenizer of letters: a prompt is the last message's content, an answer ends in "."."""

    def __init__(self, opens: str = "") -> None:
        self.opens = opens

    def prompt_ids(self, messages: Sequence[Message]) -> Tokens:
        goes_on = messages[-1]["role"] == "assistant"
        asked = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        return self.ids(asked + ":" + (messages[-1]["content"] if goes_on else self.opens))

    def prefilled(self, messages: Sequence[Message]) -> str:
        return messages[-1]["content"] if messages[-1]["role"] == "assistant" else self.opens

    def completion_ids(self, text: str) -> Tokens:
        return self.ids(text + ".")

    def ids(self, text: str) -> Tokens:
        return np.array([ord(letter) for letter in text], dtype=np.int64)


class Stage:
    """A context that has answers."""

    def __init__(self, answers: list[Answer]) -> None:
        self.policy = Letters()
        self._answers = answers

    def answers(self) -> list[Answer]:
        return self._answers


def problem(name: str = "p", *, start: str = "", domain: str = "general") -> Problem:
    messages = [{"role": "user", "content": name}]
    messages += [{"role": "assistant", "content": start}] if start else []
    return Problem(id=name, messages=tuple(messages), domain=domain)


def answer(name: str, text: str, score: float | Score, *, domain: str = "general") -> Answer:
    value = score if isinstance(score, Score) else Score(value=score)
    return Answer(problem=problem(name, domain=domain), response=Response.parse(f"<think>t</think>{text}"), score=value)


def shown(
    text: Letters, sees: Sees, written: str, *, prefilled: str = "", asked: Problem | None = None
) -> tuple[str, int]:
    """What is scored as text, and how much of it counts."""
    found = scored_sequence(text, asked or problem(), Response.parse(written, prefilled=prefilled), sees)
    assert found is not None
    return "".join(chr(token) for token in found.ids), len(found.ids) - found.start


# --- what is shown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens", "prefilled", "written", "answer_shown", "response_shown"),
    [
        ("", "", "<think>t</think> yes", "p:yes.", "p:<think>t</think> yes."),
        ("", "", "<think>t</think><answer> yes </answer>", "p:yes.", "p:<think>t</think><answer> yes </answer>."),
        ("<think>", "<think>", "t</think> yes", "p:<think></think>yes.", "p:<think>t</think> yes."),
        ("<think>\n", "<think>", "t</think> yes", "p:<think>\n</think>yes.", "p:<think>\nt</think> yes."),
        ("", "<think>", "t</think> yes", "p:yes.", "p:<think>t</think> yes."),
        ("<think>", "", "no</think>yes", "p:<think></think>yes.", "p:<think></think>no</think>yes."),
    ],
)
def test_the_prompt_goes_on_with_what_is_seen_and_ends(
    opens: str, prefilled: str, written: str, answer_shown: str, response_shown: str
) -> None:
    for sees, wanted in (("answer", answer_shown), ("response", response_shown)):
        found, counted = shown(Letters(opens), sees, written, prefilled=prefilled)
        assert found == wanted + "."  # the end token is scored where the one that stands for nothing is predicted
        assert counted == 1


def test_a_given_start_belongs_to_the_response_and_not_to_the_answer() -> None:
    asked = problem(start="<think>a")
    assert shown(Letters(), "response", "b</think>c", prefilled="<think>a", asked=asked)[0] == "p:<think>ab</think>c.."
    assert shown(Letters(), "answer", "b</think>c", prefilled="<think>a", asked=asked)[0] == "p:c.."


def test_what_the_reward_is_shown_of_an_answer_is_what_the_trainer_was() -> None:
    whole = Response.parse("t</think> yes", prefilled="<think>")
    stripped = Response(text="", thinking=None, answer="yes", tagged=False)  # as the core shows `sees: answer`
    ids = [scored_sequence(Letters("<think>"), problem(), response, "answer") for response in (whole, stripped)]
    assert ids[0] is not None
    assert ids[1] is not None
    assert ids[0].ids.tolist() == ids[1].ids.tolist()


def test_without_a_final_answer_there_is_nothing_to_see() -> None:
    assert scored_sequence(Letters(), problem(), Response.parse("<think> and on"), "answer") is None
    assert shown(Letters(), "response", "<think> and on")[0] == "p:<think> and on.."


# --- pairs and labels -----------------------------------------------------------------------------


def fact(name: str, score: float, length: int = 3, *, mark: int = 0) -> Usable:
    ids = np.append(np.full(length, 7), mark)
    sequence = TrainSequence(ids=ids, start=length, columns={})
    return Usable(id=name, question=name, sequence=sequence, score=score)


def made(answers: list[Usable], *, margin: float = 0.0, most: int = 1) -> list[tuple[int, int]]:
    """Pairs as the marks of (chosen, rejected)."""
    found, _ = pairs(answers, margin=margin, most=most)
    assert all((e.signs, e.label) == ((1.0, -1.0), 1.0) for e in found)
    return [(int(e.sequences[0].ids[-1]), int(e.sequences[1].ids[-1])) for e in found]


def test_the_best_goes_against_the_worst_first() -> None:
    own = [fact("p", score, mark=mark) for mark, score in enumerate([0.5, 0.0, 1.0, 0.9])]
    assert made(own) == [(2, 1)]
    assert made(own, most=3) == [(2, 1), (3, 1), (0, 1)]
    assert made(own, most=99) == [(2, 1), (3, 1), (0, 1), (2, 0), (3, 0), (2, 3)]
    assert made(own, margin=0.5, most=99) == [(2, 1), (3, 1)]


def test_pairs_stay_within_a_problem_and_differ() -> None:
    own = [fact("p", 1.0, mark=1), fact("q", 0.0, mark=2), fact("q", 0.0, mark=3), fact("r", 1.0), fact("r", 0.0)]
    found, without = pairs(own, margin=0.0, most=9)
    assert (found, without) == ([], 3)


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 4)), max_size=12), st.integers(0, 3), st.integers(1, 5)
)
def test_every_pair_is_in_order_and_none_is_missing(rows: list[tuple[str, int]], margin: int, most: int) -> None:
    own = [fact(name, float(score), mark=mark) for mark, (name, score) in enumerate(rows)]
    found = made(own, margin=margin, most=most)
    for name in {name for name, _ in rows}:
        possible = sorted(
            (
                rows[a][1] - rows[b][1]
                for a in range(len(rows))
                for b in range(len(rows))
                if rows[a][0] == rows[b][0] == name
            ),
            reverse=True,
        )
        here = [rows[a][1] - rows[b][1] for a, b in found if rows[a][0] == name]
        assert here == [gap for gap in possible if gap > margin][:most]
        assert all(rows[b][0] == name for a, b in found if rows[a][0] == name)


def test_labels_begin_at_one_half() -> None:
    assert [e.label for e in labelled([fact("p", score) for score in (0.0, 0.49, 0.5, 1.0)])] == [0, 0, 1, 1]


def test_longer_chosen_answers_are_counted() -> None:
    def of(*lengths: tuple[int, int]) -> list[Example]:
        return [pairs([fact("p", 1.0, a), fact("p", 0.0, b, mark=1)], margin=0, most=1)[0][0] for a, b in lengths]

    assert chosen_longer(of((5, 3), (3, 5), (5, 3), (9, 3))) == 0.75
    assert chosen_longer(of((4, 4))) == 0.5


# --- what is held out -------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=40), st.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_a_question_is_on_one_side(names: list[str], share: float) -> None:
    examples = labelled([fact(name, 1.0) for name in names])
    learned, held = split(examples, share)
    assert len(learned) + len(held) == len(examples)
    assert not {e.question for e in learned} & {e.question for e in held}
    assert len({e.question for e in held}) == (max(1, round(share * len(set(names)))) if share else 0)


@given(st.permutations("abcdefghij"))
def test_which_side_does_not_depend_on_the_order(names: list[str]) -> None:
    def held(order: Sequence[str]) -> set[str]:
        return {e.question for e in split(labelled([fact(name, 1.0) for name in order]), 0.3)[1]}

    assert held(names) == held("abcdefghij")


# --- what does not suffice ------------------------------------------------------------------------


def prepared(answers: list[Answer], **options: Any) -> Dataset:
    stage: Any = Stage(answers)
    return dataset(stage, RewardModelTrainer.Config.model_validate(options))


def some(count: int) -> list[Answer]:
    return [answer(f"q{n}", text, score) for n in range(count) for text, score in (("long one", 1.0), ("bad", 0.0))]


def test_what_is_left_out_is_told() -> None:
    unclosed = Answer(problem=problem("q0"), response=Response.parse("<think>"), score=Score(value=1.0))
    rows = [*some(10), answer("x", "y", 1.0, domain="math"), answer("q1", "z", LOST), unclosed]
    found = prepared(rows, only={"domain": "general"})
    assert found.told == {
        "data/other_problems": 1.0,
        "data/not_scored": 1.0,
        "data/no_answer": 1.0,
        "data/answers": 20.0,
        "data/learned": 9.0,
        "pairs/problems_without": 0.0,
        "pairs/chosen_longer": 1.0,
    }
    assert len(found.held_out) == 1


def test_no_answer_is_refused_with_the_reasons() -> None:
    with pytest.raises(RecipeError, match="left out: 4 other problems, 0 not scored, 0 no answer"):
        prepared(some(2), only={"domain": "math"})


def test_no_pair_is_refused() -> None:
    with pytest.raises(RefusedError, match="6 answers to 3 problems make no pair whose scores differ by more than 1"):
        prepared(some(3), margin=1.0)


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (1, {}, "of 1 pairwise examples none is learned from"),
        (1, {"objective": "pointwise"}, "of 2 pointwise examples none is learned from"),
    ],
)
def test_too_few_are_refused(count: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        prepared(some(count), **options)


def test_one_kind_of_answer_is_refused_on_either_side() -> None:
    good = [answer(f"q{n}", "yes", 1.0) for n in range(10)]
    with pytest.raises(RefusedError, match="of 10 answers 9 good and 0 bad ones are learned from"):
        prepared(good, objective="pointwise")
    held = split(labelled([fact(a.problem.id, 1.0) for a in good]), 0.1)[1][0].question
    bad = [answer(a.problem.id, "no", 0.0) for a in good if a.problem.id != held]
    with pytest.raises(RefusedError, match="0 bad ones are held out"):
        prepared([*good, *bad], objective="pointwise")


def test_nothing_need_be_held_out() -> None:
    found = prepared(some(1), held_out=0)
    assert (len(found.learned), found.held_out) == (1, [])


# --- numbers ------------------------------------------------------------------------------------


def test_losses_are_those_of_the_book() -> None:
    # - log sigmoid(1.5 - 0.5) and - log sigmoid(-2): Bradley-Terry on two pairs
    pairwise, slopes = logistic(np.array([1.0, -2.0]), np.ones(2))
    assert pairwise == pytest.approx((0.3132616875 + 2.1269280110) / 2, abs=1e-9)
    assert slopes.tolist() == pytest.approx([-0.2689414214 / 2, -0.8807970780 / 2], abs=1e-9)
    # cross-entropy of scores 0.3 (good) and 1.2 (bad)
    pointwise, slopes = logistic(np.array([0.3, 1.2]), np.array([1.0, 0.0]))
    assert pointwise == pytest.approx((0.5543552444 + 1.4632824673) / 2, abs=1e-9)
    assert slopes.tolist() == pytest.approx([-0.4255574832 / 2, 0.7685247835 / 2], abs=1e-9)


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=9))
def test_far_scores_overflow_nothing(logits: list[float]) -> None:
    loss, slopes = logistic(np.array(logits), np.ones(len(logits)))
    assert np.isfinite(loss)
    assert np.all((slopes <= 0) & (slopes >= -1 / len(logits)))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=20))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    good, bad = ([value for value, label in rows if label is wanted] for wanted in (True, False))
    if not good or not bad:
        return
    wanted = np.mean([(g > b) + 0.5 * (g == b) for g in good for b in bad])
    values, labels = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    assert auc(values, labels) == pytest.approx(wanted)


def test_accuracy_counts_ties_half() -> None:
    assert accuracy(np.array([2.0, 0.0, -1.0, -1.0]), np.array([1.0, 1.0, 1.0, 0.0])) == 0.625
