"""A plugin's distribution as it describes itself: a project folder with its pyproject.toml, or a built wheel.

Both are read without running anything of theirs. A wheel is unpacked into a folder that goes away
again, so that what is looked at is what people will install, and not what happens to lie around.
"""

from __future__ import annotations

import contextlib
import email
import importlib.metadata
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.hookspecs import PROJECT

PYPROJECT = "pyproject.toml"
WHERE = "r1 check"


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What is published under one name."""

    where: str
    """What a person opens to mend it: pyproject.toml, or the wheel's name."""
    name: str
    version: str
    requires: tuple[str, ...]
    requires_python: str
    licensed: bool
    dynamic: tuple[str, ...]
    """What only a build can tell."""
    entry_points: Mapping[str, str]
    readme: str
    readme_file: Path | None
    search: tuple[Path, ...]
    """Folders its packages are imported from."""
    top_level: frozenset[str] | None
    """What a wheel puts into site-packages, its metadata left out; None for a folder."""

    @property
    def modules(self) -> list[str]:
        """The top-level packages that its entry points name."""
        return sorted({target.partition(":")[0].partition(".")[0] for target in self.entry_points.values()})

    def folder_of(self, module: str) -> Path | None:
        """Where a top-level package lies in it; None for a plain module, or one that is elsewhere."""
        return next((place / module for place in self.search if (place / module).is_dir()), None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Distribution]:
    """The distribution at a path. Raises RecipeError for what is none."""
    if path.is_dir():
        yield _of_folder(path)
    elif path.suffix == ".whl" and path.is_file():
        with tempfile.TemporaryDirectory() as unpacked:
            yield _of_wheel(path, Path(unpacked))
    else:
        what = f"{str(path)!r} is no project folder and no wheel" if path.exists() else f"there is no {str(path)!r}"
        raise RecipeError(what, where=WHERE, fix=f"give a folder with a {PYPROJECT}, or a file that ends in .whl")


def _of_folder(folder: Path) -> Distribution:
    file = folder / PYPROJECT
    if not file.is_file():
        raise RecipeError(f"there is no {PYPROJECT} in {str(folder)!r}", where=WHERE, fix="r1 new-plugin writes one")
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"is no TOML: {error}", where=str(file)) from error
    project: dict[str, Any] = document.get("project", {})
    if "name" not in project:
        raise RecipeError(
            "has no [project] with a name", where=str(file), fix="r1 new-plugin writes one to compare with"
        )
    readme = _readme_file(folder, project)
    return Distribution(
        where=PYPROJECT,
        name=project["name"],
        version=project.get("version", "0"),
        requires=tuple(project.get("dependencies", ())),
        requires_python=project.get("requires-python", ""),
        licensed="license" in project or _classified(project.get("classifiers", ())),
        dynamic=tuple(project.get("dynamic", ())),
        entry_points=dict(project.get("entry-points", {}).get(PROJECT, {})),
        readme=readme.read_text(encoding="utf-8") if readme else "",
        readme_file=readme,
        search=_sources(folder, document),
        top_level=None,
    )


def _readme_file(folder: Path, project: Mapping[str, Any]) -> Path | None:
    said = project.get("readme")
    name = said.get("file") if isinstance(said, dict) else said
    return folder / name if isinstance(name, str) and (folder / name).is_file() else None


def _sources(folder: Path, document: Mapping[str, Any]) -> tuple[Path, ...]:
    """Where packages may lie: as hatchling is told, in `src`, or in the folder itself."""
    wheel = document.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    told = [(folder / package).parent for package in wheel.get("packages", ())]
    found = dict.fromkeys(place.resolve() for place in [*told, folder / "src", folder])
    return tuple(place for place in found if place.is_dir())


def _of_wheel(wheel: Path, folder: Path) -> Distribution:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise RecipeError(f"is no wheel: {error}", where=str(wheel), fix="build it again: python -m build") from error
    infos = list(folder.glob("*.dist-info"))
    if len(infos) != 1 or not (infos[0] / "METADATA").is_file():
        raise RecipeError("is no wheel: it has no METADATA", where=str(wheel), fix="build it again: python -m build")
    told = importlib.metadata.Distribution.at(infos[0])
    meta = email.message_from_string(told.read_text("METADATA") or "")
    licensed = any(meta.get(key) for key in ("License-Expression", "License", "License-File"))
    own = {entry.name for entry in folder.iterdir() if entry.suffix not in (".dist-info", ".data")}
    return Distribution(
        where=wheel.name,
        name=meta["Name"],
        version=told.version,
        requires=tuple(told.requires or ()),
        requires_python=meta.get("Requires-Python") or "",
        licensed=licensed or _classified(meta.get_all("Classifier") or ()),
        dynamic=(),
        entry_points={entry.name: entry.value for entry in told.entry_points if entry.group == PROJECT},
        readme=str(meta.get_payload()),
        readme_file=None,
        search=(folder,),
        top_level=frozenset(own),
    )


def _classified(classifiers: Any) -> bool:
    return any(str(line).startswith("License ::") for line in classifiers)
