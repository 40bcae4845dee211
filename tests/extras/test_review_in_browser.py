"""`r1 review` in a headless Chromium: accept, edit, reject, reload, kill; nothing is lost, and the recipe takes it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r1core.stages.review_file import laid_out, read_reviews

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here")
HOSTILE = '<script>document.title="owned"</script><img src=x onerror="document.title=1">'
ROWS: list[dict[str, Any]] = [
    {
        "id": f"p{i}",
        "sample": 0,
        "messages": [{"role": "user", "content": f"question {i} {HOSTILE}"}],
        "prefilled": "<think>",
        "text": f"thought {i} {HOSTILE}</think>answer {i}\u202e",
        "keep": True,
        "reason": "",
    }
    for i in range(5)
]


class Reviewing:
    """A server on a file of five answers."""

    def __init__(self, folder: Path) -> None:
        self.export, self.output = folder / "review.jsonl", folder / "out" / "mine.jsonl"
        self.export.write_text("".join(json.dumps(laid_out(row)) + "\n" for row in ROWS))
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> str:
        command = [
            sys.executable,
            "-u",
            "-c",
            "from r1core.cli import main; main()",
            "review",
            str(self.export),
            "--no-browser",
        ]
        process = subprocess.Popen([*command, "--output", str(self.output)], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise AssertionError("it said no address")

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.processes[-1].send_signal(how)
        return self.processes[-1].wait(30)

    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@pytest.fixture
def reviewing(tmp_path: Path) -> Iterator[Reviewing]:
    found = Reviewing(tmp_path)
    yield found
    for process in found.processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def page() -> Iterator[Any]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        found = browser.new_context().new_page()
        found.problems = []
        found.on("console", lambda message: found.problems.append(message.text) if message.type == "error" else None)
        found.on("pageerror", lambda error: found.problems.append(str(error)))
        yield found
        browser.close()


def at(page: Any, number: int) -> None:
    playwright.expect(page.locator("#where")).to_contain_text(f"{number} of 5")


def test_accept_edit_reject_reload_and_kill_lose_nothing(reviewing: Reviewing, page: Any) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    url = reviewing.start()
    page.goto(url)
    at(page, 1)
    assert page.text_content("#thinking") == f"thought 0 {HOSTILE}"
    assert "answer 0" in page.text_content("#answer")
    page.keyboard.press("a")
    at(page, 2)
    page.keyboard.press("e")
    page.fill("#text", "half a thought, no end")
    page.keyboard.press("Control+Enter")
    playwright.expect(page.locator("#message")).to_contain_text("one think block")
    page.fill("#text", "better</think>two")
    page.keyboard.press("Control+Enter")
    at(page, 3)
    page.keyboard.press("r")
    page.fill("#reason", "wrong language")
    page.keyboard.press("Enter")
    at(page, 4)
    page.reload()
    at(page, 4)
    playwright.expect(page.locator("#counts")).to_contain_text("2 undecided · 1 accepted · 1 edited · 1 rejected")
    if shots := os.environ.get("R1_SHOTS"):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (1280, 400):
                page.set_viewport_size({"width": width, "height": 800})
                page.screenshot(path=f"{shots}/review-{scheme}-{width}.png")
    assert page.title() == "r1 review"
    assert {re.sub(r"(:\d+)/.*", r"\1", each) for each in requests if not each.startswith("data:")} == {
        url.split("/?")[0]
    }
    assert [each for each in page.problems if "400" not in each] == []  # the refused edit was a 400
    assert reviewing.stop(signal.SIGKILL) == -signal.SIGKILL
    page.goto(reviewing.start())
    at(page, 4)
    page.keyboard.press("k")
    playwright.expect(page.locator("#why")).to_have_text("wrong language")
    page.keyboard.press("n")
    at(page, 4)
    page.keyboard.press("a")
    at(page, 5)
    assert reviewing.stop() == 0
    first, second, third, *_, last = reviewing.written()
    assert first["reviewed"] is True
    assert second["text"] == "better</think>two"
    assert (third["keep"], third["reason"]) == (False, "wrong language")
    assert "reviewed" not in last
    assert len(read_reviews(reviewing.output, ROWS)) == 5


def test_the_page_opened_last_writes(reviewing: Reviewing, page: Any) -> None:
    url = reviewing.start()
    page.goto(url)
    at(page, 1)
    other = page.context.new_page()
    other.goto(url)
    at(other, 1)
    page.keyboard.press("a")
    playwright.expect(page.locator("#message")).to_contain_text("another page")
    other.keyboard.press("a")
    at(other, 2)
    assert reviewing.stop() == 0
    assert [row.get("reviewed") for row in reviewing.written()] == [True, None, None, None, None]
