"""`r1 doctor`: this machine, the engines that are installed against the tested versions, what is missing.

    r1 doctor
    r1 doctor --resume-test --kills 20 --chains 2      # kill a recipe here, again and again (resume_test.py)

The tested matrix is data (tested.toml), its ranges those of r1core's own extras. An extra names the
components that need it, and lists what it has beyond `train`. Every line that is not in order ends with
the command that mends it. Exit 3 when the extra `train` is missing, without which nothing trains.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from r1core.cli.tested import PYTHON, Package, matrix
from r1core.errors import SetupError
from r1core.plugins import Loaded, PluginHost
from r1core.untrusted import untrusted

BASE_EXTRA = "train"
BUNDLES = ("dev", "all")
GIB = 2**30
MISSING = "missing"


RECIPE = "recipes/deepseek_r1.yaml"
PROFILE = "smoke"
KILLS = 100
CHAINS = 10
"""What a resume test does unless it is told otherwise."""


@click.command("doctor")
@click.option("--resume-test", is_flag=True, help="Kill a recipe here, again and again, and compare what it leaves.")
@click.option("--kills", type=click.IntRange(min=1), metavar="N", help=f"Kills that must land: {KILLS}.")
@click.option(
    "--chains", type=click.IntRange(min=1), metavar="N", help=f"Run directories they are spread over: {CHAINS}."
)
@click.option("--recipe", metavar="FILE", help=f"The recipe: {RECIPE}.")
@click.option("--profile", metavar="P", help=f"What binds its slots: {PROFILE}.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="Keep the runs here, a new folder.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The kills are drawn from it: 0.")
@click.pass_context
def command(
    ctx: click.Context,
    resume_test: bool,
    kills: int | None,
    chains: int | None,
    recipe: str | None,
    profile: str | None,
    folder: Path | None,
    seed: int | None,
) -> None:
    """What this machine has, and what is missing.

    With --resume-test: whether a run can be killed anywhere here, and ends with the same bytes when it is run again.
    """
    given = {"kills": kills, "chains": chains, "recipe": recipe, "profile": profile, "folder": folder, "seed": seed}
    if resume_test:
        from r1core.cli.resume_test import try_resuming

        try_resuming(
            recipe or RECIPE,
            profile or PROFILE,
            folder,
            kills=kills or KILLS,
            chains=chains or CHAINS,
            seed=seed or 0,
            say=lambda line: click.echo(untrusted(line)),
        )
        return
    for name, value in given.items():
        if value is not None:
            raise click.UsageError(f"--{name} is of use only with --resume-test")
    _look(ctx)


def _look(ctx: click.Context) -> None:
    for line in _machine():
        click.echo(untrusted(line))
    host = PluginHost.discover()
    extras, known = _extras(), matrix()
    for extra, requirements in extras.items():
        click.echo(untrusted(f"\nextra {extra}{_needed_by(host, extra)}"))
        shown = {r.name for r in extras[BASE_EXTRA]} if extra != BASE_EXTRA else set()
        for requirement in requirements:
            if requirement.name not in shown:
                click.echo(_package(_tested(requirement, known)))
        if not _complete(requirements, known):
            click.echo(f"  to add it: {_install(extra)}")
    for line in _plugins(host):
        click.echo(untrusted(line))
    if not _complete(extras[BASE_EXTRA], known):
        click.echo(f"\nnothing trains here yet: {_install(BASE_EXTRA)}", err=True)
        ctx.exit(SetupError.exit_code)


def _machine() -> Iterator[str]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    free = shutil.disk_usage(Path.cwd()).free / GIB
    yield f"r1core {importlib.metadata.version('r1core')}, python {platform.python_version()}, {platform.platform()}"
    python = matrix()[PYTHON]
    if not python.is_tested:
        yield f"python {python.installed} is untested: tested {python.range}"
    yield f"{os.cpu_count()} cores, {memory:.1f} GiB memory, {free:.0f} GiB free on this disk"
    yield from _accelerators() or ["no accelerator found: CPU only (the profiles smoke and tiny need no more)"]


def _accelerators() -> list[str]:
    """One line for each GPU that the driver lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return ["nvidia-smi does not answer: the driver hangs"]
    return listed.stdout.splitlines() if listed.returncode == 0 else []


def _extras() -> dict[str, list[Requirement]]:
    """The packages of each extra with their tested ranges, from r1core's own metadata."""
    metadata = importlib.metadata.metadata("r1core")
    every = [Requirement(text) for text in importlib.metadata.requires("r1core") or ()]
    names = sorted(set(metadata.get_all("Provides-Extra") or ()) - set(BUNDLES), key=lambda name: name != BASE_EXTRA)
    return {name: [r for r in every if r.name != "r1core" and _only_in(r, name)] for name in names}


def _only_in(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _needed_by(host: PluginHost, extra: str) -> str:
    """The components that declare it, `, for policy deepspeed`."""
    names = [f"{loaded.kind} {loaded.name}" for loaded in host.components() if loaded.cls.extra == extra]
    return f", for {', '.join(sorted(names))}" if names else ""


def _tested(requirement: Requirement, known: Mapping[str, Package]) -> Package:
    """What is known of a package; of one that the matrix does not have, what the extra asks for."""
    name = canonicalize_name(requirement.name)
    return known.get(name, Package(name=name, range=requirement.specifier))


def _complete(requirements: list[Requirement], known: Mapping[str, Package]) -> bool:
    return all(_tested(requirement, known).installed is not None for requirement in requirements)


def _package(package: Package) -> str:
    version = package.installed
    if version is None:
        state = MISSING
    elif package.is_tested:
        state = "ok"
    else:
        tried = f", tried with {', '.join(package.tried)}" if package.tried else ""
        state = f"untested; pip install '{package.name}{package.range}'{tried}"
    return f"  {package.name:<16} {version or '-':<16} tested {str(package.range) or 'any':<18} {state}"


def _install(extra: str) -> str:
    return f"pip install 'r1core[{extra}]'"


def _plugins(host: PluginHost) -> Iterator[str]:
    """Plugins that do not work, components that say they cannot run here, and what others tell of this machine."""
    for row in host.report():
        if row.status not in ("ok", "disabled"):
            yield f"\nplugin {row.name} ({row.distribution} {row.version}) {row.status}: {row.detail}"
    for loaded in host.components():
        for finding in loaded.lacks():
            yield f"\n{loaded.kind} {loaded.name}: {finding}"
        told = _report(loaded)
        if told:
            yield f"\n{loaded.kind} {loaded.name}"
            yield from (f"  {each}" for each in told)


def _report(loaded: Loaded) -> list[str]:
    """What the component has to say of this machine; a report that fails itself is a finding, too."""
    try:
        return list(loaded.cls.report())
    except Exception as error:
        return [f"its report() fails: {type(error).__name__}: {error}"]
