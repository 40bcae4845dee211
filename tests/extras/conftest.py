"""Tests of what README's test command does not install; CONTRIBUTING has the command that does."""

from __future__ import annotations

import importlib.util

NEEDS = {"deepspeed": "test_deepspeed_*.py", "reasoning_gym": "test_gym*.py", "vllm": "test_vllm*.py"}
collect_ignore_glob = [files for package, files in NEEDS.items() if importlib.util.find_spec(package) is None]
