"""Expected failures: each with its exit code, the same in every process, and drawn in one tree."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1core import errors
from r1core.errors import Diagnostic, R1Error, RecipeError

EXIT_CODES = {
    "R1Error": 1,
    "RecipeError": 2,
    "SetupError": 3,
    "RefusedError": 4,
    "NumericsError": 5,
    "Interrupted": 75,
}
KINDS = [getattr(errors, name) for name in EXIT_CODES]


def test_every_error_has_its_exit_code() -> None:
    public = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, BaseException)]
    assert {kind.__name__: kind.exit_code for kind in public} == EXIT_CODES


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"── (\w+) +(\d+) ", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == {n: c for n, c in EXIT_CODES.items() if n != "R1Error"}
    assert all(getattr(errors, name).__bases__ == (R1Error,) for name in drawn)


def test_no_two_errors_share_a_code_and_none_is_success_or_a_shells() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert not {0, 126, 127, 130} & set(codes)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_between_processes(kind: type[R1Error]) -> None:
    error = kind("3 is not 4", where="stages.r1", fix="write 4")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        other = pickle.loads(pickle.dumps(error, protocol))
        assert type(other) is kind
        assert (other.what, other.where, other.fix, str(other)) == (error.what, error.where, error.fix, str(error))
    assert str(copy.copy(error)) == str(error)


@given(st.text(), st.text(), st.text())
def test_any_text_comes_through(what: str, where: str, fix: str) -> None:
    error = RecipeError(what, where=where, fix=fix)
    other = pickle.loads(pickle.dumps(error))
    assert (other.what, other.where, other.fix) == (what, where, fix)


def test_a_message_says_where_what_and_what_to_do() -> None:
    assert str(R1Error("3 is not 4")) == "3 is not 4"
    assert str(R1Error("3 is not 4", where="r.yaml:7")) == "r.yaml:7: 3 is not 4"
    assert str(R1Error("3 is not 4", fix="write 4")) == "3 is not 4\n  write 4"
    assert str(R1Error("3 is not 4", where="r.yaml:7", fix="write 4")) == "r.yaml:7: 3 is not 4\n  write 4"


def test_a_diagnostic_shows_only_the_places_it_has() -> None:
    assert Diagnostic(message="odd").render() == "odd"
    assert Diagnostic(message="odd", file="r.yaml").render() == "r.yaml: odd"
    assert Diagnostic(message="odd", file="r.yaml", line=3, column=5).render() == "r.yaml:3:5: odd"
    whole = Diagnostic(message="odd", path="stages.a", file="r.yaml", line=3, column=5, hint="even")
    assert whole.render() == "r.yaml:3:5: stages.a: odd\n  even"


def test_all_findings_of_a_phase_are_one_error() -> None:
    found = [Diagnostic(message="odd", file="r.yaml", line=3, column=5, hint="even"), Diagnostic(message="late")]
    assert str(RecipeError.of(found)) == "r.yaml:3:5: odd\n  even\nlate\n2 errors"
    assert str(RecipeError.of(found[1:])) == "late\n1 error"
