"""A sandbox as the scoring worker holds it: one warden, and one cell at a time.

    with Sandbox("process", memory_mib=512, cpu_s=10) as sandbox, sandbox.cell(code, "add") as cell:
        cell.load(until)
        cell.call([1, 2], until)                      # 3

Every cell has pipes and a nonce of its own, so nothing of one is taken for another's. A warden that is gone is started
again, once; then it is a failure of the machine (SandboxError), which no answer has to pay for. Not for several threads
at once.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from r1_plugins.code.inside.wire import decode, encode
from r1_plugins.code.pipes import CellError, Pipes, failure_of
from r1_plugins.code.warden_process import SandboxError, Warden

BEGIN_S = 4.0
"""Longest that a cell may take to begin: the machine's time, not the program's."""
MOST_PRINTED = 64 << 10
"""Bytes of what a function prints that are kept, to be looked at; they are no evidence."""
_SIGNALS = {-each.value: each.name for each in signal.Signals}


class Cell:
    """A program in its cell. Each method raises CellError with the reason for which there is no reply."""

    def __init__(self, pipes: Pipes, nonce: str) -> None:
        self._pipes = pipes
        self._nonce = nonce

    @property
    def printed(self) -> bytes:
        """What it has printed so far, as far as that is kept."""
        return bytes(self._pipes.printed)

    def begin(self) -> None:
        """Wait until it has given up what it does not need; its own time begins then."""
        try:
            reply = self._pipes.reply(time.monotonic() + BEGIN_S, MOST_PRINTED)
        except CellError as error:
            raise SandboxError(f"a cell did not begin: {error.reason}") from error
        if not isinstance(reply, dict) or "trouble" in reply or reply.get("nonce") != self._nonce:
            raise SandboxError(f"a cell did not begin: {reply}")

    def load(self, until: float) -> None:
        """Wait until the module that defines the function is there."""
        reply = self._reply(until)
        if reply.get("loaded") is not True:
            raise CellError(failure_of(reply))

    def call(self, arguments: Sequence[Any], until: float) -> Any:
        """What the function returns."""
        self._pipes.send([encode(argument) for argument in arguments])
        reply = self._reply(until)
        if "value" not in reply:
            raise CellError(failure_of(reply))
        try:
            return decode(reply["value"])
        except (ValueError, RecursionError) as error:
            raise CellError("garbled") from error

    def finish(self, until: float, most_output: int) -> bytes:
        """What a program has printed when it has ended."""
        self._pipes.rest(until, most_output)
        return self.printed

    def _reply(self, until: float) -> dict[str, Any]:
        reply = self._pipes.reply(until, MOST_PRINTED)
        if not isinstance(reply, dict) or reply.get("nonce") != self._nonce:
            raise CellError("garbled")
        return reply


class Sandbox:
    """A warden at one level. `memory_mib` and `cpu_s` limit each cell."""

    def __init__(self, level: str, *, memory_mib: int, cpu_s: float) -> None:
        self.level = level
        self._limits = {"memory_mib": memory_mib, "cpu_s": math.ceil(cpu_s) + 1}
        self._warden: Warden | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the warden, and with it all that it started."""
        if self._warden is not None:
            self._warden.stop()
            self._warden = None

    @property
    def warden(self) -> Warden:
        """The warden, started where there is none. Raises SandboxError."""
        if self._warden is None:
            self._warden = Warden(self.level)
        return self._warden

    @contextlib.contextmanager
    def cell(self, code: str, entry_point: str | None, stdin: bytes | None = None) -> Iterator[Cell]:
        """A cell with this program, ready to run; without an entry point it runs as it stands, with `stdin`.

        Killed on leaving. A CellError "ended" that passes through gets the word for how it ended. SandboxError when the
        machine fails.
        """
        pipes, nonce = Pipes(stdin), secrets.token_hex(8)
        try:
            self._start(pipes)
            pipes.hand_over()
            pipes.send({"code": code, "entry_point": entry_point, "nonce": nonce})
            cell = Cell(pipes, nonce)
            cell.begin()
            try:
                yield cell
            except CellError as error:
                status = self._end()
                if error.reason == "ended":
                    raise CellError(_SIGNALS.get(status, "exited")) from error
                raise
            else:
                status = self._end()
                if entry_point is None and status:
                    raise CellError(_SIGNALS.get(status, "exit_code"))
        except BaseException:
            self._end()
            raise
        finally:
            pipes.close()

    def _start(self, pipes: Pipes) -> None:
        """Have the warden start a cell; a warden that is gone, whatever took it, is replaced once."""
        for last in (False, True):
            try:
                self.warden.ask({"start": self._limits}, pipes.theirs)
                return
            except SandboxError:
                self.close()
                if last:
                    raise

    def _end(self) -> int:
        """How the cell ended; it has by now. Zero when there was none."""
        if self._warden is None or not self._warden.busy:
            return 0
        try:
            return int(self._warden.ask({"end": True})["status"])
        except SandboxError:
            self.close()
            raise
