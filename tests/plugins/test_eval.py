"""`r1 eval`: recorded answers against numbers worked out by hand, a real endpoint, gates, unlike rows, bad input."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from r1_plugins.eval.against import check_alike, floor_of
from r1_plugins.eval.presets import preset
from r1_plugins.eval.written import Asked, probe, recipe, write
from r1core.api import run
from r1core.errors import RecipeError, RefusedError, SetupError

DEFAULT = Asked(
    models=(), problems=None, answers=None, reward="accuracy", samples=1, k=1, temperature=0.6, top_p=0.95,
    max_new_tokens=64, limit=500, seed=0, greedy=False, key=None, gates=(),
)  # fmt: skip


def asked(**changes: Any) -> Asked:
    return Asked(**{**vars(DEFAULT), **changes})


def answer(text: str) -> str:
    return f"<think>wait</think><answer>{text}</answer>"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """2 of 4 right and the majority right; 4 of 4; 0 of 4."""
    rows = [("1 + 1", "2", "2234"), ("2 + 2", "4", "4444"), ("3 + 3", "6", "5557")]
    path = tmp_path / "recorded.jsonl"
    lines = [json.dumps({"prompt": p, "reference": r, "answers": [answer(a) for a in own]}) for p, r, own in rows]
    path.write_text("\n".join(lines))
    return path


def metrics(wanted: Asked, folder: Path) -> dict[str, Any]:
    done = run(write(wanted, folder), run_dir=folder)
    found: dict[str, Any] = done.rows[0]["metrics"]
    return found


def test_recorded_answers_give_the_numbers_that_one_computes_by_hand(recorded: Path, tmp_path: Path) -> None:
    found = metrics(asked(answers=recorded), tmp_path / "run")
    assert found["pass@1"] == pytest.approx((2 / 4 + 4 / 4 + 0 / 4) / 3)
    # pass@2 = 1 - C(wrong, 2) / C(4, 2): 1 - 1/6, 1, 0
    assert found["pass@1/k=2"] == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert found["pass@1/k=4"] == pytest.approx(2 / 3)
    assert found["pass@1/cons=4"] == pytest.approx((1 + 1 + 0) / 3)
    # sampling: root of the sum of p (1 - p) / (4 - 1), over 3 problems: .25 / 3, 0, 0
    assert found["pass@1_se_sampling"] == pytest.approx((0.25 / 3) ** 0.5 / 3)
    # problem: the standard deviation of .5, 1, 0 is .5
    assert found["pass@1_se_problem"] == pytest.approx(0.5 / 3**0.5)
    # Wilson with p (1 - p) / se^2 = .25 * 3 / .25 = 3 trials: 1/2 +- root(z^2/3 (1/4 + z^2/12)) / (1 + z^2/3)
    z2 = 1.959964**2 / 3
    half = (z2 * (0.25 + z2 / 4)) ** 0.5 / (1 + z2)
    assert found["pass@1_ci95"] == pytest.approx([0.5 - half, 0.5 + half])


def test_a_gate_that_is_not_met_refuses_and_leaves_the_table(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"answers/pass@1 is 0\.5"):
        metrics(asked(answers=recorded, gates=("pass@1>=0.7",)), tmp_path / "run")
    assert (tmp_path / "run" / "results.json").is_file()


def test_rows_measured_otherwise_are_refused_side_by_side(recorded: Path, tmp_path: Path) -> None:
    metrics(asked(answers=recorded), tmp_path / "one")
    metrics(asked(answers=recorded, top_p=0.5), tmp_path / "two")
    check_alike(tmp_path / "one", tmp_path / "one")
    assert floor_of(tmp_path / "one").startswith("pass@1>=0.1253")  # the lower end of the interval above
    with pytest.raises(RecipeError, match=r"top_p: 0\.95 -> 0\.5"):
        check_alike(tmp_path / "two", tmp_path / "one")


@pytest.fixture
def endpoint() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            right = "2" if "1 + 1" in body["messages"][0]["content"] else "0"
            message = {"reasoning_content": "wait", "content": f"<answer>{right}</answer>"}
            self._say({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 5}})

        def _say(self, reply: Any) -> None:
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_an_endpoint_is_measured_like_a_folder(endpoint: str, recorded: Path, tmp_path: Path) -> None:
    wanted = asked(models=(f"{endpoint}#toy",), problems=f"jsonl:{recorded}", samples=2)
    probe(wanted.models)
    assert metrics(wanted, tmp_path / "run")["pass@1"] == pytest.approx(1 / 3)


def test_an_endpoint_that_is_down_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(SetupError, match=f"endpoint {url} is down"):
            probe((f"{url}#toy",))


def test_more_k_than_samples_an_unknown_preset_and_ragged_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs at least 4 samples, got 2"):
        recipe(asked(models=("x/y",), problems="playground", samples=2, k=4))
    with pytest.raises(RecipeError, match="no preset 'aime_2042'") as caught:
        preset("aime_2042", None)
    assert "aime_2024" in caught.value.fix
    ragged = tmp_path / "ragged.jsonl"
    ragged.write_text('{"prompt": "a", "answers": ["1"]}\n{"prompt": "b", "answers": ["1", "2"]}\n')
    with pytest.raises(RecipeError, match="different numbers of answers"):
        recipe(asked(answers=ragged))


@pytest.mark.parametrize(("name", "row"), [("math_500", {"unique_id": "a/1"}), ("aime_2024", {"id": 60})])
def test_a_preset_reads_rows_with_the_published_columns(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    from r1core.plugins import PluginHost

    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"problem": "What is $x$?", "solution": "s", "answer": "7", **row}) + "\n")
    options = dict(preset(name, data)["problems"])
    source = PluginHost.discover().find("source", options.pop("use"))
    (problem,) = source(source.Config.model_validate(options)).problems(seed=0)
    assert problem.question.startswith("What is $x$?")
    assert "\\boxed{}" in problem.question
    assert (problem.id, problem.reference) == (str(next(iter(row.values()))), "7")
