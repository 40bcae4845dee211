"""Derived keys: the same everywhere, and never the same for different parts."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core.keys import derive_key

PARTS = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=5)


def test_the_values_are_promised():
    assert derive_key(0) == 12297546399917769860
    assert derive_key(1, "r1_zero", 3, "p-17", 2, "sample") == 6912090983066420636


@given(st.integers(), PARTS)
def test_a_key_has_64_bits(seed, parts):
    assert 0 <= derive_key(seed, *parts) < 2**64


@given(PARTS, PARTS)
def test_different_parts_give_different_keys(one, other):
    if one != other:
        assert derive_key(0, *one) != derive_key(0, *other)


def test_joining_parts_or_changing_their_type_changes_the_key():
    keys = [
        derive_key(0, "ab", "c"),
        derive_key(0, "a", "bc"),
        derive_key(0, "abc"),
        derive_key(0, 1),
        derive_key(0, "1"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_survives_another_process_and_hash_seed():
    code = "from r1core.keys import derive_key; print(derive_key(7, 'stage', 3))"
    for hash_seed in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True
        )
        assert int(found.stdout) == derive_key(7, "stage", 3)


@pytest.mark.parametrize("part", [1.0, None, b"x"])
def test_only_whole_numbers_and_strings_make_a_key(part):
    with pytest.raises(TypeError, match="whole numbers and strings"):
        derive_key(0, part)
