"""The record of what a judge said, kept before it is used and asked before the judge is.

One line for each reply, each attempt that was lost, each failure that an answer was found to cause, and each canary;
found by the hash of the judge, the prompt and the answer. A run that is killed, or repeated, pays for nothing twice and
gets the same verdicts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from r1_plugins.judge.replies import Reply
from r1core.store.ledger import Ledger

FILE = "verdicts.jsonl"


class Blame(NamedTuple):
    """Why an answer was found to break the judge, and the USD of each reply that showed it."""

    reason: str
    costs: tuple[float, ...]


class Record:
    """Replies by key. Without a folder it lasts as long as the process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._ledger: Ledger | None = None
        self._ledger = Ledger(folder / FILE, root=folder).__enter__() if folder is not None else None
        self._replies: dict[str, Reply | None] = {}
        self._blamed: dict[str, Blame] = {}
        self.canaries: dict[str, tuple[str, bool]] = {}
        """Key -> (judge, whether the known-wrong answer passed), in the order in which they came."""
        self.calls = 0
        self.usd = 0.0
        """Of all replies, and of what was sent and brought none."""
        for entry in self._ledger.entries if self._ledger is not None else ():
            self._take(entry)

    def __del__(self) -> None:
        """A reward has no end that it is told of; the file is closed when nobody has the record any more."""
        if self._ledger is not None:
            self._ledger.__exit__(None, None, None)

    def knows(self, key: str) -> bool:
        """Whether a call was answered, readably or not."""
        return key in self._replies

    def reply(self, key: str) -> Reply | None:
        """What was answered; None for what was no chat completion."""
        return self._replies[key]

    def blame(self, key: str) -> Blame | None:
        """Why the answer in a question was found to break the judge, None where it was not."""
        return self._blamed.get(key)

    def keep_reply(self, key: str, reply: Reply | None, usd: float) -> None:
        """Put down the reply to a call and what it cost."""
        told = None if reply is None else [reply.text, reply.finish, reply.tokens_in, reply.tokens_out]
        self._add({"kind": "reply", "key": key, "reply": told, "usd": usd})

    def keep_lost(self, key: str, usd: float) -> None:
        """Put down an attempt that brought no reply, and the most that it can have cost."""
        self._add({"kind": "lost", "key": key, "usd": usd})

    def keep_blame(self, key: str, blame: Blame) -> None:
        """Put down that an answer breaks a judge that is well otherwise."""
        self._add({"kind": "blame", "key": key, "blame": [blame.reason, blame.costs]})

    def keep_canary(self, key: str, judge: str, passed: bool) -> None:
        """Put down how the judge took a known-wrong answer."""
        self._add({"kind": "canary", "key": key, "judge": judge, "passed": passed})

    def _add(self, entry: dict[str, Any]) -> None:
        if self._ledger is not None:
            self._ledger.append(entry)
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        kind, key = entry["kind"], entry["key"]
        if kind == "reply":
            told = entry["reply"]
            self._replies[key] = None if told is None else _reply(*told)
        if kind in ("reply", "lost"):
            self.calls += 1
            self.usd += entry["usd"]
        elif kind == "blame":
            reason, costs = entry["blame"]
            self._blamed[key] = Blame(reason, tuple(costs))
        else:
            self.canaries[key] = (entry["judge"], entry["passed"])


def _reply(text: str, finish: str, tokens_in: int | None, tokens_out: int | None) -> Reply:
    return Reply(text=text, finish=finish, tokens_in=tokens_in, tokens_out=tokens_out)
