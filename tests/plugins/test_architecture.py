"""What an architecture is made of is read from the installed library's source, as that library itself has it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from transformers import AutoConfig

from r1_plugins.transformers import TransformersPolicy
from r1core.errors import RecipeError

TYPES = ("llama", "qwen2", "qwen3", "gpt2", "gpt_neox", "mistral")
LIGHT = """
import sys
from r1_plugins.transformers import TransformersPolicy
assert TransformersPolicy.architecture_options("llama") is not None
assert not {"torch", "transformers"} & set(sys.modules)
"""


@pytest.mark.parametrize("model_type", TYPES)
def test_the_keys_are_those_of_the_library(model_type: str) -> None:
    options = TransformersPolicy.architecture_options(model_type)
    assert options is not None
    config = AutoConfig.for_model(model_type)
    assert [key for key in options.model_fields if not hasattr(config, key)] == []
    own = set(config.to_dict()) - {"model_type", "_name_or_path", "output_attentions"}
    assert own - set(options.model_fields) == set()


@pytest.mark.parametrize("model_type", TYPES)
def test_the_librarys_own_defaults_fit_the_types(model_type: str) -> None:
    options = TransformersPolicy.architecture_options(model_type)
    assert options is not None
    defaults = AutoConfig.for_model(model_type).to_dict()
    options.model_validate({key: value for key, value in defaults.items() if key in options.model_fields})


def test_a_misspelled_type_is_refused_and_an_unknown_one_passes() -> None:
    with pytest.raises(RecipeError, match=r"no model type 'qwne2'\n  did you mean 'qwen2'\?"):
        TransformersPolicy.architecture_options("qwne2")
    assert TransformersPolicy.architecture_options("my_own_architecture") is None
    assert TransformersPolicy.architecture_options("") is None


def test_nothing_heavy_is_imported_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
