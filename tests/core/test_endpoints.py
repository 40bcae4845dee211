"""Servers that a recipe names: what is refused, where keys go, what is tried again, and how a call ends."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from r1core.endpoints import BadReply, Declined, Endpoint, EndpointError, GaveUp, Secret, ask
from r1core.endpoints.addresses import refusal
from r1core.errors import RefusedError, SetupError

Raw: TypeAlias = tuple[int, Mapping[str, str], bytes]
YES: Raw = (200, {}, b'{"said": "yes"}')


@dataclass
class Seen:
    """What reached a server."""

    url: str
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving(reply: Callable[[int], Raw]) -> Iterator[Seen]:
    """A server whose reply to request `n` (from 0) is `reply(n)`; status 0 resets the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            number = len(seen.times)
            seen.times.append(time.monotonic())
            seen.headers.append({name.lower(): value for name, value in self.headers.items()})
            seen.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            seen.paths.append(self.path)
            status, headers, content = reply(number)
            if not status:
                self.connection.close()
                return
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        seen = Seen(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


def endpoint(url: str, **options: Any) -> Endpoint:
    return Endpoint(url=url, **{"timeout_s": 5, "give_up_s": 10, **options})


# --- where it may go --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/v1",
        "http://169.254.1.1",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://0.0.0.0:8000/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://user@api.openai.com/v1",
        "http://user:word@api.openai.com/v1",
        "http://api.openai.com@evil.example/v1",
        "http://evil.example\\@api.openai.com/",
        "http:\\\\evil.example/",
        "http://evil.example\\.api.openai.com/",
        "https://api.openai.com/v1?x=1",
        "https://api.openai.com/v1#x",
        "https://api.openai.com/../v1",
        "https://api.openai.com/%2e%2e/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://127.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "ftp://api.openai.com/v1",
        "file:///etc/passwd",
        "//api.openai.com/v1",
        "api.openai.com/v1",
        "http:///v1",
        "http://ex ample.org/",
        "http://example.org/\n",
        "http://ex\u0430mple.org/",
        "http://169\u3002254\u3002169\u3002254/",
        " http://example.org/",
    ],
)
def test_what_must_not_be_contacted_is_refused_as_it_stands(url: str) -> None:
    with pytest.raises(ValidationError):
        Endpoint(url=url)


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://api.openai.com/v1", "api.openai.com", "https://api.openai.com"),
        ("https://API.OpenAI.com:443/v1/", "api.openai.com", "https://api.openai.com:443"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "::1", "http://[::1]:8000"),
        ("http://10.1.2.3/v1", "10.1.2.3", "http://10.1.2.3"),
        ("https://a-b.example.org/some/path.d/v1~x", "a-b.example.org", "https://a-b.example.org"),
    ],
)
def test_servers_as_people_write_them_are_taken(url: str, host: str, origin: str) -> None:
    found = Endpoint(url=url)
    assert (found.host, found.origin) == (host, origin)


