"""The pipeline as a picture: stages from top to bottom, each below all that it reads; variants are one box.

Layers are longest paths; within a layer stages stand by the mean place of their inputs. What evaluates reads every
model: its edges are left out, and a line under its box names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from r1_plugins.report.gather import RunFacts, Stage, inputs_of
from r1_plugins.report.svg import drawing, element, fitted, text, title

WIDTH, HEIGHT, ACROSS, DOWN = 196.0, 76.0, 24.0, 38.0
LANE, SWEEPS, FOOT = 14.0, 4, 22.0
WORST = ("damaged", "running", "unfinished", "waiting", "stale", "finished")


@dataclass(frozen=True, kw_only=True)
class Box:
    """One or more stages of one name. `told` are its lines: what went in, what came out."""

    name: str
    kind: str
    use: str
    state: str
    count: int
    told: tuple[str, ...]
    reads: tuple[str, ...]
    base: str

    @property
    def measures(self) -> str:
        """Of what evaluates, in words, for no edge says so."""
        return "measures: " + ", ".join(self.reads) if self.kind == "evaluate" and self.reads else ""


def boxes(facts: RunFacts, told: Mapping[str, Sequence[str]]) -> list[Box]:
    """The boxes, in the recipe's order. `told`: the lines of each stage, by id."""
    grouped: dict[str, list[Stage]] = {}
    for stage in facts.stages.values():
        grouped.setdefault(stage.name, []).append(stage)
    return [_box(name, own, facts, told) for name, own in grouped.items()]


def _box(name: str, own: Sequence[Stage], facts: RunFacts, told: Mapping[str, Sequence[str]]) -> Box:
    first = own[0]
    reads = [facts.stages[each].name for stage in own for each in inputs_of(stage, facts.stages)]
    base = facts.stages.get(first.base)
    return Box(
        name=name,
        kind=first.kind,
        use=first.use,
        state=min((stage.state for stage in own), key=WORST.index),
        count=len(own),
        told=tuple(told.get(first.id, ())),
        reads=tuple(each for each in dict.fromkeys(reads) if each != name),
        base=base.name if base is not None else "",
    )


@dataclass(frozen=True)
class Lane:
    """Where an edge that passes a layer goes through it, so that it runs behind no box."""

    start: str
    end: str
    layer: int


Node = Box | Lane


def layers(found: Sequence[Box]) -> list[list[Node]]:
    """The boxes by depth with the lanes of longer edges, each layer in the order of what it reads."""
    named = {box.name: box for box in found}
    depth = depths(named)
    rows: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for box in found:
        rows[depth[box.name]].append(box)
        for start, end in edges_of(box, named):
            for layer in range(depth[start] + 1, depth[end]):
                rows[layer].append(Lane(start, end, layer))
    for _ in range(SWEEPS):
        _sweep(rows, depth, named)
    return rows


def edges_of(box: Box, named: Mapping[str, Box]) -> list[tuple[str, str]]:
    """(from, to) of the edges that end at a box; of what evaluates none are drawn."""
    return [] if box.kind == "evaluate" else [(each, box.name) for each in box.reads if each in named]


def depths(named: Mapping[str, Box]) -> dict[str, int]:
    """The layer of each box: below all that it reads; what reads nothing stands just above its first reader."""
    found: dict[str, int] = {}

    def of(name: str, above: frozenset[str] = frozenset()) -> int:
        if name not in found:
            reads = [each for each in named[name].reads if each in named and each not in above]
            found[name] = max((of(each, above | {name}) + 1 for each in reads), default=0)
        return found[name]

    for name in named:
        of(name)
    for name, box in named.items():
        readers = [found[each] for each, other in named.items() if name in other.reads]
        if not box.reads and readers:
            found[name] = min(readers) - 1
    return found


def _sweep(rows: Sequence[list[Node]], depth: Mapping[str, int], named: Mapping[str, Box]) -> None:
    """Order each layer by the mean place of its neighbours above, then from below."""
    place: dict[Node | str, float] = {}

    def note(row: Sequence[Node]) -> None:
        for i, node in enumerate(row):
            place[node.name if isinstance(node, Box) else node] = i - (len(row) - 1) / 2

    def near(node: Node, layer: int) -> float:
        if isinstance(node, Lane):
            nexts = [node.start if layer == depth[node.start] else Lane(node.start, node.end, layer)]
            nexts = [node.end] if layer == depth[node.end] else nexts
        else:
            edges = [edge for box in named.values() for edge in edges_of(box, named) if node.name in edge]
            nexts = [
                other if depth[other] == layer else Lane(start, end, layer)
                for start, end in edges
                for other in [start if end == node.name else end]
                if min(depth[other], depth[node.name]) <= layer <= max(depth[other], depth[node.name])
            ]
        known = [place[each] for each in nexts if each in place]
        return sum(known) / len(known) if known else place.get(node.name if isinstance(node, Box) else node, 0.0)

    for row in rows:
        note(row)
    for order, by in ((range(1, len(rows)), -1), (range(len(rows) - 2, -1, -1), 1)):
        for layer in order:
            rows[layer].sort(key=lambda node, at=layer + by: near(node, at))  # type: ignore[misc]
            note(rows[layer])


