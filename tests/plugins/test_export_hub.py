"""Pushing to the hub, against a server that answers as the hub does: private unless asked, and only when asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from talking_model import build
from test_export import done, refused, run

from r1core.errors import RefusedError, SetupError

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Remembers every request; `private` is what it says of the repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, bytes]] = []
        self.private: bool | None = None
        self.there: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._note()
        if "/tree/" in self.path:
            self._say([{"type": "file", "path": path, "oid": REVISION, "size": 1} for path in self.server.there])
            return
        siblings = [{"rfilename": path} for path in self.server.there]
        self._say({"id": "me/r1", "private": self.server.private, "sha": REVISION, "siblings": siblings, "tags": []})

    def do_HEAD(self) -> None:
        self._note()
        self._say({})

    def do_POST(self) -> None:
        body = self._note()
        if self.path.endswith("/repos/create"):
            self.server.private = (
                (json.loads(body).get("visibility") == "private")
                if self.server.private is None
                else self.server.private
            )
            self._say({"url": f"http://{self.headers['Host']}/me/r1", "id": "me/r1"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._say({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in self.path:
            self._say({"commitUrl": f"http://{self.headers['Host']}/me/r1/commit/{REVISION}", "commitOid": REVISION})
        else:
            self._say({"errors": [], "warnings": []})

    def _note(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        return body

    def _say(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"))


def test_nothing_is_sent_without_being_asked(hub: Hub, folder: Path, tmp_path: Path) -> None:
    done(folder, tmp_path / "out")
    assert hub.seen == []


@pytest.mark.parametrize("public", [False, True])
def test_it_is_created_private_unless_asked(hub: Hub, folder: Path, tmp_path: Path, public: bool) -> None:
    run(folder, tmp_path / "out", "--push-to-hub", "me/r1", *(["--public"] if public else []))
    created = next(json.loads(body) for _, path, body in hub.seen if path.endswith("/repos/create"))
    assert created["visibility"] == ("public" if public else "private")


@pytest.mark.parametrize("public", [False, True])
def test_an_upload_that_is_done_says_its_revision(hub: Hub, folder: Path, tmp_path: Path, public: bool) -> None:
    said = done(folder, tmp_path / "out", "--push-to-hub", "me/r1", *(["--public"] if public else []))
    assert f"pushed to me/r1 ({'public' if public else 'private'}), revision {REVISION}" in said
    (commit,) = [body for method, path, body in hub.seen if method == "POST" and "/commit/" in path]
    sent = {row["value"]["path"] for line in commit.splitlines() if (row := json.loads(line))["key"] == "file"}
    assert sent == {path.name for path in (tmp_path / "out").iterdir()}


def test_weights_of_an_earlier_export_do_not_stay_beside_the_new_ones(hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.there = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "old.gguf", "notes.md"]
    run(folder, tmp_path / "out", "--push-to-hub", "me/r1")
    (commit,) = [body for method, path, body in hub.seen if method == "POST" and "/commit/" in path]
    gone = {row["value"]["path"] for line in commit.splitlines() if (row := json.loads(line))["key"] == "deletedFile"}
    assert gone == {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "old.gguf"}


def test_a_repository_that_is_public_already_gets_nothing_that_is_meant_to_be_private(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    hub.private = False
    error = refused(folder, tmp_path / "out", "--push-to-hub", "me/r1")
    assert isinstance(error, RefusedError)
    assert not any("/commit/" in path for _, path, _ in hub.seen)


def test_without_a_network_the_export_stays(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    error = refused(folder, tmp_path / "out", "--push-to-hub", "me/r1")
    assert isinstance(error, SetupError)
    assert "the export is whole" in str(error)
    assert "hf_canary" not in str(error)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_name_that_is_none_and_a_missing_token_are_told_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert refused(folder, tmp_path / "out", "--push-to-hub", "a/b/c").exit_code == 2
    assert "hf auth login" in str(refused(folder, tmp_path / "out", "--push-to-hub", "me/r1"))
    assert not (tmp_path / "out").exists()
