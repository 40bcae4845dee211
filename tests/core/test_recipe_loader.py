"""YAML as people mean it, with the place of every value, and nothing that could harm or mislead."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1core.errors import RecipeError
from r1core.recipe.loader import MAX_BYTES, load_yaml, parse, parse_value


def written(folder: Path, text: str) -> Path:
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("010", 10),
        ("0o17", 15),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", 1000),
        ("~", None),
        ("", None),
        ("last 400", "last 400"),
        ("{0: 1.0, 60%: 0.7}", {"0": 1.0, "60%": 0.7}),
        ("{on: 1, true: 2}", {"on": 1, "true": 2}),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    plain = parse(f"a: {text}", "r.yaml").plain()["a"]
    assert plain == value
    assert type(plain) is type(value)


def test_positions_are_those_of_keys_and_items(tmp_path: Path) -> None:
    path = written(tmp_path, "a:\n  b: [1,\n      {c: 2}]\n")
    document = load_yaml(path)
    assert document.position(("a",))[1:] == (1, 1)
    assert document.position(("a", "b"))[1:] == (2, 3)
    assert document.position(("a", "b", 1))[1:] == (3, 7)
    assert document.position(("a", "b", 1, "c")) == (str(path), 3, 8)


def test_a_place_that_is_not_there_is_its_nearest_ancestor(tmp_path: Path) -> None:
    document = load_yaml(written(tmp_path, "a:\n  b: 1\n"))
    assert document.position(("a", "missing", "deeper"))[1:] == (1, 1)
    assert document.position(("a", "NameOfAUnionArm", "b"))[1:] == (2, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "r.yaml:3:1: key 'a' is already given in line 1"),
        ("a: {x: 1, x: 2}", "r.yaml:1:11: key 'x' is already given in line 1"),
        ("a: !!python/object:os.system x", "r.yaml:1:4: tag 'python/object:os.system' is not allowed"),
        ("a: !mine 1", "r.yaml:1:4: tag '!mine' is not allowed"),
        ("a: !!binary aGk=", "tag 'binary' is not allowed"),
        ("<<: {a: 1}", "merge keys (<<) are not allowed"),
        ("? [1]\n: 2", "a key is one word or number"),
        ("a: &x [*x]", "an alias of itself"),
        ("a: &x 1\nb: &x 2", "an anchor (&) is defined twice"),
        ("%YAML 1.1\n---\na: on", "r.yaml:1:1: YAML directives are not allowed"),
        ("a: 1\n---\nb: 2", "r.yaml:2:1: expected a single document"),
        ("a: b: c", "r.yaml:1:5: mapping values are not allowed here"),
        ("a: *x", "found undefined alias 'x'"),
        (
            "a:\n\tb: 1",
            "r.yaml:2:1: while scanning for the next token, found character '\\t' that cannot start any token",
        ),
        ("a:\n\tb: 1", "\n  indent with spaces, not tabs"),
        ("a: !!int x", "'x' is no int"),
        ("a: \x00", "unacceptable character"),
        ("[" * 5000, "nested too deeply"),
        ("[" * 80 + "]" * 80, "nested more than 64 deep"),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_all_duplicate_keys_are_told_at_once() -> None:
    assert refusal("a: 1\na: 2\nb: {c: 1, c: 2}").endswith("2 errors")


def test_aliases_may_not_blow_a_small_file_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than 100000 values" in refusal("\n".join(lines))


def test_an_alias_that_stays_small_is_fine() -> None:
    assert parse("a: &x [1]\nb: *x", "r.yaml").plain() == {"a": [1], "b": [1]}


@pytest.mark.parametrize("url", ["https://example.org/r.yaml", "file:///tmp/r.yaml", "hf://x/r.yaml", "s3:/x"])
def test_only_local_files_are_read(url: str) -> None:
    with pytest.raises(RecipeError, match="is not a local file"):
        load_yaml(url)


def test_missing_large_and_binary_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("a: 1")
    (tmp_path / "large.yaml").write_text("#" * (MAX_BYTES + 1))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list.yaml").write_text("- a")
    for name, said in [
        ("recpie.yaml", "did you mean 'recipe.yaml'?"),
        ("large.yaml", f"a recipe has at most {MAX_BYTES}"),
        ("binary.yaml", "not UTF-8 at byte 0"),
        ("list.yaml", "a recipe is a mapping"),
        (".", "no file"),
    ]:
        with pytest.raises(RecipeError) as caught:
            load_yaml(tmp_path / name)
        assert said in str(caught.value)


def test_a_value_from_the_command_line_follows_the_same_rules() -> None:
    assert parse_value("{a: [1e-6, on]}", "--set").plain() == {"a": [1e-6, "on"]}
    assert parse_value("{a: [1]}", "--set").at(("a", 0)).mark.file == "--set"
