"""One conversation with a model behind an OpenAI-compatible server, as `r1 serve` and others are.

Thinking comes in `reasoning` or `reasoning_content`, or in the content between tags, and some servers leave the tags
of the answer. What goes wrong is said in the server's own words; the turn that it spoilt is forgotten.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from r1_plugins.chat.shown import Shown
from r1core.endpoints import Endpoint
from r1core.errors import R1Error, RecipeError, SetupError
from r1core.reasoning_stream import Pieces, Reasoning, without_thinking
from r1core.untrusted import untrusted

try:
    import httpx
except ImportError as error:
    fix = "pip install 'r1core[serve]'"
    raise SetupError(f"chat with a server needs {error.name}", where="r1 chat", fix=fix) from error

SILENCE = httpx.Timeout(300.0, connect=10.0)
"""Seconds without a word; a long answer takes as long as it takes."""
MOST_MESSAGE = 300
"""Characters of a server's message that are shown."""
ROUTE = "/chat/completions"


class RemoteTalk:
    """A server, the name of one of its models, and the history, in which past thinking is left out."""

    def __init__(
        self, address: str, *, model: str | None, key_env: str | None, temperature: float, max_new_tokens: int | None
    ) -> None:
        self.history: list[dict[str, str]] = []
        endpoint = _checked(address, key_env)
        self._base = endpoint.url
        self._settings = {"temperature": temperature, "stream": True}
        if max_new_tokens is not None:
            self._settings["max_tokens"] = max_new_tokens
        key = endpoint.key.reveal() if endpoint.key else None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=SILENCE, trust_env=False)
        self.model = model or self._only_model()

    def forget(self) -> None:
        """Start a new conversation."""
        self.history.clear()

    def ask(self, question: str) -> str:
        """Stream the reply to stdout and remember it; returns the answer, without its thinking.

        Where the server says that the conversation is too long, its oldest turns are left out.
        """
        turns = [*self.history, {"role": "user", "content": question}]
        while True:
            try:
                reply = self._reply(turns)
                break
            except _TooLong:
                if len(turns) == 1:
                    raise
                turns = turns[2:]
        self.history = without_thinking([*turns, {"role": "assistant", **reply}])
        return self.history[-1]["content"]

    def _reply(self, turns: list[dict[str, str]]) -> dict[str, str]:
        body = {"model": self.model, "messages": turns, **self._settings}
        shown, reply, begun = Shown(), {"content": "", "reasoning": ""}, False
        reasoning = Reasoning()
        try:
            with self._asking("POST", ROUTE, body) as response:
                for delta in self._deltas(response):
                    said = delta.get("reasoning") or delta.get("reasoning_content") or ""
                    content = delta.get("content") or ""
                    said = said if reply["reasoning"] else said.lstrip()
                    pieces: Pieces = ([(True, said)] if said else []) + reasoning.feed(content)
                    begun |= bool(pieces)
                    shown.add(pieces)
                    reply["reasoning"] += said
                    reply["content"] += content
                shown.add(reasoning.end())
        finally:
            if begun:
                shown.end()
        return reply

    def _deltas(self, response: Any) -> Iterator[dict[str, Any]]:
        """What each event adds, up to the end that the server says."""
        ended = False
        for line in response.iter_lines():
            data = line.removeprefix("data:").strip()
            if not line.startswith("data:") or not data:
                continue
            if data == "[DONE]":
                return
            try:
                event = json.loads(data)
            except ValueError:
                raise self._wrong(f"what it sends is no JSON: {data[:60]!r}") from None
            if not isinstance(event, dict):
                raise self._wrong(f"what it sends is no event: {data[:60]!r}")
            if event.get("error"):
                raise self._wrong(_message(event) or "it stopped in the middle")
            for choice in event.get("choices") or []:
                ended |= choice.get("finish_reason") is not None
                yield choice.get("delta") or {}
        if not ended:
            raise self._wrong("it stopped in the middle of the answer")

    def _only_model(self) -> str:
        with self._asking("GET", "/models", None) as response:
            response.read()
        try:
            names = [str(each["id"]) for each in response.json()["data"]]
        except (ValueError, KeyError, TypeError):
            raise self._wrong("/models holds no list of models", fix="mend the address, or give --model NAME") from None
        if len(names) != 1:
            listed = ", ".join(untrusted(name) for name in names) or "none"
            what = f"it serves {len(names)} models: {listed}"
            raise RecipeError(what, where=self._base, fix="choose one: --model NAME")
        return names[0]

    @contextlib.contextmanager
    def _asking(self, method: str, route: str, body: dict[str, Any] | None) -> Iterator[Any]:
        """The response, once it is a good one. Raises SetupError and RecipeError with the server's own message."""
        try:
            with self._client.stream(method, self._base + route, json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise self._refused(response)
                yield response
        except httpx.TimeoutException:
            raise self._wrong("it does not answer in time", fix="try again, or look at the server") from None
        except httpx.ConnectError as error:
            fix = "start it (r1 serve MODEL), or mend the address"
            raise self._wrong(f"nobody answers there: {error}", fix=fix) from None
        except httpx.HTTPError as error:
            raise self._wrong(f"the connection broke: {error}") from None

    def _refused(self, response: Any) -> R1Error:
        try:
            given = response.json()
        except ValueError:
            given = response.text
        message, status = _message(given) or response.reason_phrase, response.status_code
        told = given.get("error") if isinstance(given, dict) else None
        code = told.get("code") if isinstance(told, dict) else None
        if code == "context_length_exceeded":
            return _TooLong(f"{message} (HTTP {status})", where=self._base, fix="ask a shorter question")
        if status in (401, 403):
            fix = "give the variable that holds its key: --key-env NAME"
            return self._wrong(f"{message} (HTTP {status})", fix=fix)
        if 400 <= status < 500 and status not in (408, 429):
            fix = "mend the address: it ends in /v1 with most servers" if status == 404 else "change what is asked"
            fix = "leave --model out, or name one that it serves" if code == "model_not_found" else fix
            return RecipeError(f"{message} (HTTP {status})", where=self._base, fix=fix)
        return self._wrong(f"{message} (HTTP {status})", fix="try again later")

    def _wrong(self, what: str, *, fix: str = "try again") -> SetupError:
        return SetupError(what, where=self._base, fix=fix)


class _TooLong(RecipeError):
    """The server reads fewer tokens than the conversation has."""


def _checked(address: str, key_env: str | None) -> Endpoint:
    """The server, by the rules that recipes keep to. Without a path it is asked below /v1."""
    url = address.rstrip("/").removesuffix(ROUTE)
    if url.count("/") == 2:
        url += "/v1"
    try:
        return Endpoint.model_validate({"url": url, "key": {"env": key_env} if key_env else None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = str(first["msg"]).removeprefix("Value error, ")
        raise RecipeError(what, where=address, fix="such as http://127.0.0.1:8000/v1, --key-env NAME") from None


def _message(given: Any) -> str:
    """A server's own words, of whatever shape: OpenAI's, FastAPI's, plain text."""
    for key in ("error", "message", "detail"):
        if isinstance(given, dict) and given.get(key):
            given = given[key]
    text = given if isinstance(given, str) else json.dumps(given) if given else ""
    return untrusted(" ".join(text.split()))[:MOST_MESSAGE]
