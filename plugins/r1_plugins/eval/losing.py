"""Why most answers of a model are worth nothing, where it is not that they are wrong: an answer that nobody found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from r1_plugins.eval.reflecting import STAGE
from r1core.store import RunDirectory, read_rows

WHY = {
    "format": "have no closed think block, or no answer where the reward looks: `r1 explain` of it says where",
    "truncated": "were cut off: `--max-new-tokens` says how long one may be",
    "no_answer": "have no final answer where the reward looks: `r1 explain` of it says where",
    "no_choice": "name no option where the reward looks: `r1 explain` of it says where",
}
"""Reasons that say nothing of what was answered."""
OPTIONAL = "; `--thinking optional` takes a text without think tags for the answer"


def losing(folder: Path, first: str, thinking: str) -> Iterator[str]:
    """A line for each model that loses over half of its answers to the set `first` so; `thinking` as it was asked."""
    data = RunDirectory(folder).stage(STAGE).data
    for model in sorted(path for path in data.iterdir() if (path / first).is_dir()):
        reasons = Counter(row["score_reason"] for row in read_rows(model / first, columns=["score_reason"]))
        (reason, count) = reasons.most_common(1)[0]
        if reason in WHY and 2 * count > reasons.total():
            more = OPTIONAL if reason == "format" and thinking == "required" else ""
            yield f"{model.name}: {count} of {reasons.total()} answers {WHY[reason]}{more}"
