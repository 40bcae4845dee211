"""The slips that can be made in what ships, where each shows, and what is said of it.

A slip in a recipe shows under some profile, one in a profile with some recipe; the first pair that refuses counts.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slips import LETTERS, Place, Slip, apart, edited, letter_slips, places, type_slips

from r1core.errors import RecipeError
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.recipe.shipped import shipped_folder

WHOLE = ("your_data.yaml", "judge.yaml", "distill_yours.yaml", "distill_from_endpoint.yaml")
"""Recipes that bind everything themselves, and name no profile."""
PROFILES = ("none", "tiny", "smoke", "gpu")
"""Without a profile, slots bound by hand, nothing lies over what the recipe says."""
BINDINGS = {"models": "org/model", "problems": "playground", "rewards": "accuracy"}
ENGINES = "engines={policy: transformers, sampler: native}"
NAMED = ("stages", "models", "problems", "rewards")
FREE_TEXT = {"name", "description", "path", "prompt", "instruction", "question", "answer", "as", "active", "ledger"}
"""Values that are text and no name of anything."""
_FINDING = re.compile(r"^(.+?\.yaml):(\d+):(\d+): (.*(?:\n  .*)*)", re.MULTILINE)


def files() -> list[str]:
    """Every recipe and profile, below the shipped folder."""
    return sorted(path.relative_to(shipped_folder()).as_posix() for path in shipped_folder().rglob("*.yaml"))


def text_of(file: str) -> str:
    return (shipped_folder() / file).read_text(encoding="utf-8")


def pairs(file: str) -> list[tuple[str, str | None]]:
    """The (recipe, profile) pairs in which the file is read, those that show most first."""
    if file in WHOLE:
        return [(file, None), (file, "tiny")]
    if file.startswith("profiles/"):
        recipes = [name for name in files() if not name.startswith("profiles/") and name not in WHOLE]
        recipes.sort(key=lambda name: (name != "deepseek_r1.yaml", name))
        return [(recipe, Path(file).stem) for recipe in recipes]
    return [(file, profile) for profile in PROFILES]


def settings(recipe: str, profile: str | None) -> list[str]:
    """What `--set` has to bind so that the recipe is whole."""
    open_slots = [
        (p.path[0], p.path[1])
        for file in (recipe, _base(recipe))
        if file
        for p in places(text_of(file))
        if len(p.path) == 2 and p.path[0] in BINDINGS and not p.is_key and not p.node.value
    ]
    bound = [f"{kind}.{name}={BINDINGS[kind]}" for kind, name in dict.fromkeys(open_slots)]
    return {None: bound, "none": [*bound, ENGINES]}.get(profile, [])


def _base(recipe: str) -> str:
    """The recipe that it extends, "" when it extends none."""
    found = re.search(r"^extends: (?:\.\./)?(\S+)", text_of(recipe), re.MULTILINE)
    return found[1] if found else ""


def is_free(file: str, place: Place) -> bool:
    """Whether a key is a name that is chosen there, not used."""
    *above, last = place.path
    in_profile, depth = file.startswith("profiles/"), len(above)
    if above[:1] == ["matrix"] and depth < 3:
        return "." not in last  # names of axes and of variants; what has a dot is a path
    if depth == 1 and above[0] in NAMED:
        return not in_profile and not (above[0] == "stages" and last in _inherited(file))
    if above and above[-1] == "sets":
        return not in_profile or last in ("opener", "pass@64")
    return False


def _inherited(file: str) -> set[str]:
    base = _base(file)
    stages = (p.path for p in places(text_of(base))) if base else ()
    return {path[1] for path in stages if path[0] == "stages" and len(path) == 2}


def is_name(place: Place) -> bool:
    """Whether a value is a name of something: a component, a stage, a slot, one of a few words."""
    node = place.node
    if str(node.tag) != "tag:yaml.org,2002:str" or not isinstance(node.value, str):
        return False
    last = next(part for part in reversed(place.path) if not part.isdecimal() or len(part) > 2)
    is_hub_id = "/" in node.value and place.path[0] == "models"
    is_column = last == "completion" and place.path[0] == "problems"  # of a file's rows
    is_elsewhere = "sampler" in place.path and last in ("model", "teacher", "env")  # a server's, or one's own, word
    return last not in FREE_TEXT and not is_hub_id and not is_column and not is_elsewhere


def slips_of(file: str, *, everywhere: bool = False) -> Iterator[Slip]:
    """Every slip of one file."""
    text = text_of(file)
    for place in places(text):
        if place.is_key and not is_free(file, place):
            yield from letter_slips(place, text, everywhere=everywhere)
        if not place.is_key:
            yield from type_slips(place, text)
            if is_name(place):
                yield from letter_slips(place, text, everywhere=everywhere)


@dataclass
class Found:
    """What was said at the very place of each slip, and what was not found."""

    said: dict[Slip, str] = field(default_factory=dict)
    silent: list[Slip] = field(default_factory=list)
    plans: int = 0

    def share_understood(self) -> float:
        """Of the misspelled words for which something was said or should have been: how many were guessed rightly."""
        letters = [slip for slip in (*self.said, *self.silent) if slip.kind in LETTERS]
        return sum(is_understood(slip, self.said.get(slip, "")) for slip in letters) / len(letters)


def batches(slips: Sequence[Slip]) -> list[list[Slip]]:
    """The slips in groups whose members can be made at once, the innermost first."""
    made: list[list[Slip]] = []
    for slip in sorted(slips, key=lambda s: -len(s.path)):
        home = next((batch for batch in made if all(apart(slip, other) for other in batch)), None)
        if home is None:
            made.append([slip])
        else:
            home.append(slip)
    return made


class Bench:
    """A copy of what ships, in which files are spoiled and planned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "recipes"
        shutil.copytree(shipped_folder(), self.folder)
        self.host = PluginHost.discover(allow=())
        self._settings = functools.cache(settings)

    def check(self, file: str, slips: Sequence[Slip]) -> Found:
        """Make the slips, many at a time, in each pair that reads the file, until all are found or none is left."""
        found = Found()
        for batch in batches(slips):
            left, stuck = list(batch), []
            for pair in pairs(file):
                left, passed = self._until_silent(file, pair, left, found)
                stuck += [] if passed else [pair]
            for slip in left:  # what others hid is made alone
                is_hidden = any(slip is not other and slip.path[: len(other.path)] == other.path for other in left)
                again = pairs(file) if is_hidden else stuck
                if not any(self._until_silent(file, pair, [slip], found)[0] == [] for pair in again):
                    found.silent.append(slip)
        for slip in [s for s, said in found.said.items() if s.kind in LETTERS and not is_understood(s, said)]:
            self._alone(file, slip, found)
        return found

    def _alone(self, file: str, slip: Slip, found: Found) -> None:
        """What is said of a slip when it is the only one: beside others the right name may have been another slip."""
        for pair in pairs(file):
            said = self.told(file, [slip], self.refusal(file, pair, [slip]))
            found.plans += 1
            if said:
                found.said |= said
                return

    def _until_silent(
        self, file: str, pair: tuple[str, str | None], slips: list[Slip], found: Found
    ) -> tuple[list[Slip], bool]:
        """The slips that this pair does not show, and whether it planned with them; each round takes away those that a
        phase told of."""
        while slips:
            error = self.refusal(file, pair, slips)
            said = self.told(file, slips, error)
            found.plans += 1
            found.said |= said
            if not said:
                return slips, not error
            slips = [slip for slip in slips if slip not in said]
        return [], True

    def refusal(self, file: str, pair: tuple[str, str | None], slips: Sequence[Slip]) -> str:
        """The error that the plan of a pair ends in with these slips made, "" when it is fine."""
        recipe, profile = self.folder / pair[0], pair[1]
        target = self._target(file, recipe)
        was = target.read_text(encoding="utf-8") if target.exists() else None
        target.parent.mkdir(exist_ok=True)
        target.write_text(edited(text_of(file), slips)[0], encoding="utf-8")
        try:
            make_plan(resolve(recipe, profile, self._settings(*pair)), self.host)
        except RecipeError as error:
            return str(error)
        finally:
            if was is None:
                target.unlink()
            else:
                target.write_text(was, encoding="utf-8")
        return ""

    def _target(self, file: str, recipe: Path) -> Path:
        """Where the file is read from: a profile, from beside the recipe first."""
        return recipe.parent / file if file.startswith("profiles/") else self.folder / file

    def told(self, file: str, slips: Sequence[Slip], error: str) -> dict[Slip, str]:
        """What an error says at the place of each slip."""
        told = [
            ((int(match[2]), int(match[3])), match[4])
            for match in _FINDING.finditer(error)
            if Path(match[1]).name == Path(file).name
        ]
        spans = edited(text_of(file), slips)[1]
        said = {slip: [words for place, words in told if span.holds(place)] for slip, span in spans.items()}
        return {slip: "\n".join(words) for slip, words in said.items() if words}


def is_understood(slip: Slip, said: str) -> bool:
    """Whether what was meant is what is suggested, alone or among a few that are as near; of a path the whole, or the
    part that is misspelled."""
    parts = [part for part in slip.right.split(".") if part not in slip.new.split(".")] if slip.is_key else []
    meant = [slip.right, *(parts if len(parts) == 1 else [])]
    questions = re.findall(r"did you mean ([^?]+)\?", said)
    return any(repr(word) in question for question in questions for word in meant)
