"""The pipes of one cell, read and written with a deadline: nothing that a program does, or leaves undone, makes this
process wait longer, or hold more than it was ready to."""

from __future__ import annotations

import contextlib
import json
import os
import select
import tempfile
import time
from typing import Any

MOST_REPLY = 16 << 20
"""Bytes of one reply; a value that takes more is no answer to a test."""
CHUNK = 1 << 16


class CellError(Exception):
    """A cell gave no reply; `reason` is the word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Pipes:
    """`requests` is written to; `replies` and `output` are read. `stdin`, `stdout`, ... are the cell's own ends."""

    def __init__(self, stdin: bytes | None) -> None:
        self._open: list[int] = []
        self.stdin = self._file(stdin) if stdin is not None else self._keep(os.open(os.devnull, os.O_RDONLY))
        (self.output, self.stdout), (self._taken, self.requests), (self.replies, self._given) = (
            tuple(map(self._keep, os.pipe())) for _ in range(3)
        )
        for each in (self.output, self.requests, self.replies):
            os.set_blocking(each, False)
        self._outgoing, self._incoming = bytearray(), bytearray()
        self.printed = bytearray()
        self._ended: set[int] = set()

    @property
    def theirs(self) -> list[int]:
        """What the cell gets: stdin, stdout, requests, replies."""
        return [self.stdin, self.stdout, self._taken, self._given]

    def hand_over(self) -> None:
        """Close the cell's ends here, once it has them, so that its end is seen."""
        for each in self.theirs:
            self._shut(each)

    def close(self) -> None:
        """Close what is left."""
        for each in list(self._open):
            self._shut(each)

    def send(self, message: Any) -> None:
        """Queue a line; it is written while a reply is awaited."""
        self._outgoing += json.dumps(message).encode() + b"\n"

    def reply(self, until: float, most_output: int) -> Any:
        """The next line that the cell says. What it prints beyond `most_output` bytes is dropped.

        Raises CellError: `timeout`, `ended` (it is gone), `too_long`, `garbled`.
        """
        while b"\n" not in self._incoming:
            if len(self._incoming) > MOST_REPLY:
                raise CellError("too_long")
            if self.replies in self._ended:
                raise CellError("ended")
            self._step(until, most_output)
        line, _, rest = bytes(self._incoming).partition(b"\n")
        self._incoming = bytearray(rest)
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CellError("garbled") from error

    def rest(self, until: float, most_output: int) -> None:
        """Wait for the cell's end. Raises CellError: `timeout`, or `output_limit` when it prints more than that."""
        while not {self.output, self.replies} <= self._ended:
            self._step(until, most_output + 1)
            if len(self.printed) > most_output:
                raise CellError("output_limit")

    def _step(self, until: float, most_output: int) -> None:
        """Move what can be moved, once."""
        left = until - time.monotonic()
        if left <= 0:
            raise CellError("timeout")
        poller = select.poll()
        for each in {self.output, self.replies} - self._ended:
            poller.register(each, select.POLLIN)
        if self._outgoing:
            poller.register(self.requests, select.POLLOUT)
        for ready, _ in poller.poll(left * 1000):
            if ready == self.requests:
                self._write()
            elif ready == self.replies:
                self._incoming += self._read(ready)
            else:
                data = self._read(ready)
                self.printed += data[: max(most_output - len(self.printed), 0)]

    def _write(self) -> None:
        try:
            del self._outgoing[: os.write(self.requests, self._outgoing[:CHUNK])]
        except BrokenPipeError:
            self._outgoing.clear()

    def _read(self, descriptor: int) -> bytes:
        data = os.read(descriptor, CHUNK)
        if not data:
            self._ended.add(descriptor)
        return data

    def _file(self, content: bytes) -> int:
        """A file without a name: a program may read it at its own pace, and as often as it likes."""
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            return self._keep(os.dup(file.fileno()))

    def _keep(self, descriptor: int) -> int:
        self._open.append(descriptor)
        return descriptor

    def _shut(self, descriptor: int) -> None:
        with contextlib.suppress(ValueError):
            self._open.remove(descriptor)
            os.close(descriptor)


def failure_of(reply: Any) -> str:
    """The word for a reply without a value."""
    if isinstance(reply, dict) and "missing" in reply:
        return "no_entry_point"
    if isinstance(reply, dict) and "type" in reply:
        return "unsupported_type"
    name = reply.get("raised") if isinstance(reply, dict) else None
    return f"raised {name}" if isinstance(name, str) and name.isidentifier() and len(name) <= 100 else "garbled"
