"""`r1 eval`: recorded answers against numbers worked out by hand, a real endpoint, gates, unlike rows, bad input."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from r1_plugins.eval import evaluate
from r1_plugins.eval.against import beside
from r1_plugins.eval.endpoints import named, reading
from r1_plugins.eval.losing import losing
from r1_plugins.eval.presets import preset
from r1_plugins.eval.recorded import as_jsonl
from r1_plugins.eval.reflecting import reflecting
from r1_plugins.eval.written import Asked, fitting, folder_of, recipe, write
from r1core.api import run
from r1core.errors import RecipeError, RefusedError, SetupError
from r1core.store import read_json, read_rows

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


def test_pass_at_1_and_its_bars_stay_when_another_k_is_asked_for(recorded: Path, tmp_path: Path) -> None:
    one = metrics(asked(answers=recorded), tmp_path / "one")
    found = metrics(asked(answers=recorded, k=2), tmp_path / "two")
    assert {key: found[key] for key in one} == one
    # pass@2 of the problems is 5/6, 1, 0: their spread over root 3
    mean = (5 / 6 + 1) / 3
    spread = (sum((each - mean) ** 2 for each in (5 / 6, 1, 0)) / 2) ** 0.5
    assert found["pass@1/k=2"] == pytest.approx(mean)
    assert found["pass@1/k=2_se_problem"] == pytest.approx(spread / 3**0.5)
    assert found["pass@1/k=2_ci95"][0] < mean < found["pass@1/k=2_ci95"][1]


def test_what_nobody_recorded_is_unknown_and_no_number(recorded: Path, tmp_path: Path) -> None:
    assert not {"length", "clipped_ratio"} & metrics(asked(answers=recorded), tmp_path / "run").keys()
    rows = [{**json.loads(line), "finish": ["length"] * 4} for line in recorded.read_text().split("\n")]
    recorded.write_text("\n".join(map(json.dumps, rows)))
    found = metrics(asked(answers=recorded), tmp_path / "cut")
    assert found["clipped_ratio"] == 1.0
    assert "length" not in found


def test_answers_without_thinking_count_where_it_is_optional_and_are_told_of_where_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    texts = ["It is \\boxed{2}.", "<think>2 it is: \\boxed{2}", "<think>so</think><answer>2</answer>", "3"]
    lines = [{"prompt": f"1 + 1, {n}", "reference": "2", "answers": [text] * 3} for n, text in enumerate(texts)]
    path.write_text("\n".join(map(json.dumps, lines)))
    strict = metrics(asked(answers=path, reward="math"), tmp_path / "strict")
    assert (strict["pass@1"], strict["pass@1/cons=3"]) == (0.25, 0.25)
    (told,) = losing(tmp_path / "strict", "pass@1", "required")
    assert told.startswith("answers: 9 of 12 answers have no closed think block")
    assert "--thinking optional" in told
    assert "--thinking" not in next(losing(tmp_path / "strict", "pass@1", "optional"))
    found = metrics(asked(answers=path, reward="math", thinking="optional"), tmp_path / "optional")
    assert (found["pass@1"], found["pass@1/cons=3"]) == (0.5, 0.5)  # an open think block is no answer yet
    assert list(losing(tmp_path / "optional", "pass@1", "optional")) == []
    sets = read_json(tmp_path / "optional" / "stages" / "evaluation" / "data" / "manifest.json")["sets"]
    assert sets["pass@1"]["thinking"] == "optional"


def test_lines_end_at_newlines_alone(recorded: Path, tmp_path: Path) -> None:
    row = {"prompt": "1\u2028+\u00851", "reference": "2", "answers": [answer("2")]}
    recorded.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert metrics(asked(answers=recorded), tmp_path / "run")["pass@1"] == 1.0


def test_limits_on_what_is_not_measured_are_refused_before_anything_is(recorded: Path) -> None:
    for gate, told in (
        ("passs@1>=0.9", "'passs@1' is not measured"),
        ("pass@1>=e", "is no limit"),
        ("pass@1>=.", "is no limit"),
        ("pass@1>=nan", "is no limit"),
        ("pass@1/k=3>=0.5", "is not measured"),
    ):
        with pytest.raises(RecipeError, match=told) as caught:
            recipe(asked(answers=recorded, gates=(gate,)))
        assert gate in str(caught.value)
    with pytest.raises(RecipeError) as caught:
        recipe(asked(answers=recorded, gates=("passs@1>=0.9",)))
    assert "did you mean 'pass@1'" in caught.value.fix
    gates = ("pass@1/k=4>=0.5", "pass@1/cons=4<=1", "pass@1>=-1e-3", "format>=0.5")
    found = recipe(asked(answers=recorded, gates=gates))["stages"]["evaluation"]["gate"]
    assert found[0] == {"metric": "answers/pass@1/k=4", "min": 0.5}
    assert [next(reversed(gate.values())) for gate in found] == [0.5, 1.0, -0.001, 0.5]


def test_components_are_given_as_in_a_recipe_and_what_is_none_is_told(recorded: Path) -> None:
    exact = "{use: exact, case: false}"
    found = recipe(asked(answers=recorded, reward=exact))["stages"]["evaluation"]["rewards"]
    assert found == [{"use": "exact", "case": False}, "format", "language"]
    for changes, where in (
        ({"models": ("x/y",), "fetch": False, "problems": "{use: playground"}, "--problems"),
        ({"answers": recorded, "reward": "{case: false}"}, "--reward"),
    ):
        with pytest.raises(RecipeError) as caught:
            recipe(asked(**changes))
        assert caught.value.where == where


def test_rows_of_a_preset_without_its_name_are_refused(recorded: Path) -> None:
    done = CliRunner().invoke(evaluate, ["x/y", "--data", str(recorded)])
    assert isinstance(done.exception, RecipeError)
    assert done.exception.where == "--data"


def test_a_model_that_is_worse_by_as_much_everywhere_is_not_the_same(recorded: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in recorded.read_text().split("\n")]
    for row in rows:
        row["answers"] = [answer("none")] * 4
    recorded.write_text("\n".join(map(json.dumps, rows)))
    metrics(asked(answers=recorded, limit=2), tmp_path / "none")
    old = tmp_path / "right"
    for row in rows:
        row["answers"] = [answer(row["reference"])] * 4
    recorded.write_text("\n".join(map(json.dumps, rows)))
    metrics(asked(answers=recorded, limit=2), old)
    said = [line for line in beside(tmp_path / "none", old, ["pass@1"]) if "less" in line]
    assert said == ["answers less answers (earlier), pass@1: -1.000 by as much on every problem"]
    assert "the same on every problem" in [*beside(old, old, ["pass@1"])][-1]


def test_rows_measured_otherwise_are_refused_side_by_side(recorded: Path, tmp_path: Path) -> None:
    metrics(asked(answers=recorded), tmp_path / "one")
    metrics(asked(answers=recorded, against=tmp_path / "one"), tmp_path / "same")
    for changes, told in (
        ({"limit": 2}, r"problems\.number: 3 -> 2"),
        ({"reward": "exact"}, r"reward: accuracy -> exact"),
    ):
        for option in ("against", "gate_against"):
            folder = tmp_path / f"{option}-{next(iter(changes))}"
            with pytest.raises(RecipeError, match=told):
                metrics(asked(answers=recorded, **changes, **{option: tmp_path / "one"}), folder)
            assert not folder.exists()  # nothing was computed


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"data": [{"id": name, "max_model_len": 256} for name in self.server.names]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            right = "2" if "1 + 1" in body["messages"][0]["content"] else "0"
            message = {"reasoning_content": "wait", "content": self.server.form.format(right)}
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
        server.names, server.form = ["toy"], "<answer>{}</answer>"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def endpoint(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1"


def test_an_endpoint_is_measured_like_a_folder_and_its_manifest_says_who_sampled(
    endpoint: str, recorded: Path, tmp_path: Path
) -> None:
    models = named((endpoint,), None)
    assert models == (f"{endpoint}#toy",)  # it has one model, so it needs no name
    wanted = asked(models=models, problems=f"jsonl:{recorded}", samples=2)
    assert metrics(wanted, tmp_path / "run")["pass@1"] == pytest.approx(1 / 3)
    told = read_json(tmp_path / "run" / "stages" / "evaluation" / "data" / "manifest.json")["models"]["toy"]["sampled"]
    assert told["sampler"]["use"].startswith("openai (r1core ")
    assert (told["temperature"], told["top_p"], told["max_new_tokens"]) == (0.6, 0.95, 64)


@pytest.mark.parametrize("form", ["{}", "The answer is \\boxed{{{}}}."])
def test_what_an_endpoint_sends_apart_from_its_thinking_is_its_answer_and_its_form_is_unknown(
    form: str, server: Any, endpoint: str, recorded: Path, tmp_path: Path
) -> None:
    server.form = form
    wanted = asked(models=(f"{endpoint}#toy",), problems=f"jsonl:{recorded}", samples=2)
    found = metrics(wanted, tmp_path / "run")
    assert (found["pass@1"], found["pass@1/cons=2"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert "format" not in found
    assert found["length"] == 5
    rows = read_rows(tmp_path / "run" / "stages" / "toy" / "data")
    (text,) = {row["text"] for row in rows if row["reference"] == "2"}
    assert text == f"<think>\nwait\n</think>\n\n{form.format(2)}"  # what a student would learn has no tags added


def test_an_endpoint_is_asked_for_no_more_than_its_model_reads(endpoint: str) -> None:
    models = (f"{endpoint}#toy", "some/folder")
    assert reading(models, None) == {f"{endpoint}#toy": 256}
    assert fitting(models, 1024, reading(models, None)) == 128


def test_an_endpoint_with_several_models_is_refused_with_the_list(server: Any, endpoint: str) -> None:
    server.names = ["r1", "dev1"]
    with pytest.raises(RecipeError, match="names 2 models") as caught:
        named((endpoint,), None)
    assert f"{endpoint}#r1" in caught.value.fix
    assert f"{endpoint}#dev1" in caught.value.fix


def test_recorded_answers_do_not_claim_a_sampler_and_need_no_torch(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}  # for the stages' own processes
    fired = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, check=False)
    assert b"torch was imported" in fired.stderr
    command = [
        sys.executable, "-c",
        "import sys; sys.modules['torch'] = None\n"
        "from r1core.cli import main\nsys.exit(main())",
        "eval", "--answers", str(recorded), "--run-dir", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = read_json(tmp_path / "run" / "stages" / "evaluation" / "data" / "manifest.json")["models"]["answers"]
    assert told["sampled"]["sampler"]["use"] == "recorded answers"
    assert told["sampled"]["temperature"] is None


def test_reflection_words_are_kept_beside_the_results(recorded: Path, tmp_path: Path) -> None:
    metrics(asked(answers=recorded), tmp_path / "run")
    found = reflecting(tmp_path / "run", "pass@1")
    assert found == read_json(tmp_path / "run" / "reflection.json")
    # <think>wait</think><answer>2</answer>: one of the words think, wait, think, answer, answer
    assert found["answers"] == {"words_per_1000": pytest.approx(200.0), "answers": 12, "set": "pass@1"}


def test_rows_that_a_stage_left_are_measured_as_recorded_answers(recorded: Path, tmp_path: Path) -> None:
    before = metrics(asked(answers=recorded), tmp_path / "run")
    rows = tmp_path / "run" / "stages" / "answers"
    found = metrics(asked(answers=as_jsonl(rows, tmp_path)), tmp_path / "again")
    assert {k: found[k] for k in before} == before
    with pytest.raises(RecipeError, match="holds no rows") as caught:
        as_jsonl(tmp_path / "run", tmp_path)
    assert str(rows / "data") in caught.value.fix


def test_another_question_lives_in_another_folder_and_a_gate_is_no_part_of_it(recorded: Path) -> None:
    one = folder_of(asked(answers=recorded), [])
    assert folder_of(asked(answers=recorded, gates=("pass@1>=0.7",)), []) == one
    others = {folder_of(asked(answers=recorded, seed=1), []), folder_of(asked(answers=recorded), ["a.b=1"])}
    assert len(others | {one}) == 3


def test_an_evaluation_that_is_killed_goes_on_to_the_same_results(recorded: Path, tmp_path: Path) -> None:
    whole = metrics(asked(answers=recorded), tmp_path / "whole")
    path = write(asked(answers=recorded), tmp_path / "killed")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from r1core.api import run\n"
        "from r1core.events import StageStarted\n"
        "def heard(event):\n"
        "    if isinstance(event, StageStarted) and event.stage == 'evaluation':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(sys.argv[1], run_dir=sys.argv[2], listener=heard)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "killed")]
    killed = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "results.json").exists()
    assert metrics(asked(answers=recorded), tmp_path / "killed") == whole
    assert (
        read_json(tmp_path / "killed" / "results.json")["rows"]
        == read_json(tmp_path / "whole" / "results.json")["rows"]
    )


def test_an_endpoint_that_is_down_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(SetupError, match=f"endpoint {url} is down"):
            named((f"{url}#toy",), None)


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


def test_a_model_of_the_hub_that_cannot_be_reached_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def down(*_: Any, **__: Any) -> str:
        raise ConnectionError("no such host")

    monkeypatch.setattr(hub, "snapshot_download", down)
    with pytest.raises(SetupError, match="the hub does not give a model of that name: no such host"):
        recipe(asked(models=("no/such-model",), problems="playground"))
    assert recipe(asked(models=("no/such-model",), problems="playground", fetch=False))["stages"]["such_model"] == {
        "import": "no/such-model"
    }


def test_unsaid_an_answer_takes_at_most_half_of_what_the_smallest_model_reads(tmp_path: Path) -> None:
    for name, positions in (("small", 256), ("large", 40_000)):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text(f'{{"max_position_embeddings": {positions}}}')
    small, large = str(tmp_path / "small"), str(tmp_path / "large" / "model")
    assert [fitting(models, 1024) for models in ([small, large], [large], ["hub/name", "http://x/v1"])] == [
        128,
        1024,
        1024,
    ]
