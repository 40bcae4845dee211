"""What a server is started with. The key comes from the environment alone: what stands in argv, every user can read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEY = "R1_API_KEY"
LOOPBACK_ONLY = "R1_SERVE_LOOPBACK"
"""Tells the guard in another server's process whether only loopback reaches it: "1" or "0"."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One server."""

    folder: Path
    host: str
    port: int
    name: str
    max_tokens: int
    rows: int
    queue: int
    timeout_s: float
    key: str = field(default_factory=lambda: os.environ.get(KEY, ""), repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK
