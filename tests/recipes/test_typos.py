"""Every slip of the hand in every shipped recipe and profile is refused at its place, and nearly all are understood.

A letter lost, two swapped, or one mistyped, in every key and every name; a value of the wrong type. One of the three
for each word here, at a letter that differs from word to word, too; all three at all letters:
`python tests/benchmarks/bench_typos.py`.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipped_slips import Bench, Found, files, is_understood, pairs, slips_of
from slips import LETTERS, Slip

from r1core.recipe import loader
from r1core.recipe.shipped import shipped_folder

ENOUGH = 0.95
ANOTHER_STEP = "a step misspelled is another step, a share another share"
ROWS = "only the rows of a file say what fields they have, and with which values; a plan does not read them"
AT_ITS_ENDPOINT = "which models there are is known where they are asked, not in a plan"
WHERE_IT_RUNS = "the file is of the machines that it runs on, where it is read before any compute"
ANOTHER_STAGE = "a stage of another name is one more, beside the one that is extended; its teacher is bound here"
UNSEEN = {
    ("distill_from_endpoint.yaml", "stages.traces"): ANOTHER_STAGE,
    ("judge.yaml", "stages.judged.rewards.1.model"): AT_ITS_ENDPOINT,
    ("deepseek_r1.yaml", "stages.r1.problems.75%"): ANOTHER_STEP,
    ("profiles/paper.yaml", "stages.r1.problems.1300"): ANOTHER_STEP,
    ("profiles/paper.yaml", "stages.r1_zero.sampling.max_new_tokens.8200"): ANOTHER_STEP,
    ("profiles/smoke.yaml", "problems.reasoning.50%"): ANOTHER_STEP,
    ("profiles/tiny.yaml", "problems.reasoning.60%"): ANOTHER_STEP,
    ("profiles/paper.yaml", "stages.r1.rewards.0.for.domain"): ROWS,
    ("profiles/paper.yaml", "stages.r1.rewards.3.for.task"): ROWS,
    ("profiles/paper.yaml", "stages.r1.rewards.4.for.task"): ROWS,
    ("profiles/cluster.yaml", "engines.policy.hostfile"): WHERE_IT_RUNS,
}
"""Where a slip makes something that may be meant as well, and why nobody can tell."""
JARGON = re.compile(r"[Ii]nput|valid |instance|parse|pydantic|dict|Use\b|NoneType|str\b|int\b|extra_|_type\b")
TELLING = re.compile(
    r" (is|are) wanted, got |unknown (key|option)|missing (key|option)|write 'last N'|there is no folder"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A text that was parsed is not parsed again: of the files that a plan reads, one is spoiled, and that for several
    plans."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "parse", functools.lru_cache(maxsize=256)(loader.parse))
        yield Bench(tmp_path_factory.mktemp("slips"))


@pytest.fixture(scope="module")
def found(bench: Bench) -> dict[str, Found]:
    return {file: bench.check(file, list(chosen(file))) for file in files()}


def chosen(file: str) -> Iterator[Slip]:
    """One misspelling of each word, a lost letter where it is known that none is seen, and every wrong type."""
    for slip in slips_of(file):
        is_seen = (file, ".".join(slip.path)) not in UNSEEN
        own = LETTERS[zlib.crc32(repr(slip.path).encode()) % len(LETTERS)] if is_seen else "deleted"
        if slip.kind == own or slip.kind not in LETTERS:
            yield slip


def test_there_are_thousands_of_slips(found: dict[str, Found]) -> None:
    assert len(found) == len(list(shipped_folder().rglob("*.yaml")))
    assert sum(len(each.said) for each in found.values()) > 5000
    assert {slip.kind for each in found.values() for slip in each.said} == {
        *LETTERS,
        "mapping",
        "list",
        "number",
        "words",
    }


@pytest.mark.parametrize("file", files())
def test_every_slip_is_refused_at_its_place(found: dict[str, Found], file: str) -> None:
    silent = {(file, ".".join(slip.path)) for slip in found[file].silent}
    assert silent == {place for place in UNSEEN if place[0] == file}
    assert all(slip.kind in LETTERS for slip in found[file].silent)


@pytest.mark.parametrize("file", files())
def test_nearly_every_slip_is_understood(found: dict[str, Found], file: str) -> None:
    assert found[file].share_understood() >= ENOUGH


def test_nearly_all_slips_together_are_understood(found: dict[str, Found]) -> None:
    together = Found()
    for each in found.values():
        together.said |= each.said
        together.silent += each.silent
    assert together.share_understood() >= ENOUGH


@pytest.mark.parametrize("file", files())
def test_a_value_of_the_wrong_type_is_told_in_plain_words(found: dict[str, Found], file: str) -> None:
    said = {slip: words for slip, words in found[file].said.items() if slip.kind not in LETTERS}
    assert [words for words in said.values() if not TELLING.search(words)] == []
    told = [
        re.sub(r"^.*?: |got .*|option of .*|keys: .*|options: .*|keys of .*?wanted", "", words)
        for words in said.values()
    ]
    assert [words for words in told if JARGON.search(words)] == []


# --- all at once ---------------------------------------------------------------------------------


def a_key_of_a_stage(slip: Slip) -> bool:
    return (
        slip.is_key
        and len(slip.path) == 3
        and slip.path[0] == "stages"
        and slip.path[2] in ("model", "problems", "rewards")
    )


def a_component(slip: Slip) -> bool:
    is_item = len(slip.path) == 4 or slip.path[-1] == "use"
    return not slip.is_key and slip.path[0] == "stages" and slip.path[2] in ("filters", "rewards") and is_item


def a_reference(slip: Slip) -> bool:
    return not slip.is_key and slip.path[0] == "stages" and slip.path[2:3] in (("model",), ("models",))


@pytest.mark.parametrize("phase", [a_key_of_a_stage, a_component, a_reference])
@given(data=st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_so_many_slips_of_a_phase_are_so_many_findings(
    bench: Bench, phase: Callable[[Slip], bool], data: st.DataObject
) -> None:
    file = "deepseek_r1.yaml"
    known = {slip.path: slip for slip in slips_of(file) if slip.kind == "deleted" and phase(slip)}
    slips = [known[path] for path in data.draw(st.sets(st.sampled_from(sorted(known)), min_size=1))]
    error = bench.refusal(file, pairs(file)[0], slips)
    assert set(bench.told(file, slips, error)) == set(slips)
    assert error.splitlines()[-1] == (f"{len(slips)} errors" if len(slips) > 1 else "1 error")


# --- profiles --------------------------------------------------------------------------------------


def test_a_profile_may_serve_recipes_that_lie_beside(tmp_path: Path) -> None:
    """`dev4` is almost `dev3`, but another recipe has it."""
    bench = Bench(tmp_path)
    profile = bench.folder / "profiles" / "smoke.yaml"
    profile.write_text(profile.read_text().replace("stages:\n", "stages:\n  dev4: {train: {epochs: 1}}\n", 1))
    pair = ("deepseek_r1.yaml", "smoke")
    assert "did you mean 'dev" in bench.refusal("your_data.yaml", pair, [])
    (bench.folder / "more.yaml").write_text("r1: 1\nname: more\nstages:\n  dev4: {import: some/model}\n")
    assert bench.refusal("your_data.yaml", pair, []) == ""


def test_the_tests_can_fail(found: dict[str, Found]) -> None:
    slip = next(slip for slip in found["deepseek_r1.yaml"].said if slip.kind == "deleted")
    assert is_understood(slip, f"unknown key\n  did you mean {slip.right!r}?")
    assert not is_understood(slip, "unknown key\n  did you mean 'something_else'?")
    assert JARGON.search("Input should be a valid dictionary or instance of RewardUse")
