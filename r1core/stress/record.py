"""A stress test's findings as JSON, for whoever keeps them or compares two versions of a reward."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from r1core.stress.trial import Answered, Report, severity_of

TEXT = 2000
"""Characters of a response that are kept; an attack may have a million."""


def record(report: Report) -> dict[str, Any]:
    """All findings, and what was asked, by family."""
    reading = report.reading
    return {
        "reward": report.spec.name,
        "options": report.spec.options,
        "verdict": report.verdict,
        "gameable": report.gameable,
        "worth": {"right": reading.top, "wrong": reading.bar, "lowest": report.spec.lowest},
        "judges": {
            "answers": reading.judges_answers,
            "think_block": reading.judges_thinking,
            "answer_tags": reading.judges_tags,
            "thinking": reading.wants_thinking,
        },
        "cases": {"asked": len(report.cases), "as_expected": sum(one.as_expected for one in report.cases)},
        "asked": Counter(one.question.family for one in report.answered),
        "left_out": report.left_out,
        "false_positives": list(map(_row, report.paid)),
        "taken_out": list(map(_row, report.taken_out)),
        "breaking_pays": list(map(_row, report.profitable)),
        "false_negatives": list(map(_row, report.refused)),
        "broken": list(map(_row, report.broken)),
        "moody": list(map(_row, report.moody)),
        "late": list(map(_row, report.late)),
    }


def _row(one: Answered) -> dict[str, Any]:
    question, text = one.question, one.question.response.prefilled + one.question.response.text
    return {
        "family": question.family,
        "severity": severity_of(question),
        "label": question.label,
        "why": question.why,
        "prompt": question.problem.question,
        "gold": question.problem.reference,
        "response": text[:TEXT],
        "characters": len(text),
        "scores": [
            {"value": s.value if math.isfinite(s.value) else None, "status": s.status, "reason": s.reason}
            for s in one.scores
        ],
        "worth_at_most": question.most,
        "worth_at_least": question.least,
        "seconds": round(one.seconds, 4),
    }
