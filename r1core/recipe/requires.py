"""`requires:`: what a recipe needs installed, as PEP 508 lines, checked before anything is loaded.

Nothing is ever installed for anyone: an unmet line ends in exit 3 with the command to type.
"""

from __future__ import annotations

import importlib.metadata
import shlex

from packaging.requirements import InvalidRequirement, Requirement

from r1core.errors import RecipeError, SetupError
from r1core.recipe.resolve import Resolved


def check_requires(resolved: Resolved) -> None:
    """Raise RecipeError for lines that are not PEP 508, SetupError for those that are not met."""
    wrong, unmet = [], []
    for i, line in enumerate(resolved.recipe.requires):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            wrong.append(resolved.document.finding(("requires", i), f"{line!r} is not a PEP 508 requirement: {reason}"))
            continue
        state = _unmet(requirement)
        if state:
            unmet.append((line, resolved.document.finding(("requires", i), f"{line} is required, {state}")))
    if wrong:
        raise RecipeError.of(wrong)
    if unmet:
        packages = " ".join(shlex.quote(line) for line, _ in unmet)
        raise SetupError("\n".join(finding.render() for _, finding in unmet), fix=f"run: pip install {packages}")


def _unmet(requirement: Requirement) -> str:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return "and not installed"
    return "" if requirement.specifier.contains(version, prereleases=True) else f"and {version} is installed"
