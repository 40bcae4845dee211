"""What a plugin's distribution has to be before it is published. One sentence for each finding: what, and what to do.

What can be read is read; the code is imported, in another process, and never run beyond that
(plugin_probe.py). The rules are those that the plugin host, pip and the people who will use it rely on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from r1core.cli.core_range import range_of, wrong_range
from r1core.cli.distribution import Distribution
from r1core.cli.options_table import END, NONE, begin, table_in
from r1core.cli.plugin_probe import Found, Probed
from r1core.errors import R1Error
from r1core.hookspecs import PROJECT
from r1core.plugin_host.discovery import Provider, classify, core_version

PREFIX = f"{PROJECT}-"
CASES = "cases.jsonl"
_COUNT = re.compile(r"\d+ errors?")
REFUSED = ("REFUSED", "CONFLICT", "INCOMPATIBLE")


def metadata_findings(found: Distribution) -> Iterator[str]:
    """Its name, what it asks for, and what the index shows."""
    if not found.name.lower().replace("_", "-").startswith(PREFIX):
        yield f"{found.where}: it is named {found.name!r}: call it {PREFIX}<plugin>, the name that people look for"
    if "dependencies" in found.dynamic:
        yield f"{found.where}: its dependencies are dynamic: build the wheel and check that"
    else:
        yield from _range(found)
    if not found.requires_python:
        yield f'{found.where}: no requires-python: write requires-python = ">=3.11", or what it needs'
    if not found.licensed:
        yield f'{found.where}: no license, so nobody may use it: write license = "...", an SPDX name, and add LICENSE'


def _range(found: Distribution) -> Iterator[str]:
    asked: list[SpecifierSet] = []
    for line in found.requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            yield f"{found.where}: {line!r} is not a PEP 508 requirement: {reason}"
            continue
        if requirement.name.lower() == PROJECT and "extra" not in str(requirement.marker or ""):
            asked.append(requirement.specifier)
    version = core_version()
    advice = f'write "{PROJECT}{range_of(version)}"'
    if not asked:
        yield f"{found.where}: it does not depend on {PROJECT}: {advice}"
        return
    together = asked[0]
    for other in asked[1:]:
        together &= other
    wrong = wrong_range(together, version)
    if wrong:
        yield f"{found.where}: {PROJECT}{together} {wrong}: {advice}"


def name_findings(found: Distribution, others: Sequence[Provider]) -> Iterator[str]:
    """What the plugin host would refuse unimported, beside the built-ins in `others`."""
    if not found.entry_points:
        yield f'{found.where}: no entry point: write [project.entry-points.{PROJECT}] and <plugin> = "<package>"'
    mine = [
        Provider(name=name, target=target, distribution=found.name, version=found.version, requires=found.requires)
        for name, target in found.entry_points.items()
    ]
    for provider in classify([*others, *mine], deny=(), allow=None):
        if provider.distribution == found.name and provider.status in REFUSED:
            yield f"{found.where}: entry point {provider.name!r} is {provider.status}: {provider.detail}"


def code_findings(found: Distribution, name: str, probed: Probed) -> Iterator[str]:
    """What importing one entry point showed."""
    said = f"entry point {name} = {found.entry_points[name]!r}"
    if probed.failure:
        for line in probed.failure.splitlines():
            yield f"{said} does not load: {line}"
        return
    if not probed.file:
        yield f"{said} is a folder without __init__.py: add it"
        return
    if not any(Path(probed.file).resolve().is_relative_to(place.resolve()) for place in found.search):
        yield f"{said} is not in here: {probed.file} was imported; add the package"
    if not probed.hooks:
        yield f"{said} registers nothing: mark a function such as r1_rewards with @hookimpl, and return the classes"
    if probed.heavy:
        yield f"{said} imports {', '.join(probed.heavy)} at import: do that inside the methods that need it"
    for component in probed.components:
        if not component.documented:
            yield f"{component.cls} has no docstring: r1 explain {component.plugin}/{component.name} prints it"
        for option in component.undescribed:
            yield f'{component.cls}.Config.{option} has no description: write Field(..., description="what, unit")'
        yield from _cases(component)


def _cases(component: Found) -> Iterator[str]:
    """A reward comes with answers whose worth is known, beside its code, so that they are installed with it."""
    if component.kind != "reward":
        return
    file = cases_file(component)
    if file is None:
        places = f"{component.name}_{CASES} or {CASES}, beside {Path(component.file).name}"
        yield f"{component.called} has no cases: write {places}; r1 verify says what a row is"
        return
    from r1core.cases import read_cases

    try:
        expected = [case.expect for case in read_cases(file)]
    except R1Error as error:
        yield from _one_line_each(error)
        return
    if component.lowest not in expected:
        yield f"{file.name}: no row of {component.called} expects {component.lowest:g}: add an answer worth nothing"
    if max(expected) <= component.lowest:
        yield f"{file.name}: no row of {component.called} expects more than {component.lowest:g}: add a right answer"


def _one_line_each(error: R1Error) -> list[str]:
    """The findings of an error, each with its hint behind it, without their count."""
    lines = str(error).replace("\n  ", "; ").splitlines()
    return [line for line in lines if not _COUNT.fullmatch(line)]


def cases_file(component: Found) -> Path | None:
    """The cases of a reward: those named after it, else the only ones."""
    folder = Path(component.file).parent
    return next((file for name in (f"{component.name}_{CASES}", CASES) if (file := folder / name).is_file()), None)


def content_findings(found: Distribution) -> Iterator[str]:
    """What is installed: the package, typed, and nothing beside it."""
    for module in found.modules:
        folder = found.folder_of(module)
        if folder is not None and not (folder / "py.typed").is_file():
            yield f"{module}/py.typed is missing: without this empty file type checkers do not read the package"
    for name in sorted((found.top_level or frozenset()) - {*found.modules, *(f"{m}.py" for m in found.modules)}):
        yield (
            f"{found.where}: it puts {name!r} into site-packages, where others' files of that name lie: name only the "
            "package under [tool.hatch.build.targets.wheel] packages"
        )


def readme_findings(found: Distribution, components: Sequence[Found]) -> Iterator[str]:
    """The README's tables are what `Config` says."""
    where = found.readme_file.name if found.readme_file else "README"
    if not found.readme.strip():
        yield f'{found.where}: no README: write readme = "README.md"; it is the page on the index'
        return
    for component in components:
        name = f"{component.plugin}/{component.name}"
        table = table_in(found.readme, component.kind, name)
        if table is None and component.table != NONE:
            lines = f"{begin(component.kind, name)} and {END}"
            yield f"{where}: no table of the options of {component.called}: add the lines {lines}, then r1 check --fix"
        elif table is not None and table != component.table:
            mend = "r1 check --fix writes it" if found.readme_file else "run r1 check --fix in the project, build again"
            yield f"{where}: the options of {component.called} are not what its Config says: {mend}"