@pytest.mark.parametrize(
    ("host", "address", "private", "says"),
    [
        ("innocent.example", "169.254.169.254", False, "metadata"),
        ("innocent.example", "169.254.169.254", True, "metadata"),
        ("innocent.example", "fd00:ec2::254", True, "metadata"),
        ("innocent.example", "127.0.0.1", False, "private network"),
        ("innocent.example", "10.0.0.7", False, "private network"),
        ("innocent.example", "::ffff:10.0.0.7", False, "private network"),
        ("innocent.example", "fd12::1", False, "private network"),
        ("innocent.example", "100.64.0.1", False, "private network"),
    ],
)
def test_a_name_is_checked_again_as_it_resolves(
    host: str, address: str, private: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def resolve(name: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(RefusedError, match=says):
        ask(endpoint(f"http://{host}/v1", private=private), "/x", {})
    assert asked == [host]


def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 80)) for a in ("8.8.8.8", "169.254.169.254")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    with pytest.raises(RefusedError, match="metadata"):
        ask(endpoint("http://innocent.example"), "/x", {})


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name answers once with what is allowed, and ever after with something else."""
    real, answers = socket.getaddrinfo, iter(["127.0.0.1"])

    def resolve(name: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        if name == "judge.example":
            return real(next(answers), port, *rest, **more)
        return real(name, port, *rest, **more)

    with serving(lambda n: YES) as seen:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        port = seen.url.rpartition(":")[2]
        assert ask(endpoint(f"http://judge.example:{port}", private=True), "/x", {}) == {"said": "yes"}
    assert seen.headers[0]["host"] == f"judge.example:{port}"
    assert next(answers, None) is None


def test_a_second_address_is_tried_where_nobody_listens_at_the_first() -> None:
    with serving(lambda n: YES) as seen:
        assert ask(endpoint(seen.url.replace("127.0.0.1", "localhost")), "/x", {}) == {"said": "yes"}


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data", "/elsewhere", "https://example.org"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int, location: str) -> None:
    with serving(lambda n: (status, {"Location": location}, b"")) as seen, pytest.raises(Declined) as caught:
        ask(endpoint(seen.url), "/x", {})
    assert caught.value.status == status
    assert location in caught.value.what
    assert len(seen.times) == 1


def test_public_addresses_are_taken() -> None:
    for text in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert refusal(ipaddress.ip_address(text), private=text.startswith("::ffff")) == ""


# --- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "https://evil.example/v1", "key": {"env": "OPENAI_API_KEY"}}, "belongs to api.openai.com"),
        ({"url": "https://api.openai.com.evil.example/v1", "key": {"env": "OPENAI_API_KEY"}}, "belongs to"),
        ({"url": "https://a.example/v1", "key": {"env": "MINE"}, "key_host": "b.example"}, "belongs to b.example"),
        ({"url": "http://a.example/v1", "key": {"env": "MINE"}}, "unencrypted"),
        ({"url": "http://8.8.8.8/v1", "key": {"env": "MINE"}}, "unencrypted"),
        ({"url": "https://a.example/v1", "key": {"env": "A B"}}, "pattern"),
        ({"url": "https://a.example/v1", "key": "sk-123"}, "key"),
    ],
)
def test_a_key_goes_to_its_host_alone(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Endpoint(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "https://api.openai.com/v1", "key": {"env": "OPENAI_API_KEY"}},
        {"url": "https://proxy.example/v1", "key": {"env": "OPENAI_API_KEY"}, "key_host": "proxy.example"},
        {"url": "https://a.example/v1", "key": {"env": "MINE"}},
        {"url": "http://127.0.0.1:1/v1", "key": {"env": "MINE"}},
        {"url": "http://judge.lan/v1", "key": {"env": "MINE"}, "private": True},
    ],
)
def test_a_key_with_its_host_is_taken_by_name(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(options["key"]["env"], "sk-canary")
    assert "sk-canary" not in Endpoint(**options).model_dump_json() + repr(Endpoint(**options))


def test_the_key_is_sent_and_a_server_that_echoes_it_does_not_get_it_into_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "sk-canary")
    with serving(lambda n: (400, {}, b"sk-canary is no good\x1b[2J")) as seen, pytest.raises(Declined) as caught:
        ask(endpoint(seen.url, key={"env": "MINE"}), "/x", {})
    assert seen.headers[0]["authorization"] == "Bearer sk-canary"
    assert "[key] is no good[2J" in str(caught.value)
    assert "sk-canary" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", "sk 1", "sk-\u00e9", "sk\n1"])
def test_a_key_that_is_missing_or_none_is_said_and_never_shown(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINE", raising=False)
    if value is not None:
        monkeypatch.setenv("MINE", value)
    with pytest.raises(SetupError, match="MINE") as caught:
        Secret(env="MINE").reveal()
    assert caught.value.exit_code == 3
    assert not (value or "").strip() or value not in str(caught.value)


# --- calls ------------------------------------------------------------------------------------------


def test_a_call_sends_json_and_returns_it() -> None:
    with serving(lambda n: YES) as seen:
        assert ask(endpoint(f"{seen.url}/v1/"), "/chat", {"a": [1, "\ud800é"]}) == {"said": "yes"}
    assert seen.paths == ["/v1/chat"]
    assert seen.bodies == [{"a": [1, "\ud800é"]}]
    assert seen.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, 0])
def test_what_may_pass_is_tried_again(fault: int) -> None:
    with serving(lambda n: (fault, {}, b"") if n < 2 else YES) as seen:
        assert ask(endpoint(seen.url), "/x", {}) == {"said": "yes"}
    assert len(seen.times) == 3


@pytest.mark.parametrize("fault", [400, 401, 403, 404, 409, 410, 413, 418, 422])
def test_what_will_not_pass_is_not(fault: int) -> None:
    with serving(lambda n: (fault, {}, b"because")) as seen, pytest.raises(Declined, match="because") as caught:
        ask(endpoint(seen.url), "/x", {})
    assert (caught.value.status, len(seen.times)) == (fault, 1)


TOO_LONG = {"message": "This model's maximum context length is 64 tokens", "code": "context_length_exceeded"}


@pytest.mark.parametrize(
    ("status", "error", "fix"),
    [
        (400, TOO_LONG, "fewer tokens"),
        (400, {"message": "max_tokens is 9, at most 4 are written here", "param": "max_tokens"}, "fewer tokens"),
        (400, {"message": TOO_LONG["message"], "code": 400, "param": None}, "fewer tokens"),
        (400, {"message": "temperature: too large", "param": "temperature"}, "mend what it names"),
        (401, {"message": "a key is needed", "code": "invalid_api_key"}, "its key"),
        (404, {"message": "there is no model 'x'", "param": "model", "code": "model_not_found"}, "the model's name"),
        (404, {"detail": "Not Found"}, "mend url"),
        (405, {"message": "POST /x: Method Not Allowed"}, "mend url"),
    ],
)
def test_a_refusal_names_the_address_that_was_asked_and_what_to_mend(status: int, error: Any, fix: str) -> None:
    for body in ({"error": error}, error):  # OpenAI's shape, and that of older servers of vLLM
        content = json.dumps(body).encode()
        with serving(lambda n, content=content: (status, {}, content)) as seen, pytest.raises(Declined) as caught:
            ask(endpoint(f"{seen.url}/v1"), "/chat/completions", {})
        assert caught.value.where == f"{seen.url}/v1/chat/completions"
        assert fix in str(caught.value.fix)


def test_a_refused_key_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-canary")
    with serving(lambda n: (401, {}, b"{}")) as seen, pytest.raises(Declined) as caught:
        ask(endpoint(seen.url, key={"env": "MINE"}), "/x", {})
    assert "the key in MINE" in str(caught.value.fix)


def test_it_gives_up_in_time_with_one_typed_error() -> None:
    began_s = time.monotonic()
    with serving(lambda n: (503, {}, b"")) as seen, pytest.raises(GaveUp, match="HTTP 503") as caught:
        ask(endpoint(seen.url, give_up_s=1), "/x", {})
    assert isinstance(caught.value, EndpointError)
    assert (caught.value.status, caught.value.exit_code) == (503, 3)
    assert 2 <= len(seen.times) <= 12
    assert time.monotonic() - began_s < 15


def test_nobody_there_is_the_same_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(GaveUp, match="ConnectError"):
            ask(endpoint(f"http://127.0.0.1:{held.getsockname()[1]}", give_up_s=0.5), "/x", {})


def test_a_black_hole_is_left_after_the_time_out() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        with pytest.raises(GaveUp, match="nothing whole within"):
            ask(endpoint(f"http://127.0.0.1:{hole.getsockname()[1]}", timeout_s=0.3, give_up_s=0.5), "/x", {})


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(form: str) -> None:
    def reply(number: int) -> Raw:
        if number:
            return YES
        then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2.9))
        return 429, {"Retry-After": "2" if form == "seconds" else then}, b""

    with serving(reply) as seen:
        assert ask(endpoint(seen.url), "/x", {}) == {"said": "yes"}
    assert seen.times[1] - seen.times[0] > 1.8


def test_a_wait_beyond_the_cap_is_not_begun() -> None:
    began_s = time.monotonic()
    with serving(lambda n: (429, {"Retry-After": "3600"}, b"")) as seen, pytest.raises(GaveUp):
        ask(endpoint(seen.url, give_up_s=5), "/x", {})
    assert len(seen.times) == 1
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"{", b"\xff\xfe", b"NaN", b"[" * 200_000], ids=lambda content: repr(content[:8])
)
def test_what_is_no_json_is_a_bad_reply(content: bytes) -> None:
    with serving(lambda n: (200, {}, content)) as seen, pytest.raises(BadReply, match="no JSON"):
        ask(endpoint(seen.url), "/x", {})
    assert len(seen.times) == 1


def test_no_more_is_read_of_a_reply_than_allowed() -> None:
    with serving(lambda n: (200, {}, b'"' + b"x" * 3_000_000 + b'"')) as seen, pytest.raises(BadReply, match="64 KiB"):
        ask(endpoint(seen.url, max_reply_kib=64), "/x", {})
    assert seen.headers[0]["accept-encoding"] == "identity"


def test_no_proxy_of_the_environment_sees_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda n: YES) as seen, serving(lambda n: YES) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        ask(endpoint(seen.url), "/x", {})
    assert (len(seen.times), len(proxy.times)) == (1, 0)


def test_importing_it_imports_no_http_library() -> None:
    code = "import sys, r1core.endpoints; print([m for m in ('httpx', 'stamina', 'httpcore') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
