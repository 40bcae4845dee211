"""`r1 export`: a folder that is whole, right and described, or none; and what is refused."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from talking_model import TINY, build

from r1_plugins.export import export
from r1core.errors import NumericsError, R1Error, RecipeError, RefusedError, SetupError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*arguments: str | Path) -> R1Error:
    """The error that stopped it; nothing is left where the export was to go."""
    result = run(*arguments)
    assert isinstance(result.exception, R1Error), (result.output, result.exception)
    return result.exception


def told(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "r1_run.json").read_text())
    return found


# --- what it leaves ------------------------------------------------------------------------------


def test_a_folder_that_plain_transformers_loads_and_that_says_what_its_source_says(
    folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    said = done(folder, tmp_path / "out")
    assert "logits differ by at most 0 " in said
    models: list[Any] = [AutoModelForCausalLM.from_pretrained(place).eval() for place in (folder, tmp_path / "out")]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = torch.tensor([tokenizer("<|user|> what is 6 times 7?<|assistant|>")["input_ids"]])
    with torch.no_grad():
        ours, theirs = (model(ids).logits for model in models)
    assert torch.equal(ours, theirs)
    sampling = models[1].generation_config
    assert (sampling.do_sample, sampling.temperature, sampling.top_p) == (True, 0.6, 0.95)
    assert sampling.top_k >= 1, "SGLang and older vLLM refuse 0, transformers -1"
    drawn = models[1].generate(ids, max_new_tokens=1, top_p=1.0, output_scores=True, return_dict_in_generate=True)
    assert drawn.scores[0].isfinite().all(), "every token may be drawn"


def test_tokenizer_and_config_are_copied_byte_for_byte_and_the_template_gets_a_file(
    folder: Path, tmp_path: Path
) -> None:
    done(folder, tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == TINY
    assert not list(tmp_path.glob(".*")), "no folder beside it"


def test_every_end_token_is_told_and_who_says_so(tmp_path: Path) -> None:
    """The tokenizer ends texts with one token, the configs with another, the template turns with a third."""
    chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    source = build(tmp_path / "model", family="chatml", template=chatml)
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [260], "repetition_penalty": 1.3}))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "eos_token_id": 259}))
    done(source, tmp_path / "out")
    made = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    ends = {each["id"]: each["from"] for each in told(tmp_path / "out")["checks"]["end_tokens"]}
    assert ends == {257: ["chat template"], 258: ["tokenizer"], 259: ["config.json"], 260: ["generation_config.json"]}
    assert made["eos_token_id"] == [257, 258, 259, 260]
    assert "repetition_penalty" not in made, "the numbers were measured without"


def test_weights_in_shards_are_the_same_weights(folder: Path, tmp_path: Path) -> None:
    done(folder, tmp_path / "out", "--max-shard-gb", "0.00004")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    whole = load_file(folder / "model.safetensors")
    parts = {name: load_file(tmp_path / "out" / file)[name] for name, file in index["weight_map"].items()}
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert index["metadata"]["total_size"] == sum(tensor.numel() * 4 for tensor in whole.values())
    done(tmp_path / "out", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").is_file(), "shards are read, too"


def test_in_bfloat16_each_weight_is_rounded_and_the_difference_is_told(folder: Path, tmp_path: Path) -> None:
    done(folder, tmp_path / "out", "--dtype", "bfloat16")
    before, after = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "out"))
    assert all(torch.equal(after[name], before[name].to(torch.bfloat16)) for name in before)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    found = told(tmp_path / "out")["checks"]["reloaded"]
    assert 1e-5 < found["relative"] < found["bound"] == 5e-2
    assert found["positions"] > 100


def test_the_same_export_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    done(folder, tmp_path / "a" / "out", "--license", "mit")
    done(folder, tmp_path / "b" / "out", "--license", "mit")
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / at / "out").iterdir()} for at in "ab")
    assert one == other
    assert len(one) == 9


def test_every_file_but_the_two_that_describe_is_hashed(folder: Path, tmp_path: Path) -> None:
    from r1core.store import FileMark

    done(folder, tmp_path / "out")
    files = told(tmp_path / "out")["files"]
    assert files.keys() == {path.name for path in (tmp_path / "out").iterdir()} - {"README.md", "r1_run.json"}
    assert all(FileMark(**mark).holds(tmp_path / "out" / name) for name, mark in files.items())


def test_a_score_model_has_a_card_of_its_own_and_is_not_talked_to(tmp_path: Path) -> None:
    source = build(tmp_path / "model", scores=True, template=None)
    done(source, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "AutoModelForSequenceClassification" in card
    assert "r1 chat" not in card
    assert not (tmp_path / "out" / "generation_config.json").exists()
    assert refused(source, tmp_path / "g", "--gguf").exit_code == 2
    (tmp_path / "t.jinja").write_text(TINY)
    assert "not talked to" in str(refused(source, tmp_path / "g", "--chat-template", tmp_path / "t.jinja"))


# --- where it goes -------------------------------------------------------------------------------


def test_an_earlier_export_is_replaced_and_nobody_elses_folder_unless_forced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done(folder, out)
    (out / "left_over.txt").write_text("of the earlier export")
    done(folder, out)
    assert not (out / "left_over.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert "not an earlier export" in str(refused(folder, mine))
    assert (mine / "thesis.txt").read_text() == "years of work"
    done(folder, mine, "--force")
    assert not (mine / "thesis.txt").exists()


def test_a_place_within_or_around_the_model_is_refused_even_with_force(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "models" / "one"
    shutil.copytree(folder, source)
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for place in (source, source / "out", source.parent, tmp_path / "link", tmp_path / "file"):
        assert refused(source, place, "--force").exit_code == 2, place
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert "working directory" in str(refused(source, ".", "--force"))
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "work"] == before


def test_a_full_disk_leaves_nothing_half_and_the_earlier_export(folder: Path, tmp_path: Path) -> None:
    done(folder, tmp_path / "out", "--license", "mit")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    try:
        error = refused(folder, tmp_path / "out", "--license", "apache-2.0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, old)
    assert isinstance(error, SetupError)
    assert "cannot be written" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert told(tmp_path / "out")["model"]["license"]["id"] == "mit"


def test_what_does_not_fit_is_refused_before_a_byte_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    assert "has 0.0 GB free" in str(refused(folder, tmp_path / "out"))
    assert not any(tmp_path.iterdir())


KILLED = """
import sys, time
from pathlib import Path
from r1_plugins.export.place import staged
with staged(Path(sys.argv[1])) as staging:
    (staging / "half").write_text("a model")
    print("half", flush=True)
    time.sleep(60)
