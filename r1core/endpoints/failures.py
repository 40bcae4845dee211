"""How a call to a server ends badly.

    EndpointError
    ├── GaveUp     connection errors, time-outs, 408, 429, 5xx: to the end of what may be tried
    ├── Declined   the server answered, and said no: another 4xx, a redirect
    └── BadReply   it said yes, and what came is no JSON, or too much of it

Whoever asks decides whose fault that is; uncaught, the environment lacks a server that works (exit 3).
"""

from __future__ import annotations

from r1core.errors import SetupError


class EndpointError(SetupError):
    """A call that came to nothing. `status` is the last HTTP status, 0 where there was none."""

    status: int = 0

    @classmethod
    def told(cls, what: str, *, where: str, fix: str, status: int = 0) -> EndpointError:
        """The failure, with the status that it ended in."""
        error = cls(what, where=where, fix=fix)
        error.status = status
        return error


class GaveUp(EndpointError):
    """It failed, was tried again, and failed until the time for it was over."""


class Declined(EndpointError):
    """The server does not take this request, however often it is sent."""


class BadReply(EndpointError):
    """The server took the request, and its reply cannot be read."""
