"""What a server is started with. The key comes from the environment alone: what stands in argv, every user can read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEY = "R1_API_KEY"


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

    @property
    def authority(self) -> str:
        """Host and port, as they stand in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
