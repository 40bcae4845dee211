"""What the playground says of its problems' fields is what they have: recipes are checked against it."""

from __future__ import annotations

from itertools import islice

import pytest

from r1_plugins.playground.sources import Playground

SIZES = [
    {},
    {"tasks": ["chat", "harm"]},
    {"tasks": ["arith", "harm"], "languages": ["zh"], "split": "held_out"},
]


@pytest.mark.parametrize("options", SIZES)
def test_the_fields_are_those_of_the_problems(options: dict[str, object]) -> None:
    source = Playground(Playground.Config.model_validate(options))
    problems = list(islice(source.problems(seed=0), 200))
    for name, values in source.fields.items():
        own = [str({**p.meta, "domain": p.domain, "language": p.language}.get(name)) for p in problems]
        assert not values or set(own) == values
    told = {*source.fields}
    assert all({*problem.meta} <= told for problem in problems)
