"""The page's server: this machine alone, for whoever has the address with its token.

Another page in the same browser can reach the port, but not read the token: every call carries it in a
header, the Host must be ours (so that no name can be rebound to it), and the page runs no script but
its own file. One page writes at a time: the one that was opened last.
"""

from __future__ import annotations

import errno
import hmac
import json
import secrets
import signal
import threading
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from r1_plugins.review.decisions import Decisions
from r1core.errors import R1Error, RecipeError, SetupError
from r1core.types import Response

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
FIRST_PORT, TRIED = 8421, 40
MOST_BYTES = 4 << 20
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves one review."""

    daemon_threads = True

    def __init__(self, decisions: Decisions, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.decisions = decisions
        self.token = secrets.token_urlsafe(24)
        self.pages = 0

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"


def serve(decisions: Decisions, *, port: int | None, browser: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with _bound(decisions, port) as server:
        say(f"{len(decisions.states)} answers, decisions go to {decisions.output}")
        say(f"open {server.address}\nCtrl-C ends it; what was decided is kept")
        # set anew for Ctrl-C, too: a shell starts what goes on in the background with it ignored
        before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            if browser:
                webbrowser.open(server.address)
            thread.join()
        except KeyboardInterrupt:
            say("")
        finally:
            server.shutdown()
            for each, handler in before.items():
                signal.signal(each, handler)


def _bound(decisions: Decisions, port: int | None) -> Server:
    for tried in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + TRIED):
        try:
            return Server(decisions, tried)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    taken = f"port {port}" if port is not None else f"ports {FIRST_PORT} to {FIRST_PORT + TRIED - 1}"
    raise SetupError(f"{taken} cannot be used: in use, or not allowed", where="--port", fix="give another to --port")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "r1", ""

    def do_GET(self) -> None:
        """The page, the states of all answers, one answer."""
        url = urlsplit(self.path)
        if not self._is_ours():
            return
        if url.path in PAGE:
            if url.path == "/" and not self._knows(parse_qs(url.query).get("token", [""])[0]):
                self._send(403, b"open the address that r1 review printed, with its token", "text/plain")
                return
            name, kind = PAGE[url.path]
            self._send(200, (Path(__file__).parent / name).read_bytes(), kind)
        elif self._has_token():
            self._answer(lambda: self._get(url.path, parse_qs(url.query)))

    def do_POST(self) -> None:
        """A decision."""
        if self._is_ours() and self._has_token():
            self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses would show the token."""

    def _get(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        decisions = self.server.decisions
        if path == "/api/open":
            self.server.pages += 1
            return {"page": self.server.pages, "states": decisions.states.decode(), "output": str(decisions.output)}
        if path == "/api/row":
            row = decisions.row(self._place(query.get("place", [""])[0]))
            response = Response.parse(row["text"], prefilled=row["prefilled"])
            shown = {key: row[key] for key in ("id", "sample", "question", "prefilled", "text", "original", "reason")}
            return {**shown, "state": row["state"], "thinking": response.thinking, "answer": response.answer}
        raise RecipeError(f"there is no {path}")

    def _post(self) -> dict[str, Any]:
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 < size <= MOST_BYTES:
            raise RecipeError(f"a decision has 1 to {MOST_BYTES} bytes, got {size}")
        asked = json.loads(self.rfile.read(size))
        if asked.get("page") != self.server.pages:
            raise RecipeError("this review was opened in another page, which now writes; reload to go on here")
        decision, text, reason = (asked.get(key, "") for key in ("decision", "text", "reason"))
        if (
            decision not in ("accept", "edit", "reject", "clear")
            or not isinstance(text, str)
            or type(reason) is not str
        ):
            raise RecipeError("a decision is accept, edit, reject or clear")
        place = self._place(asked.get("place"))
        return {"state": self.server.decisions.decide(place, decision, text=text, reason=reason)}

    def _place(self, given: Any) -> int:
        count = len(self.server.decisions.states)
        place = int(given) if str(given).isdecimal() else -1
        if not 0 <= place < count:
            raise RecipeError(f"there is no answer {given}; there are {count}")
        return place

    def _answer(self, ask: Callable[[], dict[str, Any]]) -> None:
        try:
            status, found = 200, ask()
        except R1Error as error:
            status, found = 400, {"error": f"{error.what}{': ' * bool(error.fix)}{error.fix}"}
        except (ValueError, AttributeError) as error:
            status, found = 400, {"error": f"not understood: {error}"}
        self._send(status, json.dumps(found).encode(), "application/json")

    def _is_ours(self) -> bool:
        """Whether the Host is this server's: a name that was rebound to it is not."""
        port = self.server.server_port
        if self.headers.get("Host", "") in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return True
        self._send(403, b"this is not the host that r1 review printed", "text/plain")
        return False

    def _has_token(self) -> bool:
        if self._knows(self.headers.get("X-Review-Token", "")):
            return True
        self._send(403, b'{"error": "open the address that r1 review printed, with its token"}', "application/json")
        return False

    def _knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.server.token.encode())

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
