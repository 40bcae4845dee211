"""`r1 review` without a browser: what its server lets in, what is kept, and a recipe that takes what was decided."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from small_disk import files_of_at_most
from toy_runs import go

from r1_plugins.review.decisions import Decisions
from r1_plugins.review.exported import Exported, find_export, recipe_path
from r1_plugins.review.server import Server
from r1core.errors import RecipeError, SetupError
from r1core.stages.review_file import laid_out, read_reviews
from r1core.store import read_rows

Rows = list[dict[str, Any]]


def rows_of(count: int, text: str = "because</think>yes") -> Rows:
    return [
        {
            "id": f"p{i}",
            "sample": 0,
            "messages": [{"role": "user", "content": f"question {i}"}],
            "prefilled": "<think>",
            "text": f"{i} {text}",
            "keep": True,
            "reason": "",
        }
        for i in range(count)
    ]


def exported(folder: Path, rows: Rows) -> Path:
    path = folder / "review.jsonl"
    path.write_text("".join(json.dumps(laid_out(row)) + "\n" for row in rows))
    return path


def ask(
    port: int, method: str, path: str, body: dict[str, Any] | None = None, **headers: str
) -> tuple[int, dict[str, Any] | str]:
    """One request; header names with `_` for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        said = answer.read().decode()
        return answer.status, json.loads(said) if answer.headers["Content-Type"].startswith(
            "application/json"
        ) else said
    finally:
        connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    answers = Exported.read(exported(tmp_path, rows_of(3)))
    with Decisions.open(answers, tmp_path / "mine.jsonl") as decisions, Server(decisions, 0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


REJECT = {"page": 1, "place": 0, "decision": "reject", "reason": "no"}


def test_a_host_that_was_rebound_to_this_machine_gets_nothing(server: Server) -> None:
    port = server.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        for method, path in (("GET", f"/?token={server.token}"), ("GET", "/api/open"), ("POST", "/api/decide")):
            status, said = ask(port, method, path, REJECT, Host=host, X_Review_Token=server.token)
            assert status == 403, (host, path)
            assert "question" not in str(said)
    assert server.decisions.counts()["undecided"] == 3
    assert ask(port, "GET", "/api/open", Host=f"localhost:{port}", X_Review_Token=server.token)[0] == 200


def test_without_the_token_nothing_is_shown_or_written(server: Server) -> None:
    port = server.server_port
    assert ask(port, "GET", "/api/open", X_Review_Token=server.token)[0] == 200
    for token in ({}, {"X_Review_Token": "guess"}, {"X_Review_Token": "\xe9"}, {"Cookie": f"token={server.token}"}):
        for method, path in (("GET", "/api/row?place=0"), ("GET", "/api/open"), ("POST", "/api/decide")):
            assert ask(port, method, path, REJECT, **token)[0] == 403, (token, path)
    assert ask(port, "GET", "/")[0] == 403
    assert ask(port, "GET", "/?token=guess")[0] == 403
    assert server.decisions.counts()["undecided"] == 3
    assert ask(port, "POST", "/api/decide", REJECT, X_Review_Token=server.token) == (200, {"state": "rejected"})


def test_a_request_that_makes_no_sense_changes_nothing(server: Server) -> None:
    port = server.server_port
    ask(port, "GET", "/api/open", X_Review_Token=server.token)
    for wrong in ({"place": 3}, {"place": -1}, {"place": None}, {"decision": "drop"}, {"page": 7}, {"text": 1}):
        status, said = ask(port, "POST", "/api/decide", {**REJECT, **wrong}, X_Review_Token=server.token)
        assert status == 400, wrong
        assert isinstance(said, dict)
        assert said["error"]
    edit = {"page": 1, "place": 0, "decision": "edit", "text": "a thought without an end"}
    status, said = ask(port, "POST", "/api/decide", edit, X_Review_Token=server.token)
    assert (status, "one think block" in str(said)) == (400, True)
    assert server.decisions.counts()["undecided"] == 3


def test_half_a_character_is_refused_before_it_is_kept(server: Server) -> None:
    ask(server.server_port, "GET", "/api/open", X_Review_Token=server.token)
    for wrong in ({**REJECT, "reason": "\ud83d"}, {**REJECT, "decision": "edit", "text": "a \ud83d</think>b"}):
        status, said = ask(server.server_port, "POST", "/api/decide", wrong, X_Review_Token=server.token)
        assert (status, "half a character" in str(said)) == (400, True)
    assert not server.decisions.output.exists()
    assert ask(server.server_port, "POST", "/api/decide", REJECT, X_Review_Token=server.token)[0] == 200
    assert len(read_reviews(server.decisions.output, None)) == 3


@pytest.mark.parametrize("line", ['{"id": "p0"', '{"id": "p0"}', '{"text": "\\ud83d", "reason": ""}', "[1]"])
def test_a_damaged_line_of_the_journal_is_named(tmp_path: Path, line: str) -> None:
    answers = Exported.read(exported(tmp_path, rows_of(3)))
    (tmp_path / "mine.jsonl.journal").write_text(line + "\n")
    with pytest.raises(RecipeError, match=r"mine\.jsonl\.journal:1: the line is damaged"):
        Decisions.open(answers, tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl.journal").read_text() == line + "\n"


def test_an_export_that_changed_is_not_written_about(server: Server) -> None:
    port = server.server_port
    ask(port, "GET", "/api/open", X_Review_Token=server.token)
    path = server.decisions.exported.path
    path.write_text(path.read_text().replace("because", "otherwise"))
    status, said = ask(port, "POST", "/api/decide", REJECT, X_Review_Token=server.token)
    assert (status, "has changed since it was opened" in str(said)) == (400, True)
    assert not server.decisions.output.exists()


def test_decisions_about_another_export_are_refused_and_kept(tmp_path: Path) -> None:
    output = tmp_path / "mine.jsonl"
    with Decisions.open(Exported.read(exported(tmp_path, rows_of(2))), output) as decisions:
        decisions.decide(0, "reject", reason="no")
    before = output.read_bytes()
    changed = Exported.read(exported(tmp_path, rows_of(2, "of something else</think>no")))
    with pytest.raises(RecipeError, match="another than the one that was reviewed"):
        Decisions.open(changed, output)
    assert output.read_bytes() == before


def test_one_reader_at_a_time(tmp_path: Path) -> None:
    found, output = Exported.read(exported(tmp_path, rows_of(1))), tmp_path / "mine.jsonl"
    with Decisions.open(found, output), pytest.raises(RecipeError, match="has this file open"):
        Decisions.open(found, output)
    Decisions.open(found, output).__exit__()


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_called_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "review.jsonl").write_text(content)
    said = command(str(tmp_path / "review.jsonl"))
    assert said.returncode == 2
    assert "is empty: there is nothing to review" in said.stderr


def test_what_is_no_export_is_told_with_its_line(tmp_path: Path) -> None:
    path = exported(tmp_path, rows_of(2))
    path.write_text(path.read_text() + '{"id": 3}\n')
    with pytest.raises(RecipeError, match="lacks id, sample"):
        Exported.read(path)
    for given, said in ((tmp_path / "none", "there is no"), (tmp_path.parent, "no review stage has run there")):
        with pytest.raises(RecipeError, match=said):
            find_export(given)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", "from r1core.cli import main; main()", "review", "--no-browser"]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = command(str(exported(tmp_path, rows_of(1))), "--output", str(tmp_path / "mine.jsonl"), "--port", port)
    assert said.returncode == 3, "the machine's, as a server's port is"
    assert f"port {port} cannot be used" in said.stderr
    assert "Traceback" not in said.stderr


def test_three_thousand_answers_stay_on_disk_and_every_decision_comes_back(tmp_path: Path) -> None:
    rows = rows_of(3000)
    found, output = Exported.read(exported(tmp_path, rows)), tmp_path / "mine.jsonl"
    with Decisions.open(found, output) as decisions:
        for place in range(0, 3000, 100):
            decisions.decide(place, "reject", reason=f"why {place}")
        assert not output.exists(), "a large file is not written anew with each decision"
        journal = output.with_name("mine.jsonl.journal")
        assert len(journal.read_text().splitlines()) == 30
        with pytest.raises(RecipeError, match="are not in it yet"):
            read_reviews(output, rows)
    assert not journal.exists()
    with Decisions.open(found, output) as again:
        assert again.counts() == {"undecided": 2970, "accepted": 0, "edited": 0, "rejected": 30}
        assert again.row(2900)["reason"] == "why 2900"
    assert sum(not review.keep for review in read_reviews(output, rows).values()) == 30


def test_a_decision_in_the_journal_is_no_failure_where_the_output_finds_no_room(tmp_path: Path) -> None:
    """The output is too much for the disk, the journal is not: the decisions count, now and after a new start."""
    found, output = Exported.read(exported(tmp_path, rows_of(20, "x" * 2000 + "</think>yes"))), tmp_path / "mine.jsonl"
    with files_of_at_most(20_000):
        decisions = Decisions.open(found, output)
        for place in range(4):
            assert decisions.decide(place, "reject", reason="dull") == "rejected"
        assert not output.exists()  # the fault fired
        with pytest.raises(SetupError, match="cannot be written") as ended:
            decisions.__exit__()
        assert ended.value.where == str(output)
        assert "every decision is in" in ended.value.fix
        assert "run-dir" not in str(ended.value)
        again = Decisions.open(found, output)
        assert again.counts()["rejected"] == 4
        assert again.decide(4, "accept") == "accepted"
        with pytest.raises(SetupError):
            again.__exit__()
    with Decisions.open(found, output) as last:
        assert (last.counts()["rejected"], last.counts()["accepted"]) == (4, 1)
        assert output.exists()
    assert not (tmp_path / "mine.jsonl.journal").exists()


def test_a_decision_that_is_nowhere_is_refused_and_does_not_count(tmp_path: Path) -> None:
    found, output = Exported.read(exported(tmp_path, rows_of(3))), tmp_path / "mine.jsonl"
    with Decisions.open(found, output) as decisions:
        with files_of_at_most(10), pytest.raises(SetupError) as refused:
            decisions.decide(0, "reject")
        assert refused.value.fix == "free space on the disk and decide it again; what was decided before is kept"
        assert decisions.counts()["undecided"] == 3
    with Decisions.open(found, output) as again:
        assert again.counts()["undecided"] == 3


# --- a whole run ---------------------------------------------------------------------------------

STAGES = """\
  base: BASE
  samples: {sample: {prompts: 6, samples: 2}, model: base, problems: Numbers, rewards: [Exact], filters: [Right]}
  reviewed: {review: {path: REVIEWS}, data: samples}
  student: {train: {use: Climb, data: [reviewed]}, model: base}
"""


def test_what_is_decided_through_the_server_is_what_the_recipe_learns_from(tmp_path: Path) -> None:
    stages = STAGES.replace("REVIEWS", str(tmp_path / "reviews" / "mine.jsonl"))
    go(tmp_path, stages)
    export = find_export(tmp_path / "run")
    count = len(export.read_text().splitlines())
    assert count >= 3
    assert recipe_path(export) == tmp_path / "reviews" / "mine.jsonl"
    start = [sys.executable, "-u", "-c", "from r1core.cli import main; main()"]
    process = subprocess.Popen(
        [*start, "review", str(tmp_path / "run"), "--no-browser"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port, token = next(filter(None, (re.search(r":(\d+)/\?token=(\S+)", line) for line in process.stdout))).groups()
        page = ask(int(port), "GET", "/api/open", X_Review_Token=token)[1]
        assert isinstance(page, dict)
        assert page["states"] == "u" * count
        text = "<think>by hand</think><answer>better</answer>"
        for decision in ({"decision": "edit", "text": text}, {"decision": "reject", "reason": "dull"}):
            place = 0 if "text" in decision else 1
            body = {"page": page["page"], "place": place, **decision}
            assert ask(int(port), "POST", "/api/decide", body, X_Review_Token=token)[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    go(tmp_path, stages)
    data = [row for row in read_rows(tmp_path / "run/stages/reviewed/data") if row["keep"] or row["reason"] == "dull"]
    assert [row["text"] for row in data if row["text"] == text] == [text]
    assert [row["keep"] for row in data if row["reason"] == "dull"] == [False]
    assert len(data) == count
    metrics = json.loads((tmp_path / "run/stages/reviewed/stage.json").read_text())["metrics"]
    assert metrics == {"review/edited": 1.0, "review/rejected": 1.0, "review/unchanged": count - 2.0}
