"""Events cross process borders as JSON and come back equal."""

import json
import pickle

import pytest

from r1core.events import (
    EVENTS,
    Event,
    RunFinished,
    RunStarted,
    SampleShown,
    StageFinished,
    StageNote,
    StageRow,
    StageSkipped,
    StageStarted,
    StepDone,
    from_json,
    to_json,
)

ROWS = (StageRow("base", "train", "sft", "new"), StageRow("evaluation", "evaluate", "", "unchanged"))
SAMPLE = SampleShown(question="1 + 1", text="<think>…</think>2", score=1.0)
EXAMPLES: list[Event] = [
    RunStarted(folder="runs/x", rows=ROWS, profile="profile tiny"),
    StageStarted(stage="base", total_steps=10, done=3),
    StageStarted(stage="base"),
    StepDone(stage="base", step=1, total=10, metrics={"loss": 0.5}, sample=SAMPLE),
    StepDone(stage="base", step=2, total=None),
    StageNote(stage="base", text="extended"),
    StageFinished(stage="base", wall_s=1.5, metrics={"loss": 0.1}),
    StageSkipped(stage="evaluation"),
    RunFinished(folder="runs/x", rows=({"model": "base", "metrics": {"pass@1_ci95": [0.1, 0.2]}},), wall_s=2.0),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_survives_json_and_pickle(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event
    assert pickle.loads(pickle.dumps(event)) == event


def test_every_kind_of_event_has_an_example() -> None:
    assert {type(event).__name__ for event in EXAMPLES} == set(EVENTS)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(KeyError):
        from_json({"event": "Nonsense"})
