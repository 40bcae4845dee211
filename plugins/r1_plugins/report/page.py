"""Puts the page together: templates with autoescape, one stylesheet, one script, a policy that allows just these two.

Every `{{ }}` passes `finalized` (text.py) and is escaped; the policy names style and script by their hashes, so that
markup which got through all the same could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from r1_plugins.report import curves, learning, sections
from r1_plugins.report.bars import NARROW, WIDE, timeline
from r1_plugins.report.gather import RunFacts
from r1_plugins.report.glossary import words_of
from r1_plugins.report.scores import Measured
from r1_plugins.report.teaching import teaching
from r1_plugins.report.text import embedded, finalized

HERE = Path(__file__).parent / "templates"
STATES = {
    "finished": "finished",
    "failed": "ended with an error",
    "interrupted": "interrupted",
    "running": "still running",
    "unfinished": "ended before its end",
    "not started": "not started",
}


def page(facts: RunFacts, models: Sequence[Measured]) -> str:
    """The whole page. `models` as `scores.measured` has them."""
    style, script = (HERE / "report.css").read_text(encoding="utf-8"), (HERE / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    content = {"style": Markup(style), "script": Markup(script), "policy": _policy(style, script)}
    return environment.get_template("report.html").render({**content, **_context(facts, models)})


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _context(facts: RunFacts, models: Sequence[Measured]) -> dict[str, Any]:
    told = {stage.id: curves.columns(stage) for stage in facts.of("train")}
    batches = learning.batches_of(facts)
    words = words_of(facts)
    browser = sections.browser(facts, models)
    return {
        "run": facts,
        "state": STATES[facts.outcome],
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "story": sections.story(models, words),
        "pipeline": sections.pipeline(facts, sections.steps(facts, told)),
        "learning": learning.learning(facts, told, batches),
        "training": learning.training(facts, told, batches),
        "rule": curves.RULE,
        "tables": sections.table(models, words),
        "taught": sections.taught(teaching(facts)),
        "filtered": sections.filtered(facts),
        "samples": browser,
        "samples_json": embedded(browser["sources"]),
        "timelines": [timeline(list(facts.stages.values()), form) for form in (WIDE, NARROW)],
        "costs": sections.costs(facts, told),
        "lineage": sections.lineage(facts),
        "logs": sections.logs(facts),
        "glossary": words,
    }
