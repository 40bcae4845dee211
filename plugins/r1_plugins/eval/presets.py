"""Published test sets as the paper measures them: one YAML file each, beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1core.errors import RecipeError
from r1core.suggest import did_you_mean


def preset(name: str, data: Path | None) -> dict[str, Any]:
    """Options of the command, with `problems` from the hub, or from a JSONL file of the same columns."""
    from ruamel.yaml import YAML

    files = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    if name not in files:
        raise RecipeError(f"no preset {name!r}", where="--preset", fix=did_you_mean(name, files, otherwise="presets: "))
    found: dict[str, Any] = YAML(typ="safe").load(files[name].read_text(encoding="utf-8"))
    source, columns = found.pop("source"), found.pop("columns")
    source = {"use": "jsonl", "path": str(data.resolve())} if data is not None else source
    return {**found, "problems": {**source, **columns}}
