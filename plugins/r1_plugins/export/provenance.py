"""`r1_run.json`: where an exported model comes from and what was checked, for programs and for whoever doubts.

It holds no time of its own (the times are those of the run's stages) and no place of the machine: the same model,
exported in the same way by the same versions, gives the same bytes.
"""

from __future__ import annotations

from typing import Any

from r1_plugins.export.facts import Facts
from r1_plugins.export.place import FORMAT


def provenance(facts: Facts) -> dict[str, Any]:
    """The whole file."""
    own = facts.lineage
    model: dict[str, Any] = {
        "name": facts.name,
        "kind": "score" if facts.scores else "lm",
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "dtype": facts.dtype,
        "base_model": facts.base_model or None,
        "license": {"id": facts.licence.id, "source": facts.licence.source or None},
    }
    run: dict[str, Any] | None = None
    if own is not None:
        run = {
            "recipe": own.recipe,
            "profile": own.profile or None,
            "stage": own.own.id,
            "fingerprint": own.own.record.fingerprint,
            "seed": own.own.record.made_from.get("seed"),
            "command": f"r1 recipe recipe.resolved.yaml --run-dir . --until {own.own.id}",
            "metrics": dict(own.metrics),
            "manifest": dict(own.manifest),
            "lineage": [step.told() for step in own.steps],
            "components": dict(own.components),
        }
    checks = {
        "reloaded": {"source_dtype": facts.source_dtype, **facts.reloaded.told()},
        "merged": facts.merged.told() if facts.merged is not None else None,
        "thinking": facts.thinking.told() if facts.thinking is not None else None,
        "exact_tokenizer": facts.exact_tokenizer,
        "end_tokens": [{"id": token, "text": text, "from": said} for token, (text, said) in facts.ends.items()],
    }
    return {
        "format": FORMAT,
        "versions": dict(facts.versions),
        "model": model,
        "run": run,
        "checks": checks,
        "files": dict(facts.files),
    }
