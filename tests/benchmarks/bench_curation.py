"""The whole curation of 800,000 traces as a recipe's stage: its memory, its rate, a kill half way, and what it finds.

    python tests/benchmarks/bench_curation.py --traces 50000 --folder /tmp/curation

Traces are drawn, four to a problem, with a thinking of about 150 words in a few paragraphs. Some have one defect each:
an exact or near repeat of a trace far before, an endless paragraph, code, a loop, another language, a wrong answer,
words of an evaluation set, no tags, cut off, too short; and all answers to some problems are wrong. The run is killed
after half of the units and started again. Exits 1 unless each defect is found by its own filter (near repeats: 99 % of
them) and nothing else is, and the process tree stays below 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from process_tree import Measured, measure

ANSWERS = 4
CHUNK = 1024
"""Problems in one unit."""
BACK = 500
"""Problems between a repeat and its original, at least."""
LIMIT_MIB = 2048
DEFECTS = {
    "duplicate": "no_duplicates",
    "near_duplicate": "no_duplicates",
    "long_paragraph": "no_long_paragraphs",
    "code_block": "no_code",
    "loop": "no_repetition",
    "mixed_language": "one_language",
    "incorrect": "correct",
    "contaminated": "decontaminated",
    "no_think": "think_tags",
    "truncated": "truncated",
    "too_short": "length_band",
}
"""What is planted: the reason that it is found for, and the filter that finds it."""
RECIPE = """\
r1: 1
name: curation
profile: none
stages:
  curated:
    sample: {{answers: given, chunk: {chunk}, jsonl: true, license: cc0-1.0}}
    problems:
      use: parquet
      path: {folder}/traces
      prompt: problem
      reference: answer
      completion: generations
      finish: finishes
    rewards: [{{use: exact, as: accuracy, require_tags: false}}, language]
    filters:
      - truncated
      - think_tags
      - {{use: difficulty_band, min: 0.1}}
      - correct
      - one_language
      - {{use: length_band, of: thinking, unit: words, min: 30}}
      - no_long_paragraphs
      - no_code
      - no_repetition
      - {{use: decontaminated, against: [{folder}/evaluation.jsonl], of: text}}
      - {{use: no_duplicates, similarity: 0.8, of: thinking}}
      - {{use: at_most, k: 3}}
