"""`r1 chat` with a scripted model: after each token of its script comes the next, so what it writes is known."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from r1_plugins.chat import chat
from r1core.errors import RecipeError, SetupError
from r1core.model_names import find_model
from r1core.reasoning_stream import TAGS, Splitter

SCRIPT = [
    "<a>",
    "<think>",
    "hm",
    "\x1b[31m",
    "[/INST]",
    "</think>",
    "<answer>",
    "7",
    "\u202e",
    "\x07",
    "</answer>",
    "<end>",
]
ANSWER = "7\u202e\x07"
TEMPLATE = "{% for m in messages %}<u> {{ m.content }} {% endfor %}<a>"


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with one stage, whose model answers SCRIPT to everything."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("run") / "stages" / "dev1" / "model"
    words = [*SCRIPT, "<u>", "<unk>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<a>", "<u>", "<end>"])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    size = 16
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=size, intermediate_size=size, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=64, tie_word_embeddings=False, eos_token_id=SCRIPT.index("<end>"), bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(words), size))
        model.lm_head.weight.copy_(torch.roll(torch.eye(len(words), size), 1, dims=0) * 10)
    model.save_pretrained(folder)
    return folder.parent.parent.parent


def talk(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(chat, [*arguments, "--temperature", "0"], input=typed, color=True)


def test_the_answer_stands_apart_from_the_dimmed_thinking_and_no_text_moves_the_terminal(scripted: Path) -> None:
    result = talk(str(scripted / "stages" / "dev1"), "--once", "3 + 4")
    assert result.exit_code == 0
    assert result.output == "\x1b[2mhm[31m[/INST]\x1b[0m\n7\x1b[0m\n"


def test_a_conversation_goes_on_until_quit_or_the_end_of_input(scripted: Path) -> None:
    for typed in ("one\n\ntwo\n/new\n/quit\nnever\n", "one\ntwo\n"):
        result = talk(str(scripted / "stages" / "dev1" / "model"), typed=typed)
        assert result.exit_code == 0, result.output
        assert result.output.count("7") == 2


def test_past_thinking_is_not_in_the_history_and_a_long_one_loses_its_oldest_turns(scripted: Path) -> None:
    from r1_plugins.chat.talk import Talk

    conversation = Talk(scripted / "stages" / "dev1" / "model", temperature=0, max_new_tokens=50)
    assert conversation.ask("one") == ANSWER
    assert conversation.history == [{"role": "user", "content": "one"}, {"role": "assistant", "content": ANSWER}]
    for _ in range(9):
        conversation.ask("again " * 6)
    assert {"role": "user", "content": "one"} not in conversation.history
    assert len(conversation.history) <= 10


def test_a_question_longer_than_the_model_reads_is_refused_and_forgotten(scripted: Path) -> None:
    result = talk(str(scripted / "stages" / "dev1"), typed=f"{'word ' * 80}\nshort\n")
    assert result.exit_code == 0
    assert "the model reads 64" in result.output
    assert result.output.count("\n7") == 1


def test_a_run_without_a_chosen_stage_lists_its_models(scripted: Path) -> None:
    with pytest.raises(RecipeError, match=r"1 models(.|\n)*r1 chat .*/stages/dev1/model"):
        find_model(str(scripted), command="chat")


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_is_no_model_says_what_is_expected(made: bool, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    with pytest.raises(RecipeError, match=r"config\.json, \*\.safetensors"):
        find_model(str(folder), command="chat")


def test_a_broken_model_is_a_message_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    result = talk(str(tmp_path), "--once", "x")
    assert isinstance(result.exception, RecipeError)
    assert str(tmp_path) in str(result.exception)


def test_half_a_model_and_a_reward_model_are_not_talked_to(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from talking_model import build

    half, scorer = build(tmp_path / "half"), build(tmp_path / "scorer", scores=True)
    weights = load_file(half / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    for folder, words in ((half, "weights are missing (model.layers.0.mlp.up_proj.weight"), (scorer, "scores answers")):
        result = talk(str(folder), "--once", "x")
        assert isinstance(result.exception, SetupError), result.output
        assert words in str(result.exception)
        assert str(folder) in str(result.exception)


def test_without_torch_it_says_how_to_add_it(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent: ModuleType | None = None
    monkeypatch.setitem(sys.modules, "torch", absent)
    monkeypatch.delitem(sys.modules, "r1_plugins.chat.talk", raising=False)
    result = talk(str(scripted / "stages" / "dev1"), "--once", "x")
    assert isinstance(result.exception, SetupError)
    assert "pip install 'r1core[train]'" in str(result.exception)


def test_the_command_is_found_by_r1_and_a_missing_folder_is_exit_2_before_torch() -> None:
    code = (
        "import sys; from r1core.cli import main\n"
        "try: main(['chat', '/no/such'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "there is no folder /no/such" in done.stderr
    assert "Traceback" not in done.stderr


PIECES = st.lists(st.sampled_from([*TAGS, "a", "<", ">", "</", "think", "\n"]), max_size=12)


@given(PIECES, st.data())
def test_the_split_is_the_same_however_the_text_arrives(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(chunks) == split([text])


def test_tags_switch_and_do_not_show() -> None:
    assert split(["<think>2 < 3</think>\n<answer>yes</answer>"]) == [(True, "2 < 3"), (False, "\nyes")]
    assert split(["still </thinking> and <b>"], thinking=True) == [(True, "still </thinking> and <b>")]


def split(chunks: list[str], *, thinking: bool = False) -> list[tuple[bool, str]]:
    splitter = Splitter(thinking=thinking)
    joined: list[tuple[bool, str]] = []
    for kind, piece in [p for chunk in chunks for p in splitter.feed(chunk)] + splitter.end():
        if joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + piece)
        else:
            joined.append((kind, piece))
    return joined
