"""What every tracker is told of a run: which stages, in which group, with which samples, and what they left."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1core.types import Response

if TYPE_CHECKING:
    from r1core.events import RunStarted, SampleShown

COLUMNS = ("step", "question", "thinking", "answer", "score")


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One run of the pipeline, as trackers see it."""

    folder: Path
    recipe: Mapping[str, Any]
    kinds: Mapping[str, str]
    profile: str

    @classmethod
    def of(cls, folder: Path, recipe: Mapping[str, Any], started: RunStarted) -> Followed:
        """From what `r1_run_start` is given."""
        kinds = {row.stage: row.kind for row in started.rows}
        return cls(folder=folder, recipe=recipe, kinds=kinds, profile=started.profile)

    @property
    def name(self) -> str:
        """The recipe's name, which tracker projects go by."""
        return str(self.recipe.get("name") or self.folder.name)

    @property
    def group(self) -> str:
        """The recipe and its run, which belong together in a tracker."""
        return f"{self.name}/{self.folder.absolute().name}"

    def tags(self, stage: str) -> tuple[str, ...]:
        """The profile, and the variant where the stage is one."""
        where = (self._stage(stage).get("variant") or {}).get("where", {})
        return tuple(filter(None, (self.profile, *(f"{axis}={choice}"[:64] for axis, choice in where.items()))))

    def config(self, stage: str) -> dict[str, Any]:
        """What the stage was made from. Keys stand in recipes by the name of their variable alone."""
        return {
            "recipe": self.name,
            "profile": self.profile,
            "seed": self.recipe.get("seed"),
            "kind": self.kinds.get(stage, ""),
            "stage": self._stage(stage),
        }

    def tracked_as(self, tracker: str, stage: str) -> tuple[str, bool]:
        """The id of the stage's run in a tracker, and whether it was there before: it is kept until the stage is made
        from something else, so that a stage that goes on goes on in the same run."""
        path = self.folder / tracker / "stages" / f"{stage}.json"
        fingerprint = record_of(self.folder / "stages" / stage).get("fingerprint", "")
        known = _read(path)
        if known.get("id") and known.get("fingerprint") == fingerprint:
            return str(known["id"]), True
        new = uuid.uuid4().hex[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({"id": new, "fingerprint": fingerprint}), encoding="utf-8")
        beside.replace(path)
        return new, False

    def left(self, stage: str) -> dict[str, Any]:
        """What a finished stage left: its folder, fingerprint, and the hash of each file."""
        folder = self.folder / "stages" / stage
        record = record_of(folder)
        places = [folder / part for part in ("model", "data") if (folder / part).is_dir()]
        return {
            "path": str(places[0].absolute()) if places else "",
            "fingerprint": record.get("fingerprint", ""),
            "files": record.get("files", {}),
        }

    def _stage(self, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = self.recipe.get("stages", {}).get(stage, {})
        return found


@dataclass(kw_only=True)
class Samples:
    """At most `most` samples of a stage, spread over its steps: when they are full every second one goes, and from
    then on half as many come."""

    most: int
    rows: list[tuple[int, str, str, str, float | None]] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(self, step: int, sample: SampleShown) -> bool:
        """Keep the sample, if it is its turn; true where there are twice as many as when this was last true."""
        turn, self.seen = self.seen, self.seen + 1
        if not self.most or turn % self.stride:
            return False
        if len(self.rows) >= self.most:
            self.rows = self.rows[::2]
            self.stride *= 2
            if turn % self.stride:
                return False
        response = Response.parse(sample.text)
        self.rows.append((step, sample.question, response.thinking or "", response.answer or "", sample.score))
        return len(self.rows) & (len(self.rows) - 1) == 0


def record_of(folder: Path) -> dict[str, Any]:
    """The stage's `stage.json`; empty while there is none."""
    return _read(folder / "stage.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
