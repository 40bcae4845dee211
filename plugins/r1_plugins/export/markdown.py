"""Text that this project did not write, made fit for a model card: a name stays a name, whatever is in it.

A stage, a data set or a reason of a filter may hold backticks, pipes, links, HTML or YAML. In the body such text stands
in code spans or with every mark of Markdown escaped; in the front matter it is JSON, which is YAML, too.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from r1core.untrusted import untrusted

LONGEST = 300
"""Characters of one name or option that a card shows."""
_MARKS = re.compile(r"([\\`*_{}\[\]#.|~>:@$])")
_RUNS = re.compile(r"`+")
_PIPE = re.compile(r"(?<!\\)\|")


def plain(text: str) -> str:
    """One line of running text without a mark that Markdown or HTML would read."""
    return html.escape(_MARKS.sub(r"\\\1", _line(text)), quote=False)


def code(text: str) -> str:
    """One line as a code span, with as many backticks around it as it takes."""
    line = _line(text)
    fence = "`" * (max((len(run) for run in _RUNS.findall(line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}" if line.strip() else "(empty)"


def front(value: Any) -> str:
    """A value of the front matter, on one line."""
    return json.dumps(_clean(value), ensure_ascii=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table whose cells are Markdown already; a pipe within one is escaped here."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        cells = [_PIPE.sub(r"\\|", cell) for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _line(text: str) -> str:
    line = " ".join(untrusted(str(text)).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, dict):
        return {_line(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value
