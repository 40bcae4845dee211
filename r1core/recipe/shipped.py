"""Where recipes and profiles are found: beside the recipe first, then those that ship with r1core."""

from __future__ import annotations

from pathlib import Path

from r1core.errors import RecipeError
from r1core.recipe.loader import shown
from r1core.suggest import did_you_mean

NO_PROFILE = "none"
DEFAULT_PROFILE = "tiny"


def shipped_folder() -> Path:
    """The recipes in the package, or, in a working copy, the folder beside it."""
    package = Path(__file__).parents[1]
    packaged = package / "recipes"
    return packaged if packaged.is_dir() else package.parent / "recipes"


def find_recipe(name: str | Path, *, beside: Path | None = None) -> Path:
    """A recipe's file: a path (relative to `beside`), or the name of a shipped one, typed from anywhere.

    A URL is returned as it is, for the loader to refuse.
    """
    path = (beside or Path()) / name
    if path.is_file() or "://" in str(name):
        return path if path.is_file() else Path(str(name))
    folder = shipped_folder()
    relative = Path(*Path(name).parts[1:]) if Path(name).parts[:1] == ("recipes",) else Path(name)
    if not relative.is_absolute() and ".." not in relative.parts:
        for candidate in (folder / relative, folder / f"{relative}.yaml"):
            if candidate.is_file():
                return candidate
    known = [p.relative_to(folder).as_posix() for p in folder.rglob("*.yaml") if p.parent.name != "profiles"]
    typed = str(name).rpartition("/")[0]
    near = did_you_mean(str(name), [f"{typed}/{p.name}".lstrip("/") for p in path.parent.glob("*.yaml")])
    fix = near or did_you_mean(relative.as_posix(), known, otherwise="shipped: ")
    raise RecipeError(f"no recipe {str(name)!r}", fix=fix)


def find_profile(name: str, recipe: Path) -> Path:
    """`profiles/<name>.yaml` beside the recipe, else the shipped one."""
    folders = [recipe.parent / "profiles", shipped_folder() / "profiles"]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file() and Path(name).name == name:
            return folder / f"{name}.yaml"
    known = {NO_PROFILE, *(path.stem for folder in folders for path in folder.glob("*.yaml"))}
    near = did_you_mean(name, known)
    fix = f"profiles: {', '.join(sorted(known))}" + (f"; {near}" if near else "")
    raise RecipeError(f"no profile {name!r}", where=shown(recipe), fix=fix)
