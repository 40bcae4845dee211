"""A part with a gate counts only where others are high enough; a gate that leads nowhere is refused at its line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from test_scoring import group, scores, spec
from toy_recipes import HEAD, STAGES, planned, refused

from r1core.types import Problem

SHOWN = float(len("<think>hm</think><answer>yes</answer>"))


def test_a_part_counts_only_where_its_gate_is_open():
    right, wrong = scores([spec("Exact"), spec("Length", weight=0.1, gate={"exact": 0.5})], [group(["yes", "not"])])
    assert right.parts == {"exact": 1.0, "length": SHOWN}
    assert wrong.parts == {"exact": 0.0, "length": 0.0}
    assert (right.value, wrong.value) == (1.0 + 0.1 * SHOWN, 0.0)
    (ungated,) = scores([spec("Exact"), spec("Length", weight=0.1)], [group(["not"])])
    assert ungated.value > 0.0


def test_a_shut_gate_is_worth_the_lowest_so_that_it_never_pays_to_shut_it():
    (wrong,) = scores([spec("Exact"), spec("Length", lowest=-1.0, gate={"exact": 0.5})], [group(["not"])])
    assert (wrong.parts["length"], wrong.value) == (-1.0, -1.0)


def test_the_bound_itself_is_enough_and_all_gates_must_be_open():
    gates = {"exact": 1.0, "length_2": SHOWN + 1}
    low, high = spec("Length", gate={"exact": 1.0}), spec("Length", gate=gates)
    (found,) = scores([spec("Exact"), spec("Length", weight=0.0), low, high], [group(["yes"])])
    assert (found.parts["length_2"], found.parts["length_3"]) == (SHOWN, 0.0)


def test_gates_ask_what_was_said_and_not_what_other_gates_made_of_it():
    chain = [spec("Exact"), spec("Length", gate={"exact": 0.5}), spec("Length", gate={"length": 1.0})]
    (wrong,) = scores(chain, [group(["not"])])
    assert (wrong.parts["length"], wrong.parts["length_2"]) == (0.0, SHOWN)


def test_a_gate_asks_only_where_the_answer_has_that_part():
    talk = Problem(id="t", messages=({"role": "user", "content": "?"},), reference="yes", domain="general")
    rewards = [spec("Exact", only_for={"domain": "reasoning"}), spec("Length", gate={"exact": 0.5})]
    (found,) = scores(rewards, [group(["not"], problem=talk)])
    assert found.parts == {"length": SHOWN}


def test_an_infrastructure_failure_stays_unknown_behind_a_gate(tmp_path):
    rewards = [spec("Fault", options={"log": str(tmp_path / "faults")}), spec("Length", gate={"fault": 0.5})]
    (found,) = scores(rewards, [group(["unreachable"])], max_infrastructure_rate=1.0)
    assert (tmp_path / "faults").read_text() == "unreachable\n"
    assert found.status == "infrastructure"
    assert math.isnan(found.value)


# --- the plan --------------------------------------------------------------------------------------


def gated(gate: str) -> str:
    assert "accuracy, {use: toy, weight: 0.5, mode: hard}]" in STAGES
    return HEAD + STAGES.replace("mode: hard}]", f"mode: hard, gate: {gate}}}]", 1)


def test_a_gate_on_another_part_is_planned(tmp_path: Path) -> None:
    (_, use) = planned(tmp_path, gated("{accuracy: 0.5}")).stage("zero").stage.rewards
    assert use.gate == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("{acuracy: 0.5}", "'toy' is gated by 'acuracy', which is no other part\n  did you mean 'accuracy'?"),
        ("{toy: 0.5}", "'toy' is gated by 'toy', which is itself\n  other parts: accuracy"),
    ],
)
def test_a_gate_that_leads_nowhere_is_refused_at_its_line(gate: str, said: str, tmp_path: Path) -> None:
    found = refused(tmp_path, gated(gate))
    assert said in found
    assert found.startswith("recipe.yaml:")
    assert "stages.zero.rewards.1.gate" in found
