"""`Endpoint`: a server as a recipe names it, refused at its line where it must not be contacted.

    endpoint: {url: "https://api.openai.com/v1", key: {env: OPENAI_API_KEY}}
    endpoint: {url: "http://127.0.0.1:8000/v1"}                       # a server of one's own
    endpoint: {url: "http://judge.lan:8000/v1", private: true}        # in one's own network, by its name

The grammar is so narrow that no two URL parsers read different hosts from it.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from r1core.choices import Options, Secret, Uncounted
from r1core.endpoints.addresses import is_spelled_private, literal, refusal

URL = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?(/[\w.~/-]*)?",
    re.ASCII,
)
KEY_HOSTS = {
    "ANTHROPIC_API_KEY": "api.anthropic.com",
    "COHERE_API_KEY": "api.cohere.com",
    "DEEPSEEK_API_KEY": "api.deepseek.com",
    "E2B_API_KEY": "api.e2b.dev",
    "FIREWORKS_API_KEY": "api.fireworks.ai",
    "GEMINI_API_KEY": "generativelanguage.googleapis.com",
    "GROQ_API_KEY": "api.groq.com",
    "HF_TOKEN": "router.huggingface.co",
    "MISTRAL_API_KEY": "api.mistral.ai",
    "OPENAI_API_KEY": "api.openai.com",
    "OPENROUTER_API_KEY": "openrouter.ai",
    "TOGETHER_API_KEY": "api.together.xyz",
    "XAI_API_KEY": "api.x.ai",
}
"""Where well-known keys belong. They go elsewhere only where the recipe says so with `key_host`."""


class Endpoint(Options):
    """A server that is asked over HTTP, with JSON."""

    url: str = Field(description="where it answers, up to the version: https://api.openai.com/v1")
    key: Annotated[Secret | None, Uncounted()] = Field(
        None, description="the variable that holds its key, {env: NAME}; sent as a bearer token"
    )
    key_host: Annotated[str, Uncounted()] = Field(
        "", description="the host that the key belongs to; needed where a well-known key goes to another than its own"
    )
    private: Annotated[bool, Uncounted()] = Field(
        False, description="whether the name of the host may lead into a private network"
    )
    timeout_s: Annotated[float, Uncounted()] = Field(
        60.0, gt=0, le=3600, description="longest that one attempt may take, seconds"
    )
    give_up_s: Annotated[float, Uncounted()] = Field(
        120.0, gt=0, le=3600, description="how long a failing call is tried again (429, 5xx, no connection), seconds"
    )
    max_reply_kib: Annotated[int, Uncounted()] = Field(1024, ge=1, description="largest reply that is read, KiB")

    @property
    def host(self) -> str:
        """The host, lower case, without brackets."""
        return self._parts[1].strip("[]").lower().rstrip(".")

    @property
    def origin(self) -> str:
        """Scheme, host and port, for people."""
        return "://".join((self._parts[0], self._parts[1].lower())) + (f":{self._parts[2]}" if self._parts[2] else "")

    @property
    def allows_private(self) -> bool:
        """Whether the recipe spells that the host lies in a private network."""
        return self.private or is_spelled_private(self.host)

    @property
    def _parts(self) -> tuple[str, str, str, str]:
        match = URL.fullmatch(self.url)
        if match is None:
            raise ValueError(
                "url must be http(s)://host[:port][/path], with letters, digits and -._~/ in its path: "
                "no user, no query, no backslash"
            )
        scheme, host, port, path = match.groups(default="")
        return scheme, host, port, path

    @model_validator(mode="after")
    def _may_be_contacted(self) -> Self:
        scheme, _, port, path = self._parts
        if port and not 0 < int(port) < 65536:
            raise ValueError(f"port {port} is out of range")
        if ".." in path.split("/"):
            raise ValueError("url must not climb with ..")
        address = literal(self.host)
        why = refusal(address, private=True) if address is not None else ""
        if why:
            raise ValueError(f"{why}: it must not be contacted")
        if self.key is not None:
            self._check_key(scheme, self.key)
        return self

    def _check_key(self, scheme: str, key: Secret) -> None:
        belongs = self.key_host.lower() or KEY_HOSTS.get(key.env, self.host)
        if belongs != self.host:
            raise ValueError(
                f"key {key.env} belongs to {belongs} and would be sent to {self.host}; "
                f"say key_host: {self.host} if that is meant"
            )
        if scheme == "http" and not self.allows_private:
            raise ValueError(f"key {key.env} would be sent unencrypted to {self.host}; use https")
