"""Rule rewards: what they pay for, and why not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1_plugins.rules import Accuracy, Exact, Format, Language, r1_rewards
from r1core.types import Finish, Problem, Response, Score

GOOD = "<think> first 3 + 5 is 8 .</think><answer> 8</answer>"


def accuracy(text: str, reference: Any = "8", *, finish: Finish = "stop", require_tags: bool = True) -> Score:
    rule = Accuracy(Accuracy.Config(require_tags=require_tags))
    return rule.score(Problem(id="p", reference=reference), Response.parse(text, finish=finish))


def format_of(text: str, *, min_thinking_chars: int = 1) -> Score:
    rule = Format(Format.Config(min_thinking_chars=min_thinking_chars))
    return rule.score(Problem(id="p"), Response.parse(text))


def language_of(thinking: str, language: str = "en") -> Score:
    response = Response.parse(f"<think>{thinking}</think><answer> 8</answer>")
    return Language(Language.Config()).score(Problem(id="p", language=language), response)


def test_the_module_registers_its_rules() -> None:
    answers = ["accuracy", "exact", "choice", "numeric", "graded_answers", "json_schema", "sensor"]
    assert [rule.name for rule in r1_rewards()] == [*answers, "format", "language", "length", "overlong", "repetition"]


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        (GOOD, 1.0, "correct"),
        ("<think></think><answer>8</answer>", 1.0, "correct"),
        ("<think> x</think>\n<answer>\n 8 \n</answer>\n", 1.0, "correct"),
        ("<think> x</think><answer> 9</answer>", 0.0, "wrong"),
        ("<think> x</think><answer> 8 8</answer>", 0.0, "wrong"),
        ("<think> x</think><answer> </answer>", 0.0, "no_answer"),
        ("<think> x</think> 8", 0.0, "format"),
        ("<think> x<answer> 8</answer>", 0.0, "format"),
        ("x</think><answer> 8</answer>", 0.0, "format"),
        ("well <think> x</think><answer> 8</answer>", 0.0, "format"),
        ("<think> x</think><think> y</think><answer> 8</answer>", 0.0, "format"),
        ("<think> x</think><answer> 8</answer> or 9", 0.0, "format"),
        ("8", 0.0, "format"),
        ("", 0.0, "format"),
    ],
)
def test_accuracy_pays_for_a_right_answer_in_good_form(text: str, value: float, reason: str) -> None:
    assert accuracy(text) == Score(value=value, reason=reason)


def test_without_required_tags_the_text_after_thinking_is_the_answer() -> None:
    assert accuracy("<think> x</think> 8", require_tags=False).reason == "correct"
    assert accuracy("<think> x</think>", require_tags=False).reason == "no_answer"
    assert accuracy("8", require_tags=False).reason == "format"


def test_an_answer_cut_off_by_the_length_limit_is_truncated() -> None:
    assert accuracy("<think> first 3 +", finish="length") == Score(value=0.0, reason="truncated")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [(8, "correct"), (["eight", "8"], "correct"), (["7", "9"], "wrong"), (" 8\n", "correct"), ("08", "wrong")],
)
def test_a_reference_is_one_answer_or_a_list_of_accepted_ones(reference: Any, reason: str) -> None:
    assert accuracy(GOOD, reference).reason == reason


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        (True, ["true"], ["True", "1", "false"]),
        (False, ["false"], ["False", "0"]),
        (1e-7, ["1e-7", "0.0000001"], ["1e-07", "0.000001", "1e-8"]),
        (2.5e-7, ["2.5e-7", "0.00000025"], ["2.5"]),
        (1e22, ["1e22", "10000000000000000000000"], ["1e+22"]),
        (0.1, ["0.1"], ["1e-1", "0.10"]),
        (72.0, ["72"], ["72.0"]),
        ([1, True], ["1", "true"], ["True"]),
    ],
)
def test_a_value_of_a_json_file_is_what_a_person_writes_for_it(
    reference: Any, right: list[str], wrong: list[str]
) -> None:
    said = {text: accuracy(f"<think></think><answer>{text}</answer>", reference).value for text in [*right, *wrong]}
    assert said == {**dict.fromkeys(right, 1.0), **dict.fromkeys(wrong, 0.0)}


@pytest.mark.parametrize("reference", [{"a": 1}, [{"a": 1}], [["8"]], math.nan, math.inf])
def test_a_reference_that_nobody_answers_letter_for_letter_is_refused(reference: Any) -> None:
    rule = Exact(Exact.Config())
    assert "give a text, a number, true or false" in rule.refuses(Problem(id="p", reference=reference))
    score = accuracy(GOOD, reference)
    assert (score.known, score.reason) == (False, "bad_reference")


@pytest.mark.parametrize("reference", [None, []])
def test_a_problem_without_a_reference_is_never_a_silent_zero(reference: Any) -> None:
    score = accuracy(GOOD, reference)
    assert (score.known, score.reason) == (False, "no_reference")
    assert math.isnan(score.value)


@given(words=st.lists(st.sampled_from("abcdef"), min_size=1), spaces=st.sampled_from([" ", "  ", "\n", "\t "]))
def test_accuracy_does_not_see_white_space(words: list[str], spaces: str) -> None:
    assert accuracy(f"<think></think><answer>{spaces.join(words)}</answer>", " ".join(words)).value == 1.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, ""),
        ("<think></think><answer> 8</answer>", "short_thinking"),
        ("first <think> x</think><answer> 8</answer>", "think_block"),
        ("<think> x<answer> 8</answer>", "think_block"),
        ("<think> x</think></think><answer> 8</answer>", "think_block"),
        ("<think> x</think> 8", "answer_tags"),
        ("<think> x</think><answer> 8", "answer_tags"),
        ("<think> x</think><answer> 8</answer><answer> 9</answer>", "answer_tags"),
        ("<think> x</think><answer> 8</answer> bye", "answer_tags"),
        ("<think> x</think><answer></answer>", "no_answer"),
    ],
)
def test_format_names_the_first_thing_that_is_missing(text: str, reason: str) -> None:
    assert format_of(text) == Score(value=float(not reason), reason=reason)


def test_format_can_ask_for_some_thinking() -> None:
    assert format_of("<think> abc </think><answer> 8</answer>", min_thinking_chars=3).value == 1.0
    assert format_of("<think> ab </think><answer> 8</answer>", min_thinking_chars=3).reason == "short_thinking"


def test_small_talk_needs_no_thinking_where_the_recipe_says_so() -> None:
    for thinking in ("", "\u200b", "<answer>8</answer>"):
        text = f"<think>{thinking}</think><answer>8</answer>"
        assert (format_of(text).reason, format_of(text, min_thinking_chars=0).value) == ("short_thinking", 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "<think></think><answer>8</answer>",
        "<think> \n\t</think><answer>8</answer>",
        "<think>a<think>b</think></think><answer>8</answer>",
        "<think>a<think>b</think><answer>8</answer>",
        "<think>a</think></think><answer>8</answer>",
        "<think>a</think>b</think><answer>8</answer>",
        "<think>a <answer>8</answer></think>",
        "<think><answer>8</answer></think><answer>8</answer>",
        "<think><answer>8</think><answer>8</answer>",
        "<answer>8</answer><think>a</think>",
        "<think>a</think><answer>8</answer><think>b</think>",
        "<think>a</think><answer>8</answer><think>b",
        "<think>a</think><answer><think>b</answer>",
        "```\n<think>a</think><answer>8</answer>\n```",
        "```\n<think>a</think>\n```\n<answer>8</answer>",
        "<think>a\n```\n</think><answer>8</answer>\n```",
        "<think>a\n```xml\n</think><answer>8</answer>",
        "<think>a\n~~~\n</think><answer>8</answer>",
        "<think>a</think>\n```\n<answer>8</answer>\n```",
        *(
            f"<think>{c}</think><answer>8</answer>"
            for c in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u3164\uffa0\u2800\u115f\u00a0"
        ),
        *(
            f"<think>a</think><answer>{c}</answer>"
            for c in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u3164\uffa0\u2800\u115f\u00a0"
        ),
        "<think>\u202e\u2066\x00\x7f\x1b</think><answer>8</answer>",
        "<think>\u0301\ufe0f\U000e0041\ud800\ue000</think><answer>8</answer>",
        "\u200b<think>a</think><answer>8</answer>",
        "<think>a</think>\u200b<answer>8</answer>",
        "<think>a</think><answer>8</answer>\u200b",
        "<think >a</think><answer>8</answer>",
        "\uff1cthink\uff1ea\uff1c/think\uff1e<answer>8</answer>",
    ],
    ids=ascii,
)
def test_no_hack_of_the_form_is_paid(text: str) -> None:
    assert format_of(text).value == 0.0
    assert format_of(text.removeprefix("<think>")).value == 0.0
    if text.startswith("<think>"):
        opened = Response.parse(text.removeprefix("<think>"), prefilled="<think>")
        assert Format(Format.Config()).score(Problem(id="p"), opened).value == 0.0


@pytest.mark.parametrize(
    "thinking", ["x", ".", "算", "é", "I put it in <answer> tags", "a\n```\nb\n```\nc", "`</answer>` closes it"]
)
def test_form_is_paid_with_any_thinking_that_can_be_seen(thinking: str) -> None:
    assert format_of(f"<think>{thinking}</think><answer>8</answer>").value == 1.0
    opened = Response.parse(f"{thinking}</think><answer>8</answer>", prefilled="<think>")
    assert Format(Format.Config()).score(Problem(id="p"), opened).value == 1.0


@pytest.mark.parametrize(
    ("thinking", "english", "chinese"),
    [
        (" first 3 + 5 is 8 .", 1.0, 0.0),
        (" 首先 3 + 5 得 8 。", 0.0, 1.0),
        (" first 3 + 5 得 8 . then 8 - 2 is 6 .", 0.75, 0.25),
        (" 我们先计算它 then stop", 2 / 3, 1 / 3),
        (" a b 3 + 5", 0.0, 0.0),
        ("", 0.0, 0.0),
        (" 首先 $x + total$ 得 8", 0.0, 1.0),
        (" 首先\n```python\nprint('one two')\n```\n得", 0.0, 1.0),
        (" naïve café", 1.0, 0.0),
    ],
)
def test_language_is_the_share_of_target_words(thinking: str, english: float, chinese: float) -> None:
    assert language_of(thinking, "en").value == pytest.approx(english)
    assert language_of(thinking, "zh").value == pytest.approx(chinese)


def test_language_says_why_it_is_zero_or_partial() -> None:
    assert [language_of(text).reason for text in (" one", " one 二", " 1 + 2")] == ["one_language", "mixed", "no_words"]
    unclosed = Response.parse("<think> one two")
    assert Language(Language.Config()).score(Problem(id="p"), unclosed) == Score(value=0.0, reason="think_block")


def test_language_does_not_judge_languages_it_does_not_know() -> None:
    score = language_of(" ein wort", "de")
    assert (score.known, score.reason) == (False, "unknown_language")


@given(st.lists(st.sampled_from(["first", "then", "首先", "然后", "3", "+", "."])))
def test_the_shares_of_both_languages_sum_to_one(pieces: list[str]) -> None:
    thinking = " ".join(pieces)
    shares = language_of(thinking, "en").value + language_of(thinking, "zh").value
    assert shares == pytest.approx(1.0 if any(len(piece) > 1 for piece in pieces) else 0.0)


@pytest.mark.parametrize(
    ("reference", "right"), [(72, "72"), (72.0, "72"), (0.5, "0.5"), ([72.0, "seventy-two"], "72")]
)
def test_a_number_of_a_json_file_is_what_a_person_writes(reference: object, right: str) -> None:
    problem = Problem(id="n", reference=reference)
    found = Accuracy(Accuracy.Config()).score(problem, Response.parse(f"<think>x</think><answer>{right}</answer>"))
    assert (found.value, found.reason) == (1.0, "correct")


def test_an_empty_reference_is_none_at_all() -> None:
    problem = Problem(id="n", reference=" ")
    found = Accuracy(Accuracy.Config()).score(problem, Response.parse("<think>x</think><answer>x</answer>"))
    assert (found.status, found.reason) == ("infrastructure", "no_reference")


def exact(answer: str, reference: Any = "Oslo", **options: Any) -> float:
    rule = Exact(Exact.Config(**options))
    return rule.score(
        Problem(id="p", reference=reference), Response.parse(f"<think>x</think><answer>{answer}</answer>")
    ).value


@pytest.mark.parametrize(
    ("answer", "reference", "options"),
    [
        ("oslo", "OSLO", {"case": False}),
        ("STRASSE", "straße", {"case": False}),
        ("x+1", "x + 1", {"spaces": "none"}),
        ("cafe\u0301", "café", {"unicode": "nfc"}),
        ("\uff18", "8", {"unicode": "nfkc"}),
        ("\uff2fSLO", " oslo ", {"unicode": "nfkc", "case": False}),
    ],
)
def test_an_option_of_exact_lets_pass_what_it_says(answer: str, reference: str, options: dict[str, Any]) -> None:
    assert exact(answer, reference, **options) == 1.0
    assert exact(answer, reference) == 0.0


def test_kept_spaces_count() -> None:
    assert (exact("a  b", "a b"), exact("a  b", "a b", spaces="kept"), exact("a b", "a b", spaces="kept")) == (1, 0, 1)


def test_accuracy_is_exact_by_another_name() -> None:
    assert issubclass(Accuracy, Exact)
    assert Accuracy.Config() == Exact.Config()
    assert "there is no answer in it" in Accuracy(Accuracy.Config()).refuses(Problem(id="p"))
    assert Accuracy(Accuracy.Config()).refuses(Problem(id="p", reference="8")) == ""
