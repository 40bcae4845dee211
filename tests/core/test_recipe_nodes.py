"""Merging: maps by key, lists and scalars replace, and every value keeps its origin."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.recipe.nodes import Mark, merge, node_of

KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False))
PLAIN = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=8
)
NESTED = st.dictionaries(KEYS, st.dictionaries(KEYS, LEAVES, max_size=3), max_size=3)
MAPS = st.dictionaries(KEYS, PLAIN, max_size=3)


def merged(under: Any, over: Any) -> Any:
    return merge(node_of(under, Mark("under")), node_of(over, Mark("over"))).plain()


@settings(deadline=None)
@given(MAPS)
def test_nothing_laid_over_changes_nothing_and_a_map_over_itself_is_itself(data: dict[str, Any]) -> None:
    assert merged(data, {}) == data
    assert merged({}, data) == data
    assert merged(data, data) == data


@settings(deadline=None)
@given(NESTED, NESTED, NESTED)
def test_merging_maps_is_associative(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@settings(deadline=None)
@given(MAPS, MAPS)
def test_every_leaf_comes_from_the_upper_map_where_it_has_one(under: dict[str, Any], over: dict[str, Any]) -> None:
    root = merge(node_of(under, Mark("under")), node_of(over, Mark("over")))
    for key, value in over.items():
        if not isinstance(value, dict):
            assert root.at([key]).mark.file == "over"
            assert root.at([key]).plain() == value
    for key in set(under) - set(over):
        assert root.at([key]).mark.file == "under"


def test_lists_replace() -> None:
    assert merged({"a": [1, 2], "b": 1}, {"a": [3]}) == {"a": [3], "b": 1}


def test_options_over_a_bare_name_belong_to_that_name() -> None:
    assert merged({"train": "rl"}, {"train": {"steps": 20}}) == {"train": {"use": "rl", "steps": 20}}


def test_another_component_drops_the_options_of_the_first() -> None:
    under = {"policy": {"use": "a", "lr": 1}}
    assert merged(under, {"policy": {"use": "b"}}) == {"policy": {"use": "b"}}
    assert merged(under, {"policy": {"use": "a", "dtype": "x"}}) == {"policy": {"use": "a", "lr": 1, "dtype": "x"}}


def test_a_schedule_or_a_model_from_scratch_replaces_a_name() -> None:
    assert merged({"problems": "x"}, {"problems": {"0": "y", "50%": "z"}}) == {"problems": {"0": "y", "50%": "z"}}
    assert merged({"model": "x"}, {"model": {"scratch": {"a": 1}}}) == {"model": {"scratch": {"a": 1}}}


def test_a_schedule_replaces_another_whole() -> None:
    assert merged({"a": {"0": 1, "100": 2}}, {"a": {"0": 3, "50": 4}}) == {"a": {"0": 3, "50": 4}}
    assert merged({"a": {"0": "easy"}}, {"a": {"use": "x"}}) == {"a": {"use": "x"}}
