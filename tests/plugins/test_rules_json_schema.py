"""The schema rule: valid JSON is paid, and a schema cannot reach out, loop or accept everything unseen."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from toy_answers import ask, refusal

from r1_plugins.rules import JsonSchema
from r1_plugins.rules.json_schema import read_json
from r1core.cases import asking
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.types import Problem, Response

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = '{"name": "Ada", "age": 36}'
ENDLESS = {"type": "string", "pattern": "^(a+)+$"}
"""2**n steps for n letters and one that does not fit."""


@pytest.mark.parametrize(
    "answer", [ADA, f"```json\n{ADA}\n```", f"```\n{ADA}\n```", f"```{ADA}```", f"So:\n```JSON\n{ADA}\n```\n."]
)
def test_valid_json_is_paid_bare_or_in_its_only_fence(answer: str) -> None:
    assert ask(JsonSchema, PERSON, answer).reason == "correct"
    assert ask(JsonSchema, None, answer, schema=PERSON).reason == "correct"


@pytest.mark.parametrize(
    "text",
    ["", "x", "{", '{"a": 1, "a": 2}', "NaN", "[Infinity]", "-Infinity", "'a'", "[1,]", "1 2", "9" * 5000,
     "[" * 65 + "]" * 65, "[" * 50_000, '{"a":' * 50_000, '"' * 50_001, f'"{"x" * 100_001}"'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_json_is_a_value_error_and_soon(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError):  # noqa: PT011 - json's own errors are of this type
        read_json(text)
    assert time.perf_counter() - started < 0.5


def test_brackets_in_strings_are_not_nested() -> None:
    assert read_json(json.dumps(["[" * 1000, '\\"[' * 100])) == ["[" * 1000, '\\"[' * 100]
    assert read_json("[" * 64 + "]" * 64)


def test_partial_credit_is_for_required_keys_that_are_there_and_right() -> None:
    answers = {
        '{"name": "Ada"}': 0.25,
        '{"name": "Ada", "age": "36"}': 0.25,
        f'{ADA[:-1]}, "x": 1}}': 0.5,
        "[]": 0.0,
        ADA: 1.0,
    }
    assert {answer: ask(JsonSchema, PERSON, answer, partial=0.5).value for answer in answers} == answers
    assert ask(JsonSchema, PERSON, '{"name": "Ada"}').value == 0.0


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "give a JSON Schema, or the option `schema`"),
        ("object", "give a JSON Schema"),
        ({}, "accepts everything"),
        ({"properties": {}}, "accepts everything"),
        ({"type": "objekt"}, "'objekt' is not valid"),
        ({"type": "string", "pattern": "("}, "at $.pattern"),
        ({"$ref": "https://example.org/schema.json"}, "another document: write it into `$defs`"),
        ({"items": {"$ref": "other.json#/x"}}, "another document"),
        ({"allOf": [{"$ref": "file:///etc/passwd"}]}, "another document"),
        ({"$ref": "#/$defs/nope"}, "cannot be followed"),
        ({"type": "object", "required": ["x"], "properties": {"x": {"$ref": "#/nope"}}}, "cannot be followed"),
        ({"$ref": "#"}, "cannot be followed: RecursionError"),
        ({"const": {1, 2}}, "no JSON"),
    ],
)
def test_a_schema_that_cannot_judge_is_refused(schema: Any, said: str) -> None:
    assert said in refusal(JsonSchema, schema)
    assert ask(JsonSchema, schema, "{}").status == "infrastructure"


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """(address, what was asked of it) of a real server that would hand out a schema."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "integer"}')

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def test_a_schema_never_reaches_out(asked: tuple[str, list[str]]) -> None:
    address, paths = asked
    for schema in (
        {"$ref": f"{address}/a"},
        {"$id": f"{address}/", "$ref": "b"},
        {"type": "array", "items": {"$ref": f"{address}/c"}},
    ):
        assert "another document" in refusal(JsonSchema, schema)
        assert ask(JsonSchema, schema, "[1]").status == "infrastructure"
    assert paths == []
    with urllib.request.urlopen(f"{address}/alive") as reply:
        assert reply.read()
    assert paths == ["/alive"]


def test_a_pattern_without_end_is_ended_by_the_deadline() -> None:
    loaded = PluginHost.discover().load("reward", "json_schema")
    evil = Response.parse(f'<think>x</think><answer>"{"a" * 40}!"</answer>')
    with asking(loaded, {}) as ask_worker:
        score, _ = ask_worker(Problem(id="p", reference=ENDLESS), evil)
        assert (score.status, score.reason, score.value) == ("answer_failure", "verifier_timeout", 0.0)
        fine = Response.parse('<think>x</think><answer>"aaa"</answer>')
        assert ask_worker(Problem(id="p", reference=ENDLESS), fine).score.value == 1.0


def test_a_recipe_may_bring_the_schema(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "r1: 1\nname: x\nprofile: none\nengines: {policy: echo, sampler: echo}\n"
        "stages:\n  s:\n    sample: {prompts: 1, samples: 1}\n    model: {scratch: {}}\n    problems: echo\n"
        "    rewards: [{use: json_schema, schema: {type: object, required: [name]}}]\n".replace(
            "model: {scratch: {}}", "model: m"
        )
        + "models: {m: some/model}\n"
    )
    plan = make_plan(resolve(recipe, None, []), PluginHost.discover())
    (use,) = next(stage.stage.rewards for stage in plan.stages if stage.id == "s")
    assert use.model_extra is not None
    assert use.model_extra["schema"] == {"type": "object", "required": ["name"]}
