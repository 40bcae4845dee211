"""Gates between the rewards of a stage: a part that counts only where others are high enough.

    rewards: [right, {use: pleasing, gate: {right: 0.5}}]

Without one, a pleasing wrong answer may be worth more than a plain right one.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.errors import Diagnostic
from r1core.recipe.measures import part_names
from r1core.recipe.names import Draft
from r1core.recipe.resolve import Resolved
from r1core.suggest import did_you_mean


def check_gating(resolved: Resolved, draft: Draft) -> Iterator[Diagnostic]:
    """Gates on parts that the stage does not have, or on the part itself."""
    names = part_names([use.part for use in draft.stage.rewards])
    for number, (use, own) in enumerate(zip(draft.stage.rewards, names, strict=True)):
        others = [name for name in names if name != own]
        for gate in use.gate:
            if gate not in others:
                path = ("stages", draft.id, "rewards", number, "gate", gate)
                message = f"{own!r} is gated by {gate!r}, which is " + ("itself" if gate == own else "no other part")
                hint = did_you_mean(gate, others, otherwise="other parts: ") or "give the stage another reward"
                yield resolved.document.finding(path, message, hint=hint)
