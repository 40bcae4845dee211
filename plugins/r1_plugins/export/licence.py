"""Under which licence a model may be used: what somebody said, never a guess.

`--license` first; else what the card of the model that it began from says, where that lies in a folder; else unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from r1_plugins.export.markdown import plain

UNKNOWN = "unknown"
CARD = "README.md"
LARGEST_CARD = 1_000_000
FENCE = "---"


@dataclass(frozen=True, kw_only=True)
class Licence:
    """An identifier, and who says so."""

    id: str
    source: str
    texts: tuple[Path, ...] = ()
    """Files of its text that lie beside the model that it began from."""

    @property
    def known(self) -> bool:
        """Whether anybody said anything."""
        return self.id != UNKNOWN

    def note(self, name: str) -> str:
        """The file LICENSE: what is known, in words."""
        if not self.known:
            return (
                f"The licence of {name} is unknown.\n\nNeither the command that exported it (--license) nor a card of "
                "the model that it began from says one.\nWithout a licence nobody else has the right to use it: ask "
                "whoever made it.\n"
            )
        texts = f"\nIts text lies beside this file: {', '.join(base_name(path) for path in self.texts)}.\n"
        return f"{name}: {self.id}\n\nSo says {self.source}. This is a note, not the text of the licence.\n" + (
            texts if self.texts else ""
        )

    def sentence(self) -> str:
        """For the card."""
        if not self.known:
            return "Unknown: neither who exported it nor the card of the model that it began from states one."
        return f"{plain(self.id)}, as {plain(self.source)} says."


def find_licence(given: str | None, folders: list[Path]) -> Licence:
    """Of the first folder whose card says one."""
    texts = tuple(path for folder in folders for path in sorted(folder.glob("LICENSE*")) if path.is_file())
    if given is not None:
        return Licence(id=given, source="whoever exported it (--license)", texts=texts)
    for folder in folders:
        said = front_matter(folder / CARD).get("license")
        if isinstance(said, str) and said.strip() and said.strip() != UNKNOWN:
            return Licence(id=said.strip(), source="the card of the model that it began from", texts=texts)
    return Licence(id=UNKNOWN, source="", texts=texts)


def base_name(path: Path) -> str:
    """What a licence's text of the base is called in the export."""
    return f"{path.name}.base"


def front_matter(card: Path) -> dict[str, Any]:
    """The YAML at the head of a card; empty where there is none that can be read."""
    try:
        if card.stat().st_size > LARGEST_CARD:
            return {}
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    if not lines or lines[0].strip() != FENCE or FENCE not in [line.strip() for line in lines[1:]]:
        return {}
    end = [line.strip() for line in lines[1:]].index(FENCE) + 1
    try:
        found = YAML(typ="safe", pure=True).load("\n".join(lines[1:end]))
    except YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
