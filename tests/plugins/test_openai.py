"""A teacher behind an endpoint: what it is sent, how its answers are read, what it costs; and its key is nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_judge import Body, Raw, Server
from toy_teacher import asked, completion, is_right, job, last, notes, question, rows, teacher

from r1_plugins.openai.replies import Reply
from r1core.cli.quotes import quote_lines
from r1core.errors import RecipeError, RefusedError
from r1core.stages import run_stage
from r1core.types import Response

# --- how a reply is read ------------------------------------------------------------------------

THOUGHT = "Let me see.\n\nYes."
FORMS: dict[str, dict[str, Any]] = {
    "DeepSeek": {"reasoning_content": THOUGHT, "content": "Seven."},
    "OpenRouter, newer vLLM": {"reasoning": THOUGHT, "content": "Seven.", "reasoning_content": None},
    "both": {"reasoning": THOUGHT, "reasoning_content": THOUGHT, "content": "Seven."},
    "no parser": {"content": f"<think>{THOUGHT}</think>Seven."},
    "no parser, blanks before": {"content": f"\n<think>\n{THOUGHT}\n</think>\n\nSeven."},
    "opened by the template": {"content": f"{THOUGHT}\n</think>\n\nSeven."},
    "told twice": {"reasoning": THOUGHT, "content": f"<think>{THOUGHT}</think>Seven."},
}


def reply(message: dict[str, Any], **more: Any) -> Reply | None:
    """How a reply with this message is read."""
    return Reply.of(json.loads(completion(message, **more)[2]))


@pytest.mark.parametrize("form", FORMS)
def test_thinking_and_answer_are_found_in_whichever_field_they_came(form: str) -> None:
    found = reply(FORMS[form])
    assert found is not None
    response = Response.parse(found.text)
    assert (response.thinking, response.answer) == (THOUGHT, "Seven.")
    assert (found.finish, found.tokens_in, found.tokens_out, found.refused) == ("stop", 10, 20, "")
    if "no parser" in form:
        assert found.text == FORMS[form]["content"]
    assert found.apart == ("think>" not in FORMS[form]["content"])


@pytest.mark.parametrize("message", [{"content": "Seven."}, {"content": "Seven.", "reasoning": ""}])
def test_a_model_that_does_not_think_has_its_answer_as_it_is(message: dict[str, Any]) -> None:
    found = reply(message)
    assert found is not None
    assert found.text == "Seven."
    assert Response.parse(found.text, apart=found.apart).answer == "Seven."


@pytest.mark.parametrize("content", ["", None])
def test_thinking_that_was_cut_off_stays_open(content: str | None) -> None:
    found = reply({"reasoning_content": THOUGHT, "content": content}, finish="length")
    assert found is not None
    assert found.text == f"<think>\n{THOUGHT}"
    response = Response.parse(found.text, finish=found.finish)
    assert (response.finish, response.thinking, response.answer) == ("length", None, None)


@pytest.mark.parametrize(("finish", "ended"), [("length", "length"), ("max_tokens", "length"), ("stop", "stop")])
def test_no_content_and_an_end_are_an_empty_answer(finish: str, ended: str) -> None:
    found = reply({"content": None}, finish=finish)
    assert found is not None
    assert (found.text, found.finish, found.tokens_out, found.refused) == ("", ended, 20, "")


def test_hidden_thinking_that_came_to_the_limit_is_kept_and_never_billed_again(tmp_path: Path) -> None:
    def hidden(server: Server, number: int, body: Body) -> Raw | None:
        return completion({"content": None}, finish="length", tokens=(10, 50)) if "say 3" in question(body) else None

    with teacher(hidden) as server:
        own, _ = job(tmp_path, server.url)
        run_stage(own)
        assert asked(server)["say 3"] == 2, "each of its two answers is asked for once"
    cut = [row for row in rows(tmp_path) if row["messages"][-1]["content"] == "say 3"]
    assert [(row["text"], row["finish"], row["tokens"]) for row in cut] == [("", "length", 50)] * 2


def test_an_answer_that_was_cut_off_keeps_its_thinking() -> None:
    found = reply({"reasoning_content": THOUGHT, "content": "Sev"}, finish="length")
    assert found is not None
    response = Response.parse(found.text, finish=found.finish)
    assert (response.finish, response.thinking, response.answer) == ("length", THOUGHT, "Sev")


@pytest.mark.parametrize(
    ("message", "finish", "why"),
    [
        ({"content": "Sev"}, "content_filter", "content_filter"),
        ({"content": None}, "content_filter", "content_filter"),
        ({"content": None, "refusal": "I cannot."}, "stop", "refusal"),
    ],
)
def test_a_refusal_has_a_reason_and_no_text(message: dict[str, Any], finish: str, why: str) -> None:
    found = reply(message, finish=finish)
    assert found is not None
    assert (found.refused, found.text) == (why, "")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"error": {"message": "upstream", "code": 502}},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": None}, "finish_reason": None}]},
        {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1"}]}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": [{"type": "text"}]}}]},
        {"choices": [{"message": {"content": "Sev"}, "finish_reason": "insufficient_system_resource"}]},
        {"choices": [{"message": {"content": "", "tool_calls": []}, "finish_reason": "tool_calls"}]},
    ],
)
def test_what_is_no_answer_is_not_read_as_one(raw: Any) -> None:
    assert Reply.of(raw) is None


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": True, "completion_tokens": -1}, {"prompt_tokens": "7"}])
def test_tokens_that_nobody_counted_are_unknown(usage: Any) -> None:
    found = Reply.of({"choices": [{"message": {"content": "x"}}], "usage": usage})
    assert found is not None
    assert (found.tokens_in, found.tokens_out) == (None, None)


# --- what is sent -------------------------------------------------------------------------------


def test_each_answer_is_one_call_with_what_the_stage_says(tmp_path: Path) -> None:
    spec = {"instruction": "Think. ", "shots": [{"question": "say 1", "answer": "<think>x</think>1"}]}
    with teacher() as server:
        own, events = job(tmp_path, server.url, sample=spec, request={"top_p": None, "reasoning_effort": "high"})
        run_stage(own)
    assert is_right(tmp_path)
    assert len(server.asked) == 20
    assert {json.dumps(body["messages"][:2]) for _, body in server.asked} == {
        json.dumps([{"role": "user", "content": "say 1"}, {"role": "assistant", "content": "<think>x</think>1"}])
    }
    assert asked(server) == {f"Think. say {n}": 2 for n in range(10)}
    rest = {json.dumps({k: v for k, v in body.items() if k != "messages"}, sort_keys=True) for _, body in server.asked}
    assert [json.loads(each) for each in rest] == [
        {"model": "m", "max_tokens": 50, "temperature": 1.0, "reasoning_effort": "high"}
    ]
    assert server.most_at_once <= 4
    row = rows(tmp_path)[3]
    assert row["messages"] == [{"role": "user", "content": "say 1"}]
    assert row["text"] == "<think>\nIt says 1.\n</think>\n\n1"
    assert (row["tokens"], row["finish"]) == (20, "stop")
    assert "20 answers of this teacher: 20 calls" in notes(events)


def test_seeds_differ_from_sample_to_sample_and_come_again_whatever_the_chunks(tmp_path: Path) -> None:
    found = []
    with teacher() as server:
        for name, chunk in (("one", 10), ("two", 3)):
            (tmp_path / name).mkdir()
            before = len(server.asked)
            own, _ = job(
                tmp_path / name, server.url, seeded=True, sample={"chunk": chunk}, limit="max_completion_tokens"
            )
            run_stage(own)
            bodies = [body for _, body in server.asked[before:]]
            assert all(body["max_completion_tokens"] == 50 and "max_tokens" not in body for body in bodies)
            assert all(0 <= body["seed"] < 2**31 for body in bodies)
            found.append({(question(body), body["seed"]) for body in bodies})
    assert len({seed for _, seed in found[0]}) == 20
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"request": {"n": 4}}, "request may not set n"),
        ({"request": {"max_tokens": None}}, "request may not set max_tokens"),
        ({"max_usd": 1}, "max_usd needs prices"),
        ({"endpoint": {"key": {"env": "OPENAI_API_KEY"}}}, "belongs to api.openai.com"),
        ({"modle": "x"}, "modle"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        job(tmp_path, "http://127.0.0.1:9/v1", **options)


# --- cost ---------------------------------------------------------------------------------------

# --- a server that moves -----------------------------------------------------------------------------


def test_a_named_teacher_that_moves_is_asked_for_the_rest_alone(tmp_path: Path) -> None:
    with teacher() as first, teacher() as second:
        capped, _ = job(tmp_path, first.url, max_calls=7, teacher="mine")
        with pytest.raises(RefusedError, match="7 calls are spent"):
            run_stage(capped)
        moved, _ = job(tmp_path, second.url, teacher="mine")
        assert moved.stage.fingerprint == capped.stage.fingerprint, "a half-done stage goes on"
        run_stage(moved)
    assert (len(first.asked), len(second.asked)) == (7, 13)
    assert is_right(tmp_path)


def test_answers_of_a_server_without_a_name_are_good_where_its_old_url_is_the_name(tmp_path: Path) -> None:
    ledger = {"ledger": str(tmp_path / "ledger")}
    counts = []
    with teacher() as first, teacher() as second:
        for place, url, options in (
            ("once", first.url, {}),
            ("by_name", second.url, {"teacher": f"{first.url}/"}),
            ("unnamed", second.url, {}),
        ):
            (tmp_path / place).mkdir()
            own, _ = job(tmp_path / place, url, sample=ledger, **options)
            run_stage(own)
            assert is_right(tmp_path / place)
            counts.append((len(first.asked), len(second.asked)))
    assert counts == [(20, 0), (20, 0), (20, 20)]


def test_without_a_name_the_address_is_who_answers(tmp_path: Path) -> None:
    here, _ = job(tmp_path, "http://127.0.0.1:8000/v1")
    there, _ = job(tmp_path, "http://127.0.0.1:8001/v1")
    assert here.stage.fingerprint != there.stage.fingerprint
    sampler = here.plan.component("sampler", here.stage.stage.sampler)
    told = {"url": "http://127.0.0.1:8000/v1", "model": "m", "revision": "", "request": '{"seeded": false}'}
    assert sampler.identity() == told, "as ever: ledgers that exist stay good"


PRICES = {"input": 100.0, "output": 1000.0}
"""20 output and 10 input tokens cost 0.021 USD; 50 output tokens and 70 bytes 0.057."""


def test_the_account_tells_what_was_asked_and_paid(tmp_path: Path) -> None:
    with teacher() as server:
        own, events = job(tmp_path, server.url, prices=PRICES)
        run_stage(own)
    told = last(tmp_path)
    assert told["traces/usd"] == pytest.approx(20 * 0.021)
    assert told["time/usd"] == pytest.approx(20 * 0.021)
    assert (told["traces/tokens_in"], told["traces/tokens_out"], told["traces/answers"]) == (200, 400, 20)
    assert "20 calls, 0.4200 USD" in notes(events)


def test_no_call_goes_beyond_a_cap_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with teacher(wait_s=0.02) as server:
        own, _ = job(tmp_path, server.url, max_calls=7)
        with pytest.raises(RefusedError, match=r"7 calls are spent; one more could go beyond max_calls, 7") as caught:
            run_stage(own)
        assert caught.value.exit_code == 4
        assert "every answer is kept" in caught.value.fix
        assert len(server.asked) == 7
        more, _ = job(tmp_path, server.url, max_calls=20)
        run_stage(more)
        assert len(server.asked) == 20
    assert is_right(tmp_path)
    assert max(asked(server).values()) == 2


@pytest.mark.parametrize("counts", [True, False])
def test_the_bill_never_exceeds_the_cap(tmp_path: Path, counts: bool) -> None:
    def uncounted(server: Server, number: int, body: Body) -> Raw | None:
        return None if counts else completion({"content": "x"}, tokens=None)

    with teacher(uncounted, wait_s=0.02) as server:
        own, events = job(tmp_path, server.url, prices=PRICES, max_usd=0.3)
        with pytest.raises(RefusedError, match="max_usd"):
            run_stage(own)
    each = 0.021 if counts else 0.057
    spent = len(server.asked) * each
    assert 0.3 - 0.06 < spent <= 0.3
    assert f"{len(server.asked)} calls" in notes(events)


def test_a_call_that_brought_nothing_is_paid_for_at_its_worst(tmp_path: Path) -> None:
    with teacher(lambda server, n, body: (500, {}, b"") if n < 3 else None) as server:
        own, _ = job(tmp_path, server.url, prices=PRICES, endpoint={"give_up_s": 30})
        run_stage(own)
    assert server.faults == 3
    told = last(tmp_path)
    assert (told["time/calls"], told["time/lost_calls"]) == (23, 3)
    assert told["traces/usd"] == pytest.approx(20 * 0.021)
    assert 0.42 + 3 * 0.05 < told["time/usd"] < 0.42 + 3 * 0.06


def test_a_plan_tells_calls_tokens_cost_and_time_before(tmp_path: Path) -> None:
    own, _ = job(tmp_path, "http://127.0.0.1:9/v1", problems=100, prices=PRICES, sample={"prompts": 1000})
    lines = list(quote_lines(own.plan, own.plan.stages))
    head, row = lines[-2].split(), lines[-1].split()
    assert lines[-3] == "asked elsewhere (low, expected, high)"
    assert head[:3] == ["stage", "calls", "tokens"]
    assert row[:2] == ["traces", "200"]  # the source has no more than 100
    # 100 prompts of 5.9 bytes, twice; 200 answers of 10, 40 and 100 % of 50 tokens; at 1,000 USD a million
    assert "1, 4, 10 k" in lines[-1]
    assert "1.02, 4.03, 10.05" in lines[-1]
    free, _ = job(tmp_path, "http://127.0.0.1:9/v1")
    assert "no USD without prices" in list(quote_lines(free.plan, free.plan.stages))[-1]


# --- keys, and what it needs --------------------------------------------------------------------


def test_the_key_is_sent_and_is_in_no_file_note_or_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-canary-77ab"
    monkeypatch.setenv("TOY_TEACHER_KEY", key)
    caplog.set_level(0)

    def echo(server: Server, number: int, body: Body) -> Raw | None:
        return (400, {}, f"{key} may not ask that".encode()) if question(body) == "say 3" else None

    with teacher(echo) as server:
        own, events = job(tmp_path, server.url, endpoint={"key": {"env": "TOY_TEACHER_KEY"}})
        run_stage(own)
    assert server.faults == 2
    assert set(server.keys) == {f"Bearer {key}"}
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [content for content in files if key.encode() in content]
    assert key not in notes(events) + caplog.text + repr(own.plan.stages)


def test_a_missing_key_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with teacher() as server:
        own, _ = job(tmp_path, server.url, endpoint={"key": {"env": "TOY_TEACHER_KEY"}})
        with pytest.raises(Exception, match="TOY_TEACHER_KEY is not set"):
            run_stage(own)
    assert server.asked == []


def test_such_a_stage_needs_neither_torch_nor_a_policy(tmp_path: Path) -> None:
    with teacher() as server:
        job(tmp_path, server.url)
        code = (
            "import sys; from pathlib import Path; from toy_teacher import job; from r1core.stages import run_stage;"
            f"own, _ = job(Path({str(tmp_path)!r}), {server.url!r}); run_stage(own);"
            "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
        )
        here = str(Path(__file__).parent)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here, timeout=120
        )
    assert done.stdout.strip() == "[]"
    assert is_right(tmp_path)
