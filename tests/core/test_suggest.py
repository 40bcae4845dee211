"""Which name was meant: the least slips away, several where they are as near, none where nothing is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.suggest import closest, did_you_mean, is_slip

KEYS = ["as", "by", "k", "kl", "limit", "lr", "models", "problems", "samples", "sampling", "temperature", "top_p"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("yb", "by"), ("q", "k"), ("lk", "kl"), ("rl", "lr"), ("sampels", "samples"), ("temprature", "temperature")],
)
def test_short_keys_are_understood_too(word: str, meant: str) -> None:
    assert did_you_mean(word, KEYS) == f"did you mean {meant!r}?"


def test_names_that_are_as_near_are_all_told() -> None:
    assert did_you_mean("dev", ["dev1", "dev2", "evaluation"]) == "did you mean 'dev1' or 'dev2'?"
    assert did_you_mean("l", KEYS) == "did you mean 'k', 'kl' or 'lr'?"


def test_what_is_more_than_a_slip_away_may_still_be_like_it() -> None:
    assert closest("max_tokens", ["max_new_tokens", "samples"]) == "max_new_tokens"
    assert did_you_mean("colour", ["samples"], otherwise="keys: ") == "keys: samples"
    assert did_you_mean("colour", ["samples"]) == ""


@given(st.sampled_from([key for key in KEYS if len(key) > 5]), st.data())
def test_one_slip_anywhere_is_a_slip(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(key) - 1))
    swapped = key[: at - 1] + key[at] + key[at - 1] + key[at + 1 :]
    for wrong in (key[:at] + key[at + 1 :], swapped, f"{key[:at]}q{key[at + 1 :]}", f"{key[:at]}q{key[at:]}"):
        assert wrong == key or is_slip(wrong, key)
        assert wrong in KEYS or closest(wrong, KEYS) == key


def test_a_name_is_no_slip_of_itself_nor_of_another_word() -> None:
    assert not is_slip("limit", "limit")
    assert not is_slip("dev1", "dev1_few_shot")
    assert not is_slip("math", "maps")
