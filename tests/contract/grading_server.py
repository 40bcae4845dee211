"""The toy teacher of the plugins' tests, for the suites: a real model behind `prompt_logprobs`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "plugins" / "toy_grader.py"


def toy_grader(policy: Any) -> Any:
    """A server of the policy's model until the block ends; it has a `url`."""
    spec = importlib.util.spec_from_file_location("toy_grader_of_plugins", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.toy_grader(policy)
