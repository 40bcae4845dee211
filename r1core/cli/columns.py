"""A table in plain text: cells in columns, text to the left and numbers to the right, no lines drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from r1core.untrusted import untrusted

GAP = "  "


def columns(rows: Sequence[Sequence[str]], *, left: int = 1, indent: str = GAP) -> Iterator[str]:
    """One line for each row, the first `left` columns to the left, the others to the right."""
    clean = [[untrusted(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)] if clean else []
    for row in clean:
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"{indent}{GAP.join(cells)}".rstrip()