"""
_SYLLABLES = ("ba", "de", "lo", "mi", "ru", "sta", "ken", "tor", "vel", "ana", "pri", "sol")
WORDS = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]


def thinking_of(number: int) -> list[list[str]]:
    """The paragraphs of a trace without defects."""
    draw = Random(f"trace {number}")
    return [draw.choices(WORDS, k=draw.randrange(30, 70)) for _ in range(3)]


def evaluation(number: int) -> list[str]:
    """The words of an evaluation problem."""
    return Random(f"evaluation {number}").choices(WORDS, k=40)


def defect_of(number: int) -> str:
    """What is wrong with a trace; one in fifty has something."""
    problem, draw = number // ANSWERS, Random(f"defect {number}")
    if Random(f"problem {problem}").random() < 0.01:
        return "too_hard"
    found = draw.choice(list(DEFECTS)) if draw.random() < 0.25 else ""
    return "" if "duplicate" in found and problem < 2 * BACK else found


def original_of(number: int) -> int:
    """The trace that a repeat repeats: one that stays."""
    start = number - BACK * ANSWERS
    return next(n for n in range(start, 0, -1) if not defect_of(n) and n % ANSWERS != ANSWERS - 1)


def trace(number: int) -> tuple[str, str, str]:
    """Its text, how it ended, and what is wrong with it."""
    defect, answer, draw = defect_of(number), str(number // ANSWERS), Random(f"spoil {number}")
    parts = thinking_of(original_of(number) if "duplicate" in defect else number)
    if defect in ("incorrect", "too_hard"):
        answer = "none"
    elif defect == "near_duplicate":
        parts[1][draw.randrange(len(parts[1]))] = "another"
    elif defect == "long_paragraph":
        parts[1] = Random(f"long {number}").choices(WORDS, k=400)
    elif defect == "loop":
        parts.append(draw.choices(WORDS, k=25) * 5)
    elif defect == "mixed_language":
        parts[1][5:10] = ["我们", "现在", "计算", "一下", "答案"]
    elif defect == "contaminated":
        parts[2][5:20] = evaluation(number % 1000)[10:25]
    elif defect == "too_short":
        parts = [parts[0][:20]]
    elif defect == "code_block":
        parts[1] = ["```\nfor", "x", "in", "y:\n", "pass\n```"]
    text = "\n\n".join(" ".join(part) for part in parts)
    text = text.upper().replace(" ", "  ") if defect == "duplicate" else text
    if defect == "no_think":
        return f"{text} {answer}", "stop", defect
    return f"<think>\n{text}\n</think>\n{answer}", "length" if defect == "truncated" else "stop", defect


def write_traces(folder: Path, count: int) -> Counter[str]:
    """The traces as parquet files, the evaluation set; what was planted."""
    import pyarrow
    import pyarrow.parquet

    lines = (json.dumps({"prompt": " ".join(evaluation(number))}) for number in range(1000))
    (folder / "evaluation.jsonl").write_text("\n".join(lines) + "\n")
    planted: Counter[str] = Counter()
    (folder / "traces").mkdir()
    for part, rows in enumerate(_parts(count, planted)):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "traces" / f"{part:05d}.parquet")
    (folder / "planted.json").write_text(json.dumps(planted))
    return planted


def _parts(count: int, planted: Counter[str]) -> Iterator[list[dict[str, object]]]:
    rows: list[dict[str, object]] = []
    for problem in range(count // ANSWERS):
        own = [trace(problem * ANSWERS + place) for place in range(ANSWERS)]
        planted.update(_told([defect for _, _, defect in own]))
        planted["more_than_k"] += max(0, sum(not defect for _, _, defect in own) - 3)
        rows.append(
            {
                "problem": f"problem number {problem}, please",
                "answer": str(problem),
                "generations": [text for text, _, _ in own],
                "finishes": [finish for _, finish, _ in own],
                "source": "drawn",
            }
        )
        if len(rows) == 10_000:
            yield rows
            rows = []
    if rows:
        yield rows


def _told(defects: list[str]) -> list[str]:
    """What the filters have to say of the answers to one problem: where all that the first two of them leave are wrong,
    the problem is too hard."""
    left = {defect for defect in defects if defect not in ("truncated", "no_think")}
    hard = left <= {"incorrect", "too_hard"}
    return ["too_hard" if hard and defect == "incorrect" else defect for defect in defects if defect]


def run(folder: Path, name: str, **environment: str) -> Measured:
    """One start of the recipe."""
    r1 = str(Path(sys.executable).with_name("r1"))
    command = [r1, "recipe", str(folder / "recipe.yaml"), "--run-dir", str(folder / "run")]
    os.environ.update(environment)
    try:
        return measure(command, log=folder / f"{name}.log")
    finally:
        for key in environment:
            del os.environ[key]


def found_in(report: dict[str, object]) -> Counter[str]:
    """The rejected by reason."""
    found: Counter[str] = Counter()
    for each in report["filters"]:  # type: ignore[attr-defined]
        found.update(each["reasons"])
    return found


def main() -> None:
    """Draw, run, kill, run again, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=800_000)
    parser.add_argument("--folder", type=Path, required=True, help="where traces and the run go; must not exist")
    arguments = parser.parse_args()
    folder, count = arguments.folder.resolve(), arguments.traces // ANSWERS * ANSWERS
    folder.mkdir(parents=True)
    planted = write_traces(folder, count)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder, chunk=CHUNK))
    units = -(-count // ANSWERS // CHUNK)
    kill = {"R1_KILL_AT": f"curated/ledger.done:{units // 2}", "R1_KILL_LOG": str(folder / "kills")}
    killed, resumed = run(folder, "killed", **kill), run(folder, "resumed")
    sys.exit(judged(folder, count, planted, killed, resumed, units))


def judged(folder: Path, count: int, planted: Counter[str], killed: Measured, resumed: Measured, units: int) -> int:
    """Print the figures; 0 where all is as it should be."""
    stage = folder / "run" / "stages" / "curated"
    fell = (folder / "kills").exists() and killed.code != 0
    if resumed.code or not fell:
        print(f"killed: {fell}, exit {killed.code}; resumed: exit {resumed.code}; see {folder}/*.log")
        return 1
    report = json.loads((stage / "report.json").read_text())
    found, peak = found_in(report), max(killed.rss_mib, resumed.rss_mib)
    wall = killed.wall_s + resumed.wall_s
    print(f"{count:,} traces in {units} units of {CHUNK} problems; kept {report['kept']:,}")
    print(f"killed after {units // 2} units: {killed.wall_s:.0f} s; then {resumed.wall_s:.0f} s")
    cpu_s = json.loads((stage / "stage.json").read_text())["cpu_s"]
    print(f"{count / wall:,.0f} traces/s of wall time, {1e3 * cpu_s / count:.2f} ms of CPU each, rewards included")
    print(f"memory of the process tree: RSS {peak:,.0f} MiB, PSS {max(killed.pss_mib, resumed.pss_mib):,.0f} MiB")
    good = peak < LIMIT_MIB and report["rows"] == count == report["kept"] + found.total()
    for reason, wanted in sorted(planted.items()):
        had = found.pop(reason, 0)
        exact = reason not in ("near_duplicate", "more_than_k")
        right = had == wanted if exact else abs(had - wanted) <= 0.01 * wanted
        good &= right
        print(f"  {reason:16} planted {wanted:7,}  found {had:7,}{'' if right else '  WRONG'}")
    if found:
        good = False
        print(f"  found and never planted: {dict(found)}")
    print("good" if good else "NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    main()
