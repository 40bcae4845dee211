"""The reward `code` apart from its walls: where the program is, what a reference may say, what counts as the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from code_cells import SQUARES, asked, code, not_beside_faults  # noqa: F401 - fixtures
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1_plugins.code import Code
from r1_plugins.code.comparison import same_text, same_value
from r1_plugins.code.inside.wire import UnsupportedError, decode, encode
from r1_plugins.code.reference import UntestableError, read_reference
from r1_plugins.code.reward import LONGEST_ANSWER_S, WORKER_MIB
from r1_plugins.code.source import program_of
from r1core.types import Problem, Response

# --- where the program is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nThat is it.", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("```Python3\nx = 1\n```", "x = 1"),
        ("```py\nx = 1\n```\n```python\nx = 2\n```", "x = 2"),
        ("```python\nx = 1\n```\n```sh\nls\n```", "x = 1"),
        ("```python\nx = 1\n```\n```text\n2\n```\n", "x = 1"),
        ("```python\nx = 1\n", "x = 1\n"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        ("```python\r\nx = 1\r\n```", "x = 1\r"),
        ("  ```python\nx = 1\n  ```", "x = 1"),
        ("no fence: ```x = 1```", "no fence: ```x = 1```"),
        ("```js\nx\n```", "```js\nx\n```"),
        ("```python\n```", ""),
        ("```python\nprint('''```python''')\n```", "print('''```python''')"),
    ],
)
def test_the_program_is_the_last_block_of_python_or_the_whole_answer(answer: str, program: str) -> None:
    assert program_of(answer) == program


@given(st.text(alphabet="`~\n python3", max_size=300))
def test_any_answer_has_a_program(answer: str) -> None:
    assert isinstance(program_of(answer), str)


# --- what a reference may say ---------------------------------------------------------------------------

ONE = {"input": [1], "output": 1}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (None, "the reference is NoneType"),
        ("assert f(1) == 1", "the reference is str"),
        ({}, "there are no tests"),
        ({"tests": []}, "there are no tests"),
        ({"tests": [ONE], "entry": "f"}, "unknown key 'entry'"),
        ({"tests": [ONE], "entry_point": "f()"}, "entry_point is 'f()'"),
        ({"tests": [ONE], "entry_point": "a.b.c"}, "entry_point is 'a.b.c'"),
        ({"tests": [ONE], "entry_point": "__import__('os').system"}, "entry_point is"),
        ({"tests": [ONE], "entry_point": None}, "unknown key 'input'"),
        ({"tests": [ONE, {"stdin": "", "output": ""}], "entry_point": "f"}, "test 2 has an unknown key 'stdin'"),
        ({"tests": [{"input": 1, "output": 1}], "entry_point": "f"}, "test 1: input is no list"),
        ({"tests": [{"input": [1]}], "entry_point": "f"}, "test 1 has no 'output'"),
        ({"tests": [3], "entry_point": "f"}, "test 1 is int"),
        ({"tests": [{"input": [], "output": [math.nan]}], "entry_point": "f"}, "the number nan"),
        ({"tests": [{"input": [{"a": math.inf}], "output": 1}], "entry_point": "f"}, "the number inf"),
        ({"tests": [{"input": [], "output": {1}}], "entry_point": "f"}, "a value of type set"),
        ({"tests": [{"input": [], "output": {1: 1}}], "entry_point": "f"}, "a key that is no text"),
        ({"tests": [{"stdin": "1", "output": 1}], "entry_point": None}, "output of a program is text, got int"),
        ({"tests": [{"stdin": "1", "output": " \n"}], "entry_point": None}, "output is empty"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_a_sentence(reference: Any, said: str) -> None:
    with pytest.raises(UntestableError, match=r"^[^\n]{1,200}$") as raised:
        read_reference(reference)
    assert said in str(raised.value)
    problem = Problem(id="p", reference=reference)
    assert said in code().refuses(problem)
    score = code().score(problem, Response.parse("<think></think><answer>f = 1</answer>"))
    assert score.status == "infrastructure"
    assert said in score.reason


def test_what_can_be_tested_is_not_refused() -> None:
    assert code().refuses(Problem(id="p", reference=SQUARES)) == ""
    assert read_reference({"tests": [{"stdin": "", "output": "x"}]}).entry_point is None


# --- what is the same ---------------------------------------------------------------------------------

SAME = [
    (3, 3), (3, 3.0), (2.0, 2), (0.5, 0.5 + 1e-9), (1e300, 1e300), (0.0, 1e-15), (10**30, 10**30), (True, True),
    (None, None), ("a", "a"), ([], []), ([1, [2.0]], [1, [2]]), ({"a": 1, "b": [2]}, {"b": [2], "a": 1}), (-0.0, 0),
]  # fmt: skip
DIFFERENT = [
    (3, "3"), ("3", 3), (1, True), (True, 1), (False, 0), (0, None), (None, 0), (None, []), (3, 3.0000001),
    (10**17 + 1, 1e17), (0.5, 0.5001), (1e-9, 0), (0.5, math.nan), (1.0, 10**400), ("a", "a "), ("", None),
    ([1, 2], [2, 1]), ([1], [1, 1]), ([], {}), ({}, []), ({"a": 1}, {"a": 1, "b": 2}), ({"a": 1}, {}),
    ({"a": None}, {"b": None}), ([1], 1), ("ab", ["a", "b"]), ("1.0", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "got"), SAME)
def test_the_same_value(expected: Any, got: Any) -> None:
    assert same_value(expected, got, 1e-6)


@pytest.mark.parametrize(("expected", "got"), DIFFERENT)
def test_another_value(expected: Any, got: Any) -> None:
    assert not same_value(expected, got, 1e-6)


def test_without_tolerance_numbers_must_be_equal() -> None:
    assert same_value(0.5, 0.5, 0)
    assert not same_value(0.5, 0.5 + 1e-9, 0)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("1 2\n3\n", " 1   2 \r\n3\t\n\n\n", True),
        ("1 2\n3\n", "1\n2 3", False),
        ("1 2\n3\n", "1 2 3", False),
        ("a\n\nb", "a\nb", False),
        ("a\n\nb", "a\n \nb", True),
        ("0.5", ".5", False),
        ("0.5", "0.5000000001", True),
        ("0.50", "0.5", True),
        ("2.0", "2", True),
        ("2", "2.0", False),
        ("0.5", "0.51", False),
        ("0.5", "nan", False),
        ("0.5", "5e-1", True),
        ("YES", "yes", False),
        ("1", "1 1", False),
        ("x", "", False),
        ("1.5", "9" * 100_000, False),
    ],
)
def test_printed_text(expected: str, got: str, same: bool) -> None:
    assert same_text(expected, got, 1e-6) is same


# --- the wire ---------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_through_as_it_is(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert repr(back) == repr(value), "1 is not true, 1.0 not 1"


@pytest.mark.parametrize("value", [{1, 2}, b"x", 1j, object(), print, (x for x in ()), range(3)])
def test_other_types_do_not(value: Any) -> None:
    with pytest.raises(UnsupportedError):
        encode([value])


def test_what_lies_about_its_type_does_not() -> None:
    class Number(int):
        pass

    with pytest.raises(UnsupportedError, match="Number"):
        encode(Number(3))


@pytest.mark.parametrize(
    "sent", [[], ["list", []], ["set", 1], ["int", 5], ["int", "x"], ["dict", [1]], ["dict", 1], {}, ["float"]]
)
def test_what_the_wire_has_not_is_refused(sent: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(sent)


# --- options -----------------------------------------------------------------------------------------------


def test_a_test_that_could_not_take_its_time_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(ValidationError, match="test_timeout_s is 5, answer_timeout_s 2: no test could take that long"):
        Code.Config(test_timeout_s=5, answer_timeout_s=2)


def test_an_answer_that_could_outlast_the_rewards_deadline_is_refused() -> None:
    assert Code.timeout_s > LONGEST_ANSWER_S
    Code.Config(answer_timeout_s=LONGEST_ANSWER_S)
    with pytest.raises(ValidationError, match="less than or equal to"):
        Code.Config(answer_timeout_s=LONGEST_ANSWER_S + 1)


def test_a_program_may_not_have_more_memory_than_its_worker() -> None:
    assert Code.memory_mib == WORKER_MIB
    with pytest.raises(ValidationError, match="less than or equal to"):
        Code.Config(memory_mib=WORKER_MIB + 1)


# --- scores --------------------------------------------------------------------------------------------------

THREE = {"entry_point": "f", "tests": [{"input": [n], "output": n} for n in (1, 2, 3)]}
FAILS_AT_TWO = "calls = []\ndef f(n):\n    calls.append(n)\n    {}\n    return n"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("if n == 2: return 0", "wrong"),
        ("if n == 2: raise ValueError", "raised ValueError"),
        ("if n == 2: import os; os._exit(0)", "exited"),
        ("if n == 2: import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("while n == 2: pass", "timeout"),
        ("if n == 2: return object()", "unsupported_type"),
    ],
)
def test_the_first_test_that_fails_is_named_and_a_share_may_be_paid(fault: str, reason: str) -> None:
    program = FAILS_AT_TWO.format(fault)
    everything = asked(code(test_timeout_s=0.5), program, THREE)
    assert (everything.value, everything.reason) == (0, f"test 2 of 3: {reason}")
    share = asked(code(score="share", test_timeout_s=0.5), program, THREE)
    assert share.value == pytest.approx(2 / 3)
    assert share.reason == f"test 2 of 3: {reason}"


def test_all_tests_together_have_a_deadline() -> None:
    many = {"entry_point": "f", "tests": [{"input": [n], "output": n} for n in range(100)]}
    slow = "import time\ndef f(n):\n    time.sleep(0.2)\n    return n"
    score = asked(code(score="share", test_timeout_s=0.9, answer_timeout_s=1.0), slow, many)
    assert 0 < score.value <= 0.05
    assert score.reason.endswith("of 100: timeout")


def test_sentinels_are_as_they_say() -> None:
    for reward in (code(), code(score="share")):
        values = [reward.score(each.problem, each.response).value for each in reward.sentinels()]
        assert values == [each.value for each in reward.sentinels()]
        assert values[0] == 1
        assert values[1] < 1


def test_a_method_is_called_on_a_new_object_each_time() -> None:
    program = "class Solution:\n    def __init__(self): self.n = 0\n    def f(self, n): self.n += n; return self.n"
    assert asked(code(), program, {**THREE, "entry_point": "Solution.f"}).value == 1
    assert asked(code(), program, {**THREE, "entry_point": "Solution.g"}).reason == "test 1 of 3: no_entry_point"
    assert asked(code(), program, {**THREE, "entry_point": "Other.f"}).reason == "test 1 of 3: no_entry_point"
