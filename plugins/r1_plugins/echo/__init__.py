"""`echo`: a policy, a sampler and a source of one name that run a whole recipe in seconds on a light install.

For testing plugins, nothing else: rewards, estimators, filters and trainers meet real rollouts, probes,
checkpoints and artifacts, and nobody waits for torch. The policy has four parameters, how much it
likes each of four forms of an answer (forms.py), so it can learn what a reward wants of the form, and
can learn nothing else.

    engines: {policy: echo, sampler: echo}
    stages:
      base: {train: {use: sft, lr: 0.1, epochs: 30}, model: {scratch: {model_type: echo}}, data: {use: echo}}
"""

from __future__ import annotations

from r1_plugins.echo.policy import EchoPolicy
from r1_plugins.echo.sampler import EchoSampler
from r1_plugins.echo.source import EchoSource
from r1core.components import Policy, ProblemSource, Sampler
from r1core.hookspecs import hookimpl

__all__ = ["EchoPolicy", "EchoSampler", "EchoSource", "r1_policies", "r1_samplers", "r1_sources"]


@hookimpl
def r1_policies() -> list[type[Policy]]:
    """The policy `echo`."""
    return [EchoPolicy]


@hookimpl
def r1_samplers() -> list[type[Sampler]]:
    """The sampler `echo`."""
    return [EchoSampler]


@hookimpl
def r1_sources() -> list[type[ProblemSource]]:
    """The source `echo`."""
    return [EchoSource]
