"""What a reader has decided, safe on disk at every moment.

A decision is first a line of `<output>.journal`, flushed to the disk before the page hears of it. The
output itself, every answer on its line as the review stage wants it, is replaced as a whole: at once
while it is small, else when the review ends or starts again. On a full disk it waits for room, and the
journal has the decisions: one that is left over keeps the recipe from reading an output that lacks its
last ones. A lock keeps a second reader out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from r1_plugins.review.exported import Exported
from r1core.errors import RecipeError, SetupError
from r1core.stages.review_file import edit_fault, journal_of, read_reviews
from r1core.store.files import sync, writing

STATES = {"u": "undecided", "a": "accepted", "e": "edited", "r": "rejected"}
SMALL = 2000
"""Rows up to which the output is written anew with every decision: a few milliseconds."""


class Decisions:
    """The decisions about one export, by the row's place in it."""

    def __init__(self, exported: Exported, output: Path, lock: IO[bytes]) -> None:
        self.exported = exported
        self.output = output
        self.states = bytearray(b"u" * len(exported.offsets))
        self._made: dict[int, dict[str, Any]] = {}
        self._lock = lock
        self._journal = journal_of(output)
        self._changing = threading.RLock()

    @classmethod
    def open(cls, exported: Exported, output: Path) -> Decisions:
        """With what was decided before. Raises RecipeError where another reader is at it, or it does not fit."""
        if output.exists() and exported.path.samefile(output):
            raise RecipeError("is the export itself", where=str(output), fix="give another file to --output")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            lock = output.with_name(output.name + ".lock").open("ab")
        except OSError as error:
            raise SetupError(f"cannot be written: {error.strerror}", where=str(output)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            fix = "go on in its page, or end it first"
            raise RecipeError("another r1 review has this file open", where=str(output), fix=fix) from None
        decisions = cls(exported, output, lock)
        try:
            decisions._take_up()
        except BaseException:
            lock.close()
            raise
        return decisions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._fold()
        except SetupError as error:
            fix = f"every decision is in {self._journal}; free space on the disk, and start the same command once more"
            raise SetupError(error.what, where=str(self.output), fix=fix) from error
        finally:
            self._lock.close()

    def counts(self) -> dict[str, int]:
        """How many answers are in each state."""
        counted = Counter(chr(state) for state in self.states)
        return {name: counted[letter] for letter, name in STATES.items()}

    def row(self, place: int) -> dict[str, Any]:
        """One answer as it stands now, and its first text under `original`."""
        row = self.exported.row(place)
        return {**row, "original": row["text"], **self._made.get(place, {}), "state": STATES[chr(self.states[place])]}

    def decide(self, place: int, decision: str, *, text: str = "", reason: str = "") -> str:
        """Put it on the disk and return the new state. Raises RecipeError for an edit that the recipe would refuse."""
        with self._changing:
            row = self.exported.row(place)
            if decision == "edit" and (fault := edit_fault(text, row["prefilled"])):
                raise RecipeError(fault)
            if _no_text(text) or _no_text(reason):
                raise RecipeError("half a character (a lone surrogate) is in it, which no file can hold; type it anew")
            if decision == "edit" and text == row["text"]:
                decision = "accept"
            made = {
                "text": text if decision == "edit" else row["text"],
                "keep": decision != "reject",
                "reason": reason.strip() if decision == "reject" else "",
                "reviewed": decision != "clear",
            }
            self._append({"id": row["id"], "sample": row["sample"], "was": row["was"], **made})
            self._note(place, row["text"], made)
            if len(self.states) <= SMALL:
                with contextlib.suppress(SetupError):  # it is in the journal, and the next one tries again
                    self._fold()
            return STATES[chr(self.states[place])]

    # --- on disk ---------------------------------------------------------------------------------

    def _take_up(self) -> None:
        if self.output.exists():
            for key, review in read_reviews(self.output, self._rows(), journal=False).items():
                self._again(self.exported.places[key], review.text, review.keep, review.reason, review.reviewed)
        if not self._journal.exists():
            return
        for number, line in enumerate(self._journal.read_bytes().split(b"\n")[:-1], start=1):
            self._replay(self._read(line, number), number)  # after the last newline: cut short and never confirmed
        with contextlib.suppress(SetupError):
            self._fold()

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = json.loads(line)
            if not any(_no_text(entry[key]) for key in ("text", "reason")):
                return entry
        except (ValueError, KeyError, TypeError):
            pass
        fix = f"mend the line or take it out of {self._journal}; the other decisions are whole"
        raise RecipeError("the line is damaged", where=f"{self._journal}:{number}", fix=fix)

    def _again(self, place: int, text: str, keep: bool, reason: str, reviewed: bool) -> None:
        before = self.exported.row(place)["text"]
        if reviewed or not keep or text != before:  # an edit by hand is a decision, too
            self._note(place, before, {"text": text, "keep": keep, "reason": reason, "reviewed": True})

    def _replay(self, entry: dict[str, Any], number: int) -> None:
        place = self.exported.places.get((entry["id"], entry["sample"]))
        if place is None or self.exported.row(place)["was"] != entry["was"]:
            fix = f"review it anew with another --output, or remove {self._journal}"
            where = f"{self._journal}:{number}"
            raise RecipeError(f"the export has changed since id {entry['id']!r} was reviewed", where=where, fix=fix)
        made = {key: entry[key] for key in ("text", "keep", "reason", "reviewed")}
        self._note(place, self.exported.row(place)["text"], made)

    def _note(self, place: int, before: str, made: dict[str, Any]) -> None:
        if not made["reviewed"]:
            self._made.pop(place, None)
            self.states[place] = ord("u")
            return
        self._made[place] = made
        self.states[place] = ord("r" if not made["keep"] else "e" if made["text"] != before else "a")

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            with self._journal.open("ab") as file:
                start = file.tell()
                if start == 0:
                    sync(self._journal.parent)
                try:
                    file.write(json.dumps(entry).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        except OSError as error:
            fix = "free space on the disk and decide it again; what was decided before is kept"
            raise SetupError(f"cannot be written: {error.strerror}", where=str(self._journal), fix=fix) from error

    def _fold(self) -> None:
        """The output with all decisions, in one piece; then the journal has done its work."""
        with self._changing:
            if not self._journal.exists():
                return
            with writing(self.output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
                for place, row in enumerate(self._rows()):
                    file.write(json.dumps({**row, **self._made.get(place, {})}, ensure_ascii=False) + "\n")
            self._journal.unlink()

    def _rows(self) -> Iterator[dict[str, Any]]:
        return (self.exported.row(place) for place in range(len(self.exported.offsets)))


def _no_text(text: str) -> bool:
    """Whether UTF-8 cannot write it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
