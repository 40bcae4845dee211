"""The rewards `code` and `remote_code`: a program is worth what its tests say, and never touches what they expect.

    r1 explain code
    r1 doctor                    # which levels of isolation work on this machine

How it works, the levels and what each keeps out: README.md beside this file.
"""

from __future__ import annotations

from r1_plugins.code.remote import RemoteCode
from r1_plugins.code.reward import Code
from r1core.components import Reward
from r1core.hookspecs import hookimpl

__all__ = ["Code", "RemoteCode", "r1_rewards"]


@hookimpl
def r1_rewards() -> list[type[Reward]]:
    """`code` and `remote_code`."""
    return [Code, RemoteCode]
