"""What curation asks of one trace, or of the answers to one problem: tags, lengths, difficulty, contamination."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from toy_traces import group, reasons, words

from r1_plugins.curation import DifficultyBand, LengthBand, ThinkTags
from r1_plugins.datasets import Decontaminated
from r1_plugins.online import Truncated
from r1_plugins.rejection import AtMost
from r1core.errors import RecipeError
from r1core.store.rows import rollout_row, write_rows
from r1core.types import Verdict

# --- tags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<think>so it is</think> 8", "kept"),
        ("\n<think>so it is</think><answer>8</answer>", "kept"),
        ("it is 8", "no_think"),
        ("so it is</think> 8", "unopened_think"),
        ("</think><think> 8", "unopened_think"),
        ("<think>so it is, wait, no", "unclosed_think"),
        ("<think>a</think> 7 <think>b</think> 8", "several_thinks"),
        ("<think>a <think>b</think> 8", "several_thinks"),
        ("Well. <think>so it is</think> 8", "text_before_think"),
        ("<think> \n </think> 8", "empty_think"),
        ("<think>so it is</think>  ", "no_answer"),
        ("<think>so it is</think><answer></answer>", "no_answer"),
    ],
)
def test_each_way_to_think_wrongly_has_its_reason(text: str, reason: str) -> None:
    assert reasons(ThinkTags(ThinkTags.Config()), group(text)) == [reason]


def test_a_tag_that_the_prompt_opened_counts() -> None:
    tags = ThinkTags(ThinkTags.Config())
    assert reasons(tags, group("so it is</think> 8", prefilled="<think>\n")) == ["kept"]
    assert reasons(tags, group("<think>so it is</think> 8", prefilled="<think>\n")) == ["several_thinks"]


def test_empty_thinking_passes_where_it_may() -> None:
    assert reasons(ThinkTags(ThinkTags.Config(empty=True)), group("<think></think> hello")) == ["kept"]


def test_what_was_cut_off_is_told_offline_as_online() -> None:
    texts = group("<think>so it is</think> 8", finish="length")
    assert reasons(Truncated(Truncated.Config()), texts) == ["truncated"]


# --- difficulty ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([1.0, 0.0, 0.0, 0.0], "kept"),
        ([0.0, 0.0, 0.0, 0.0], "too_hard"),
        ([1.0, 1.0, 1.0, 1.0], "too_easy"),
        ([1.0, None, None, 0.0], "kept"),
        ([1.0, None, None, None], "too_easy"),
        ([None, None, None, None], "not_scored"),
    ],
)
def test_the_share_of_right_answers_decides_for_the_whole_group(scores: list[float | None], reason: str) -> None:
    band = DifficultyBand(DifficultyBand.Config(min=0.25, max=0.5))
    assert reasons(band, group("a", "b", "c", "d", scores=scores)) == [reason] * 4


def test_a_band_of_a_part_that_is_not_there_stops_the_run() -> None:
    with pytest.raises(RecipeError, match="there is no score part 'tests'; present: accuracy"):
        DifficultyBand(DifficultyBand.Config(part="tests")).judge(group("a", scores=[1.0]))
    with pytest.raises(RecipeError, match="there is no scores; problem 'p' has none"):
        DifficultyBand(DifficultyBand.Config()).judge(group("a"))
    with pytest.raises(ValidationError, match="no share lies between"):
        DifficultyBand.Config(min=0.9, max=0.1)


# --- length ----------------------------------------------------------------------------------------


def band(**options: Any) -> LengthBand:
    return LengthBand(LengthBand.Config.model_validate(options))


def test_a_length_is_that_of_a_part_in_a_unit() -> None:
    texts = group("<think>one two three</think> 8", "<think>one</think> 8", "no tags at all")
    assert reasons(band(of="thinking", unit="words", min=2), texts) == ["kept", "too_short", "no_thinking"]
    assert reasons(band(of="thinking", unit="words", max=2), texts) == ["too_long", "kept", "no_thinking"]
    assert reasons(band(of="thinking", min=3, max=13), texts) == ["kept", "kept", "no_thinking"]
    assert reasons(band(unit="tokens", min=1), texts) == ["not_counted"] * 3


def test_quantiles_are_those_of_the_rows_that_another_stage_kept(tmp_path: Path) -> None:
    lengths = [*range(1, 101), 5000]
    own = group(*("x" * length for length in lengths))
    rows = [rollout_row(r, None, Verdict(keep=r.sample < 100, reason="")) for r in own.rollouts]
    write_rows(tmp_path, rows)
    middle = band(quantiles=[0.1, 0.9], data=str(tmp_path))
    said = reasons(middle, own)
    assert said == [*["too_short"] * 9, *["kept"] * 81, *["too_long"] * 11]
    assert reasons(middle, group("x" * 10, "x" * 90, "x" * 91)) == ["kept", "kept", "too_long"]


def test_quantiles_of_a_unit_that_no_row_has_are_refused(tmp_path: Path) -> None:
    own = group("x")
    write_rows(tmp_path, [rollout_row(own.rollouts[0], None, Verdict(keep=True))])
    with pytest.raises(RecipeError, match="no kept row has a length in tokens"):
        band(unit="tokens", quantiles=[0, 1], data=str(tmp_path)).judge(own)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "give `min`"),
        ({"min": 1, "quantiles": [0, 1], "data": "d"}, "give `min`"),
        ({"quantiles": [0, 1]}, "go together"),
        ({"min": 1, "data": "d"}, "go together"),
        ({"min": 5, "max": 4}, "nothing lies between 5 and 4"),
        ({"quantiles": [0.9, 0.1], "data": "d"}, "nothing lies between"),
        ({"of": "answer", "unit": "tokens", "min": 1}, "only whole texts have their tokens counted"),
    ],
)
def test_bands_that_mean_nothing_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        LengthBand.Config.model_validate(options)


def test_the_shortest_of_texts_that_nobody_counted_are_the_shortest_in_characters() -> None:
    shortest = AtMost(AtMost.Config(k=1, rank_by="shortest"))
    assert reasons(shortest, group("four", "two", "three")) == ["more_than_k", "kept", "more_than_k"]


# --- evaluation sets -------------------------------------------------------------------------------


def clean(tmp_path: Path, **options: Any) -> Decontaminated:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"prompt": " ".join(words(30, f"test {i}"))}) + "\n" for i in range(3)))
    return Decontaminated(Decontaminated.Config.model_validate({"against": [str(path)], **options}))


def test_answers_that_quote_an_evaluation_set_say_which_words(tmp_path: Path) -> None:
    quote = " ".join(words(30, "test 1")[5:15])
    ten, nine = f"<think>recall {quote} indeed</think> 8", " ".join(words(30, "test 1")[5:14])
    assert reasons(clean(tmp_path), group(ten, nine, "8")) == [
        f"contaminated ({quote!r} of test.jsonl)",
        "kept",
        "kept",
    ]


def test_a_contaminated_question_takes_all_its_answers_with_it(tmp_path: Path) -> None:
    asked = group("8", "nine", name=" ".join(words(30, "test 2")))
    assert [why[:12] for why in reasons(clean(tmp_path), asked)] == ["contaminated"] * 2
    assert reasons(clean(tmp_path, of="text"), asked) == ["kept", "kept"]
    quote = group(" ".join(words(30, "test 0")))
    assert reasons(clean(tmp_path, of="question"), quote) == ["kept"]
