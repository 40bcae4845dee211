"""Servers that a recipe names: a judge, a remote sandbox, a remote teacher. Checked once, asked safely, one typed end.

    class Config(Reward.Config):
        endpoint: Endpoint = Field(description="the server that is asked")

    reply = ask(self.config.endpoint, "/chat/completions", {"model": ...})    # retries; then EndpointError

A recipe is untrusted input: it may name a host, but not reach what lies behind the firewall by it, nor have
a key sent where it does not belong. What every server needs is here; what only some need (a breaker, a cap
on cost) goes through a `Gate`. Importing this needs no HTTP library; asking does.
"""

from __future__ import annotations

from r1core.choices import Secret
from r1core.endpoints.client import Client, End, Gate, ask, lacking
from r1core.endpoints.failures import BadReply, Declined, EndpointError, GaveUp
from r1core.endpoints.options import Endpoint
from r1core.endpoints.spending import Budget, Caps, Prices

__all__ = [
    "BadReply",
    "Budget",
    "Caps",
    "Client",
    "Declined",
    "End",
    "Endpoint",
    "EndpointError",
    "Gate",
    "GaveUp",
    "Prices",
    "Secret",
    "ask",
    "lacking",
]
