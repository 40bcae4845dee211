"""What a chat template does with thinking is found out by a round trip, and so is the family of its Go template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from talking_model import CHATML, DEEPSEEK, KEEPING, TINY, build, spell
from test_export import done, refused, told

from r1_plugins.export import modelfile as modelfiles
from r1_plugins.export import thinking
from r1core.errors import RecipeError, RefusedError
from r1core.nn import load_tokenizer

CLOSING = TINY.replace("{{- '<|assistant|>' -}}", "{{- '<|assistant|><think>\\n\\n</think>\\n\\n' -}}")


def tokenizer(folder: Path, template: str, family: str = "tiny", **options: Any) -> Any:
    spell(folder, template=template, family=family, **options)
    return load_tokenizer(folder)


@pytest.mark.parametrize(
    ("template", "family", "prefill", "kept", "history"),
    [
        (TINY, "tiny", "none", True, "dropped"),
        (CHATML, "chatml", "none", True, "kept"),
        (DEEPSEEK, "deepseek", "opened", False, "dropped"),
        (KEEPING, "deepseek", "opened", True, "dropped"),
        (CLOSING, "tiny", "closed", True, "dropped"),
    ],
)
def test_what_a_template_does_with_thinking(
    tmp_path: Path, template: str, family: str, prefill: str, kept: bool, history: str
) -> None:
    found = thinking.look(tokenizer(tmp_path, template, family), where="here")
    assert (found.prefill, found.kept, found.history) == (prefill, kept, history)
    assert found.prefilled == {"none": "", "opened": "<think>\n", "closed": "<think>\n\n</think>\n\n"}[prefill]


def test_tags_that_decoders_leave_out_are_told(tmp_path: Path) -> None:
    assert not thinking.look(tokenizer(tmp_path / "a", TINY), where="").special_tags
    assert thinking.look(tokenizer(tmp_path / "b", TINY, special_tags=True), where="").special_tags


def test_a_template_that_loses_thinking_is_refused_with_the_way_out(tmp_path: Path) -> None:
    source = build(tmp_path / "model", template=DEEPSEEK, family="deepseek")
    error = refused(source, tmp_path / "out")
    assert isinstance(error, RefusedError)
    assert "loses the thinking of the last answer" in str(error)
    assert not (tmp_path / "out").exists()
    (tmp_path / "keeping.jinja").write_text(KEEPING)
    done(source, tmp_path / "out", "--chat-template", tmp_path / "keeping.jinja")
    assert load_tokenizer(tmp_path / "out").chat_template == KEEPING
    assert "no opening tag" in (tmp_path / "out" / "README.md").read_text()
    done(source, tmp_path / "as_is", "--allow-lost-thinking")
    assert told(tmp_path / "as_is")["checks"]["thinking"]["kept"] is False


def test_a_template_that_closes_the_thinking_is_refused(tmp_path: Path) -> None:
    assert "before the model has begun" in str(refused(build(tmp_path / "m", template=CLOSING), tmp_path / "out"))


def test_a_model_without_a_template_is_refused_until_one_is_given(tmp_path: Path) -> None:
    source = build(tmp_path / "model", template=None)
    error = refused(source, tmp_path / "out")
    assert isinstance(error, RecipeError)
    assert "--chat-template FILE" in str(error)
    (tmp_path / "tiny.jinja").write_text(TINY)
    done(source, tmp_path / "out", "--chat-template", tmp_path / "tiny.jinja")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == TINY


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% for %}", "{{ messages.nothing.there }}", " "])
def test_a_template_that_makes_no_prompt_is_refused(tmp_path: Path, template: str) -> None:
    source = build(tmp_path / "model")
    (tmp_path / "bad.jinja").write_text(template)
    assert refused(source, tmp_path / "out", "--chat-template", tmp_path / "bad.jinja").exit_code == 2


# --- Go templates --------------------------------------------------------------------------------


def test_the_go_template_of_each_family(tmp_path: Path) -> None:
    def go(template: str, family: str) -> str:
        found = modelfiles.family_of(tokenizer(tmp_path / family, template, family))
        assert found is not None
        return found.go()

    assert go(TINY, "tiny") == (
        '{{ range .Messages }}{{ if eq .Role "user" }}<|user|> {{ .Content }}'
        '{{ else if eq .Role "assistant" }}<|assistant|>{{ .Content }}<|end|>{{ end }}{{ end }}<|assistant|>'
    )
    assert go(CHATML, "chatml") == (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n"
        "{{ else }}<|im_start|>system\nYou are kind.<|im_end|>\n{{ end }}"
        '{{ range .Messages }}{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}'
        "<|im_start|>assistant\n"
    )
    assert go(DEEPSEEK, "deepseek") == (
        '{{ if .System }}{{ .System }}{{ end }}{{ range .Messages }}{{ if eq .Role "user" }}<｜User｜>{{ .Content }}'  # noqa: RUF001
        '{{ else if eq .Role "assistant" }}<｜Assistant｜>{{ .Content }}<｜end▁of▁sentence｜>{{ end }}{{ end }}'  # noqa: RUF001
        "<｜Assistant｜><think>\n"  # noqa: RUF001
    )


@pytest.mark.parametrize(
    "template",
    [
        TINY.replace("'<|user|> '", "'<|user|>'"),
        TINY.replace("'<|end|>'", "'<|end|>\\n'"),
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}[assistant]",
        TINY.replace("{%- for", "{{- 'Today is Friday.' -}}{%- for", 1),
    ],
)
def test_a_template_that_differs_by_a_letter_is_of_no_family(tmp_path: Path, template: str) -> None:
    assert modelfiles.family_of(tokenizer(tmp_path, template)) is None
