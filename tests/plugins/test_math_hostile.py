"""The reward `math` against answers that are meant to hang it, or to run code in it: in the real worker."""

from __future__ import annotations

import ast
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_hostile import BOMBS, EXPRESSION, NUMBER, PAYLOADS, ROOT

import r1_plugins.math
from r1_plugins.math import Math
from r1core.cases import asking
from r1core.plugins import PluginHost
from r1core.types import Problem, Response

HERE = Path(__file__).parent
SOURCE = Path(r1_plugins.math.__file__).parent
SLACK = 5
OVERSHOOT_S = 0.25


def said(answer: str) -> Response:
    return Response.parse(f"<think>hm</think><answer>\\boxed{{{answer}}}</answer>")


def about(gold: str) -> Problem:
    return Problem(id="p", reference=gold)


# --- bombs -------------------------------------------------------------------------------------------


def test_the_bombs_are_bombs() -> None:
    """Else the next test would prove nothing: sympy computes one of them for longer than anybody waits."""
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", "import sympy; print(10 ** sympy.Integer(10) ** 10)"], timeout=4)
    assert len(BOMBS) >= 30


def test_every_bomb_ends_within_its_deadline_and_is_worth_nothing() -> None:
    """A verdict, or a time-out that was confirmed in a fresh worker: at most two deadlines."""
    loaded = PluginHost.discover().load("reward", "math", HERE)
    late, reasons = [], set()
    with asking(loaded, {}) as ask:
        for gold in (NUMBER, ROOT, EXPRESSION):
            for bomb in BOMBS:
                score, seconds = ask(about(gold), said(bomb))
                assert score.value == 0.0, (gold, bomb[:60])
                assert score.status != "infrastructure", (gold, bomb[:60], score.reason)
                reasons.add(score.reason)
                if seconds > 2 * (Math.timeout_s + SLACK * OVERSHOOT_S):
                    late.append((gold, bomb[:60], seconds))
        assert ask(about(NUMBER), said("42")).score.value == 1.0, "an honest answer after them"
    assert late == []
    assert "verifier_timeout" in reasons, "no bomb needed the deadline: add one"


# --- code ----------------------------------------------------------------------------------------------


def test_no_payload_makes_anything_happen_in_the_worker() -> None:
    """No file, import, compilation, process or socket, whatever the reference; and the sentinels still hold."""
    assert len(PAYLOADS) >= 100
    loaded = PluginHost.discover().load("reward", "./math_watched.py:Watched", HERE)
    with asking(loaded, {}) as ask:
        for payload in PAYLOADS:
            for gold in (NUMBER, ROOT, EXPRESSION, r"\text{even}"):
                score, _ = ask(about(gold), said(payload))
                assert score.value == 0.0, payload
                assert "audit" not in score.reason, (payload, score.reason)
                assert score.status == "verdict", (payload, score.reason)
        for sentinel in Math(Math.Config()).sentinels():
            assert ask(sentinel.problem, sentinel.response).score.value == sentinel.value
    assert not Path("/tmp/r1_math_was_here").exists()


def test_the_watch_sees_what_a_grader_that_evaluates_does() -> None:
    loaded = PluginHost.discover().load("reward", "./math_watched.py:Opens", HERE)
    with asking(loaded, {}) as ask:
        score, _ = ask(about(NUMBER), Response.parse("<think>hm</think><answer>open('/dev/null').close()</answer>"))
    assert "open" in score.reason
    assert "compile" in score.reason


def test_nothing_in_the_source_evaluates_text() -> None:
    banned = {
        "eval",
        "exec",
        "compile",
        "sympify",
        "parse_expr",
        "lambdify",
        "parse_latex",
        "latex2sympy",
        "S",
        "parse",
    }
    used = set()
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                owner = getattr(getattr(node.func, "value", None), "id", "")
                if name in banned and (owner, name) not in {("re", "compile"), ("Response", "parse")}:
                    used.add((file.name, name))
    assert used == set()


# --- time --------------------------------------------------------------------------------------------------


def test_every_pattern_is_linear_in_pathological_text() -> None:
    """32,000 tokens of what makes backtracking patterns explode: 50 ms each."""
    patterns = [
        (file.name, value)
        for file in SOURCE.glob("*.py")
        for value in vars(sys.modules.get(f"r1_plugins.math.{file.stem}", r1_plugins.math)).values()
        if isinstance(value, re.Pattern)
    ]
    assert len(patterns) >= 3
    texts = ["a" * 130_000, " " * 130_000 + "!", "\\" * 130_000, "answer " * 20_000, "1" * 130_000, "\\boxed{" * 20_000]
    for name, pattern in patterns:
        for text in texts:
            started = time.perf_counter()
            pattern.match(text)
            pattern.search(text)
            spent = time.perf_counter() - started
            assert spent < SLACK * 0.05, (name, pattern.pattern, text[:10], spent)


def test_long_garbage_is_judged_at_once() -> None:
    rng = random.Random(0)
    reward = Math(Math.Config())
    for size in (1_000, 100_000, 1_000_000):
        for letters in ("\\{}()[]^_$ ", "0123456789,. ", "abc =<>|", "\n", "\x00\u202e\ud800"):
            text = "".join(rng.choices(letters, k=size))
            started = time.perf_counter()
            assert reward.score(about("42"), Response.parse(f"<think>hm</think><answer>{text}</answer>")).value == 0.0
            assert time.perf_counter() - started < SLACK * 0.1


WRITTEN = r"""
1 23 0.5 x \frac { } ( ) [ ] ^ _ + - * / = , \sqrt \pi \pm \sin \cup \text < | ! % \% or and cm $ \begin{pmatrix}
\end{pmatrix} & \\ \infty e i : ; . \le \in
"""


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from([" ", *WRITTEN.split()]),
        max_size=24,
    ),
    st.sampled_from(["42", r"\frac{1}{2}", "1, 2", "(1, 2)", "[1, 2)", "x^2+1", "y = 2x", r"\text{even}", r"\pm 3"]),
)
def test_any_string_of_tokens_gets_a_score(parts: list[str], gold: str) -> None:
    score = Math(Math.Config()).score(about(gold), said("".join(parts)))
    assert score.status == "verdict"
    assert score.value in (0.0, 1.0)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_a_score(text: str) -> None:
    score = Math(Math.Config()).score(about("42"), Response.parse(f"<think>hm</think>{text}"))
    assert score.status == "verdict"