def graph(found: Sequence[Box]) -> Markup:
    """The drawing."""
    rows = layers(found)
    wide = [sum(WIDTH if isinstance(node, Box) else LANE for node in row) + ACROSS * (len(row) - 1) for row in rows]
    width = max(wide) + 8
    at: dict[Node | str, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        left, y = (width - wide[depth]) / 2, 4 + depth * (HEIGHT + DOWN)
        for node in row:
            own = WIDTH if isinstance(node, Box) else LANE
            at[node.name if isinstance(node, Box) else node] = (left + own / 2, y)
            left += own + ACROSS
    height = len(rows) * (HEIGHT + DOWN) - DOWN + 8 + (FOOT if any(box.measures for box in found) else 0)
    named = {box.name: box for box in found}
    edges = [_edge(start, end, at, named) for box in found for start, end in edges_of(box, named)]
    drawn = [_drawn(box, at[box.name][0] - WIDTH / 2, at[box.name][1]) for box in found]
    drawn += [_measures(box, *at[box.name], width) for box in found if box.measures]
    label = "pipeline: " + "; ".join(f"{box.name} from {', '.join(box.reads) or 'nothing'}" for box in found)
    return drawing(width, height, label, *edges, *drawn, more={"class": "graph broad"})


def _edge(start: str, end: str, at: Mapping[Node | str, tuple[float, float]], named: Mapping[str, Box]) -> Markup:
    """A line from box to box through its lanes."""
    lanes = sorted(
        (each for each in at if isinstance(each, Lane) and (each.start, each.end) == (start, end)), key=_layer
    )
    x, y = at[start][0], at[start][1] + HEIGHT
    d = f"M{x:.1f},{y:.1f}"
    stops: list[Lane | str] = [*lanes, end]
    for stop in stops:
        x2, y2 = at[stop]
        bend = (y2 - y) / 2
        d += f"C{x:.1f},{y + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
        x, y = x2, y2
        if isinstance(stop, Lane):
            y += HEIGHT
            d += f"L{x:.1f},{y:.1f}"
    return element("path", {"d": d, "class": f"edge {'model' if start == named[end].base else 'data'}"})


def _listed(words: str, most: int) -> str:
    """A list with as many of its names as fit, and how many are left."""
    names = words.split(", ")
    kept = len(names)
    while kept > 1 and len(", ".join(names[:kept])) + 4 * (kept < len(names)) > most:
        kept -= 1
    return fitted(", ".join(names[:kept]), most) + (f" +{len(names) - kept}" if kept < len(names) else "")


def _measures(box: Box, x: float, y: float, width: float) -> Markup:
    """What an evaluation measures, under its box and within the drawing."""
    words = fitted(box.measures, int(width / 5.6))
    half = 2.8 * len(words)
    place = min(max(x, half + 4), width - half - 4)
    return element("g", {}, title(box.measures), text(place, y + HEIGHT + 17, words, "told", "middle"))


def _layer(lane: Lane) -> int:
    return lane.layer


def _drawn(box: Box, x: float, y: float) -> Markup:
    kind = f"{box.kind} {box.use}".strip() + (f" \u00d7 {box.count}" if box.count > 1 else "")
    frame: dict[str, str | float | int] = {
        "x": x,
        "y": y,
        "width": WIDTH,
        "height": HEIGHT,
        "rx": 7,
        "class": f"box {box.state}",
    }
    stripe: dict[str, str | float | int] = {
        "x": x,
        "y": y + 8,
        "width": 4,
        "height": HEIGHT - 16,
        "rx": 2,
        "class": f"stripe k-{box.kind}",
    }
    lines = [text(x + 14, y + 53 + 13 * i, _listed(words, 31), "told") for i, words in enumerate(box.told[:2])]
    state = "" if box.state == "finished" else f" · {box.state}"
    return element(
        "g",
        {},
        title(f"{box.name}: {kind}, {box.state}"),
        element("rect", frame),
        element("rect", stripe),
        text(x + 14, y + 20, fitted(box.name, 24), "name"),
        text(x + 14, y + 36, fitted(kind + state, 30), "kind"),
        *lines,
    )
