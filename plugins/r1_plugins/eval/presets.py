"""Published test sets as the paper measures them: one YAML file each, beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.suggest import did_you_mean


def preset(name: str, data: Path | None) -> dict[str, Any]:
    """Options of the command, with `problems` from the hub, or from a file of the same columns."""
    from ruamel.yaml import YAML

    files = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    if name not in files:
        raise RecipeError(f"no preset {name!r}", where="--preset", fix=did_you_mean(name, files, otherwise="presets: "))
    found: dict[str, Any] = YAML(typ="safe").load(files[name].read_text(encoding="utf-8"))
    source, columns, reader = found.pop("source", None), found.pop("columns"), found.pop("file", "jsonl")
    if data is not None:
        source = {"use": reader, "path": str(data.resolve())}
    if source is None:
        fix = f"give the file by --data; see {files[name].name} and `r1 explain source {reader}`"
        raise RecipeError(f"preset {name!r} has no data on the hub that is read as it is", where="--preset", fix=fix)
    return {**found, "problems": {**source, **columns}}
