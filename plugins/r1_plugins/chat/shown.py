"""What a model writes, as a person sees it: thinking dimmed, the answer apart, no text that moves the terminal."""

from __future__ import annotations

import click

from r1core.reasoning_stream import Pieces
from r1core.untrusted import untrusted


class Shown:
    """Prints one reply as it comes."""

    def __init__(self) -> None:
        self._thought = False
        self._answered = False

    def add(self, pieces: Pieces) -> None:
        """Print these pieces, each (is thinking, text)."""
        for thinking, piece in pieces:
            if self._thought and not thinking and not self._answered:
                click.echo()
            self._thought |= thinking
            self._answered |= not thinking
            click.secho(untrusted(piece), dim=thinking or None, nl=False)

    def end(self) -> None:
        """The reply is whole, or nothing more of it comes."""
        click.echo()