"""


def test_a_kill_leaves_the_earlier_export_and_the_next_one_clears_up(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done(folder, out)
    before = (out / "r1_run.json").read_bytes()
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    half = tmp_path / f".out.tmp-{process.pid}"
    assert (half / "half").is_file(), "the kill came in the middle"
    assert (out / "r1_run.json").read_bytes() == before
    done(folder, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- bad input -----------------------------------------------------------------------------------


def test_what_is_no_model_is_refused_with_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for given, said in (("nowhere", "no folder"), ("empty", "no config.json"), ("file", "no folder")):
        error = refused(tmp_path / given, tmp_path / "out")
        assert isinstance(error, RecipeError)
        assert said in str(error)
    assert not (tmp_path / "out").exists()


def test_half_a_model_is_found_out(folder: Path, tmp_path: Path) -> None:
    cases = {}
    for name in ("cut", "none", "shard", "lacks", "config", "index"):
        cases[name] = shutil.copytree(folder, tmp_path / name)
    weights = (folder / "model.safetensors").read_bytes()
    (cases["cut"] / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    (cases["none"] / "model.safetensors").unlink()
    done(folder, tmp_path / "sharded", "--max-shard-gb", "0.00004")
    for path in tmp_path.glob("sharded/model*"):
        shutil.copyfile(path, cases["shard"] / path.name)
    (cases["shard"] / "model-00001-of-00005.safetensors").unlink(missing_ok=True)
    next(iter(sorted(cases["shard"].glob("model-0*")))).unlink()
    kept = load_file(folder / "model.safetensors")
    del kept["model.norm.weight"]
    save_file(kept, cases["lacks"] / "model.safetensors", metadata={"format": "pt"})
    (cases["config"] / "config.json").write_text("{")
    (cases["index"] / "model.safetensors.index.json").write_text("[]")
    errors = {name: refused(case, tmp_path / "out") for name, case in cases.items()}
    assert not (tmp_path / "out").exists()
    assert "cannot be read" in str(errors["cut"])
    assert "no *.safetensors" in str(errors["none"])
    assert "missing" in str(errors["shard"])
    assert "weights are missing (model.norm.weight" in str(errors["lacks"])
    assert "cannot be read" in str(errors["config"])
    assert "damaged" in str(errors["index"])
    assert {error.exit_code for error in errors.values()} <= {2, 3}


def test_a_model_whose_numbers_are_none_is_not_passed_on(folder: Path, tmp_path: Path) -> None:
    source = shutil.copytree(folder, tmp_path / "nan")
    broken = load_file(source / "model.safetensors")
    broken["model.norm.weight"][0] = float("nan")
    save_file(broken, source / "model.safetensors", metadata={"format": "pt"})
    assert isinstance(refused(source, tmp_path / "out"), NumericsError)
    assert not (tmp_path / "out").exists()


def test_an_export_that_says_something_else_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from r1_plugins.export import weights

    write = weights.write_weights

    def spoil(where: Any, place: Path, **options: Any) -> None:
        write(where, place, **options)
        spoiled = load_file(place / "model.safetensors")
        spoiled["model.norm.weight"] *= 1.01
        save_file(spoiled, place / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(weights, "write_weights", spoil)
    error = refused(folder, tmp_path / "out")
    assert isinstance(error, RefusedError)
    assert "is not the one that it was made from" in str(error)
    assert not any(tmp_path.iterdir())


def test_options_that_go_with_others_are_refused_alone(folder: Path, tmp_path: Path) -> None:
    for alone in (["--public"], ["--converter", "x"], ["--base", str(folder)]):
        assert refused(folder, tmp_path / "out", *alone).exit_code == 2


def test_the_command_itself_imports_nothing_heavy() -> None:
    code = (
        "import sys, r1_plugins.export; "
        "print([name for name in ('torch', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
