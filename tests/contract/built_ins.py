"""Which built-in components there are, and which have a suite: in a file of this folder, or in tests/extras."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from r1core.plugins import PluginHost
from r1core.testing.suite import ComponentSuite

EXTRAS = Path(__file__).parents[1] / "extras"
"""Tests of what needs more than a test environment has; they are read here, not run."""
_SUITE = re.compile(r'^class \w+\((\w+)Suite\):\n(?:    """[^"]*"""\n\n)?    component = "(\w+)"', re.MULTILINE)


def built_in(kinds: Collection[str]) -> set[tuple[str, str]]:
    """(kind, name) of every built-in of these kinds."""
    return {(c.kind, c.name) for c in PluginHost.discover(allow=()).components() if c.kind in kinds}


def suites(namespace: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(kind, name) of every component that a class of this file tests."""
    found = [each for name, each in namespace.items() if name.startswith("Test")]
    return {(each.kind, each.component) for each in found if issubclass(each, ComponentSuite)}


def elsewhere(kinds: Collection[str]) -> set[tuple[str, str]]:
    """(kind, name) of those that are tested in tests/extras."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(EXTRAS.glob("test_*.py"))]
    found = {(kind.lower(), name) for text in texts for kind, name in _SUITE.findall(text)}
    assert len(found) >= 3, "the pattern no longer finds them"
    return {(kind, name) for kind, name in found if kind in kinds}
