"""A teacher on loopback for tests: it answers `say 7` with a thought and 7, in whichever form it is told to.

The server is that of toy_judge.py: a `fault` decides what comes instead of an answer.

    with teacher(Script(fault=...)) as server:
        run_stage(job(tmp_path, server.url))
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from toy_judge import Body, Raw, Script, Server, judge

from r1core.events import Event, StageNote
from r1core.plugins import PluginHost
from r1core.recipe.plan import make_plan
from r1core.recipe.resolve import resolve
from r1core.stages.base import Job
from r1core.store import read_metrics, read_rows

RECIPE = """\
r1: 1
name: toys
profile: none
stages:
  traces:
    sample: {sample}
    sampler: {sampler}
    problems: {{use: jsonl, path: "{questions}"}}
    sampling: {{max_new_tokens: {longest}}}
"""
Fault = Callable[[Server, int, Body], Raw | None]


def completion(message: dict[str, Any], *, finish: str = "stop", tokens: tuple[int, int] | None = (10, 20)) -> Raw:
    """A chat completion with this message."""
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    return 200, {}, json.dumps({"choices": [{"finish_reason": finish, "message": message}], **usage}).encode()


def question(body: Body) -> str:
    """What was asked."""
    return str(body["messages"][-1]["content"])


def said(body: Body) -> Raw:
    """The answer as it should be."""
    number = question(body).rpartition(" ")[2]
    return completion({"role": "assistant", "reasoning_content": f"It says {number}.", "content": number})


@contextlib.contextmanager
def teacher(
    fault: Fault = lambda server, number, body: None, *, wait_s: float = 0.0, port: int = 0
) -> Iterator[Server]:
    """A teacher at work until the block ends; `server.faults` counts what was not answered."""
    hit = threading.Lock()
    counted = [0]

    def answer(server: Server, number: int, body: Body) -> Raw:
        raw = fault(server, number, body)
        with hit:
            counted[0] += raw is not None
        return raw if raw is not None else said(body)

    with judge(Script(fault=answer, wait_s=wait_s), port=port) as server:
        yield server
        server.faults = counted[0]


def asked(server: Server) -> Counter[str]:
    """How often each question came."""
    return Counter(question(body) for _, body in server.asked)


def job(
    folder: Path,
    url: str,
    *,
    problems: int = 10,
    longest: int = 50,
    sample: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Job, list[Event]]:
    """The stage, to be run in this process in `folder/traces`, and the events that it will emit."""
    questions = folder / "questions.jsonl"
    rows = [{"id": f"p{n}", "prompt": f"say {n}", "reference": str(n)} for n in range(problems)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    endpoint = {"url": url, "timeout_s": 5, "give_up_s": 2, **options.pop("endpoint", {})}
    sampler = {"use": "openai", "endpoint": endpoint, "model": "m", "concurrent": 4, **options}
    spec = {"prompts": problems, "samples": 2, "chunk": problems, **(sample or {})}
    text = RECIPE.format(sample=json.dumps(spec), sampler=json.dumps(sampler), questions=questions, longest=longest)
    (folder / "recipe.yaml").write_text(text)
    plan = make_plan(resolve(folder / "recipe.yaml"), PluginHost.discover())
    events: list[Event] = []
    own = folder / "stages" / "traces"
    own.mkdir(parents=True, exist_ok=True)
    return Job(plan=plan, stage=plan.stage("traces"), folder=own, artifacts={}, emit=events.append), events


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of the stage."""
    return list(read_rows(folder / "stages" / "traces" / "data"))


def last(folder: Path) -> dict[str, Any]:
    """Its last metrics."""
    return list(read_metrics(folder / "stages" / "traces" / "metrics.jsonl"))[-1]


def notes(events: list[Event]) -> str:
    """What was said to people."""
    return "\n".join(event.text for event in events if isinstance(event, StageNote))


def is_right(folder: Path, problems: int = 10, samples: int = 2) -> bool:
    """Whether there is each answer, in order, with its thinking."""
    wanted = [(f"p{n}", s, f"It says {n}.", str(n)) for n in range(problems) for s in range(samples)]
    return [(row["id"], row["sample"], row["thinking"], row["answer"]) for row in rows(folder)] == wanted
