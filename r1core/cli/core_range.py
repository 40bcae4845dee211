"""Which range of r1core a plugin should ask for: what it was tested with, and no further than promised.

What is deprecated warns for two minor versions, so a plugin that works today works with the next
minor version and may break with the one after it: `>=0.3,<0.5` while r1core is 0.3.
"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ANCIENT = "0.0.0a0"
NEVER = "999999"
"""Versions that no bound should let pass."""


def first_unknown(version: str) -> str:
    """The first version that nobody can know to work, for a plugin tested with `version`."""
    running = Version(version)
    return f"{running.major}.{running.minor + 2}"


def range_of(version: str) -> str:
    """The range for a plugin that was tested with `version`: `>=0.3,<0.5`."""
    running = Version(version)
    return f">={running.major}.{running.minor},<{first_unknown(version)}"


def wrong_range(specifier: SpecifierSet, version: str) -> str:
    """What is wrong with a plugin's range of r1core while `version` is running, "" when nothing is."""
    if specifier.contains(NEVER, prereleases=True):
        return "has no upper bound"
    if specifier.contains(ANCIENT, prereleases=True):
        return "has no lower bound"
    far = first_unknown(version)
    if Version(version).major == 0 and specifier.contains(far, prereleases=True):
        return f"allows {far}, two minor versions ahead of {version}"
    return ""
