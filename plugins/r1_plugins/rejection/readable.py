"""Filters for thinking that people can read: no endless paragraph, no code where words should be.

The supervised data of R1 leaves out answers whose thinking has long paragraphs or code blocks
(arXiv:2501.12948, v2 B.3.3); neither its lengths nor its rules are published, so ours are options.

    filters: [correct, one_language, no_long_paragraphs, {use: no_code, indented_lines: 0}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import Field

from r1core.components import DataFilter
from r1core.types import Group, Response, Verdict

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_FENCE = re.compile(r"```|^[^\S\n]*~~~", re.MULTILINE)
_LIST_MARK = re.compile(r"[-*+•]|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.):、]")
_OPENS_BLOCK = re.compile(
    r"(?:async +)?def +\w+ *\(.*:|class +\w+(?:\(.*\))?:|for +\w+(?: *, *\w+)* +in +\w.*:|.*\) *\{"
)


def thinking_of(response: Response) -> str:
    """The thinking; without one closed think block nothing says where it ends, so it is all that was written."""
    whole = response.prefilled + response.text if response.thinking is None else response.thinking
    return whole.replace("\r\n", "\n")


class NoLongParagraphs(DataFilter):
    """Keeps rollouts whose thinking has no paragraph longer than `max_chars`; blank lines part paragraphs."""

    name = "no_long_paragraphs"

    class Config(DataFilter.Config):
        max_chars: int = Field(2000, ge=1, description="longest paragraph of the thinking, characters")

    config: Config

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        return [self._verdict(rollout.response) for rollout in group.rollouts]

    def _verdict(self, response: Response) -> Verdict:
        longest = max(len(part.strip()) for part in _BLANK_LINE.split(thinking_of(response)))
        kept = longest <= self.config.max_chars
        return Verdict(keep=kept, reason="" if kept else "long_paragraph")


class NoCode(DataFilter):
    """Keeps rollouts whose thinking has no code block: fenced (``` or ~~~), or indented as Markdown has it."""

    name = "no_code"

    class Config(DataFilter.Config):
        indented_lines: int = Field(
            2, ge=0, description="indented lines in a row, lists apart, that make a code block; 0: they never do"
        )

    config: Config

    def judge(self, group: Group) -> list[Verdict]:
        """One verdict for each rollout."""
        return [self._verdict(thinking_of(rollout.response)) for rollout in group.rollouts]

    def _verdict(self, thinking: str) -> Verdict:
        indented = self.config.indented_lines
        code = _FENCE.search(thinking) is not None or (0 < indented <= max(_indented_runs(thinking), default=0))
        return Verdict(keep=not code, reason="code_block" if code else "")


def _indented_runs(text: str) -> Iterator[int]:
    """The lengths of the blocks of indented lines that come after a blank line, or after the line that opens a block
    of code (`def f(x):`, `for i in rows:`, `main() {`), which counts as one of them. What belongs to an item of a list
    is no code."""
    run, before, in_list = 0, "", False
    for line in text.split("\n"):
        words = line.split(maxsplit=1)
        is_item = bool(words) and _LIST_MARK.fullmatch(words[0]) is not None
        if words and not is_item and line.startswith(("    ", "\t")) and not in_list:
            if run or not before:
                run += 1
            elif _OPENS_BLOCK.fullmatch(before):
                run = 2
        elif words:
            yield run
            run, in_list = 0, is_item or (in_list and line[0].isspace())
        before = line.strip()
    yield run
