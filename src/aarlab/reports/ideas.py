"""What the fleet was thinking about: the report's section on ideas.

Numbers and charts are made from ideas and sizes alone, so that report, pages and the directions study share them; the
functions that take a run's data only hand these on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import altair as alt

from aarlab.ideas.complexity import Complexity
from aarlab.ideas.entropy import LEAST, Point, curve, moments
from aarlab.ideas.families import FAMILIES, PRECEDENCE, By
from aarlab.ideas.gather import Idea, agreement
from aarlab.records import Estimate
from aarlab.reports.data import RunData
from aarlab.reports.figures import (
    ALERT,
    BASELINES,
    BEST,
    GRID,
    INK,
    NARROW,
    Chart,
    dodge,
    minutes_axis,
    rows_of,
    transparent,
)
from aarlab.reports.results import Results

CODES = {
    "self-training": "ST", "ensemble": "EN", "distillation": "DI", "data filtering": "DF", "confidence weighting": "CW",
    "loss function": "LF", "unsupervised elicitation": "UE", "curriculum": "CU", "model internal": "MI",
    "evolutionary": "EV", "other": "OT",
}  # fmt: skip
"""Two letters where there is no room for a name."""

SHADES = (BEST, ALERT, *BASELINES)
STYLES = {f: (SHADES[i % len(SHADES)], 0.6 if i < len(SHADES) else 0.28) for i, f in enumerate(CODES)}
"""Colour and opacity of each family; the letters tell them apart where colours do not."""

MOMENTS = 60
MOST_BITS = 3.46  # log2 of eleven families
SAID = {"researcher": "the researcher's declaration", "llm": "a language model", "rules": "rules"}
MARKS = 7  # numbers written along a curve


@dataclass(frozen=True)
class Curve:
    """One line of the entropy chart: points (x, bits, low, high, families)."""

    name: str
    points: tuple[tuple[float, float, float, float, float], ...]


@dataclass(frozen=True)
class Size:
    """A scored method: when, how good on the feedback task, how much code."""

    submission: int
    minutes: float
    pgr: Estimate
    lines: int
    nodes: int


# Numbers


def diversity(ideas: Sequence[Idea], seconds: float) -> tuple[Point, ...]:
    """Entropy over a run of so many seconds. Fleets of fewer than five researchers have a curve too, a rough one."""
    proposed = [i for i in ideas if i.proposed]
    if not proposed:
        return ()
    end = max(seconds, max(i.time for i in proposed))
    fleet = len({i.researcher for i in proposed})
    return curve(proposed, moments(end, MOMENTS), least=min(LEAST, fleet))


def sizes(scored: Iterable[tuple[int, float, Estimate]], known: Mapping[int, Complexity]) -> list[Size]:
    """The scored methods whose size is known, in order. scored: (submission, minutes, PGR)."""
    return [
        Size(number, minutes, pgr, known[number].lines, known[number].nodes)
        for number, minutes, pgr in scored
        if number in known
    ]


def told(ideas: Sequence[Idea], points: Sequence[Point], when: str = "At the end") -> list[str]:
    """What the numbers say, and who classed. points: `diversity` of the ideas; when: what the last of them is."""
    if not points:
        return []
    last, best = points[-1], max(points, key=lambda p: p.bits)
    found = [
        f"{when} {last.researchers} researchers were at {last.families} of the eleven families: "
        f"{last.bits:.2f} bits [{last.low:.2f}, {last.high:.2f}]; the most was {best.bits:.2f} at "
        f"{best.time / 60:.1f} minutes. So many researchers can reach {most(last.researchers):.2f}."
    ]
    said = ", ".join(f"{SAID[by]} {n}" for by, n in classers(ideas).items() if n)
    found.append(f"Families are as given by: {said} (of {len(ideas)} submissions and posts that could be classed).")
    same, both = agreement(ideas)
    if both:
        found.append(f"Rules on the code or words say the same as the declaration for {same} of {both}.")
    return found


def classers(ideas: Iterable[Idea]) -> dict[By, int]:
    """Whose word counted for how many ideas."""
    found: dict[By, int] = dict.fromkeys(PRECEDENCE, 0)
    for idea in ideas:
        found[idea.by] += 1
    return found


# From a run


def entropy(data: RunData) -> tuple[Point, ...]:
    """`diversity` of a run; times in seconds."""
    return diversity(data.ideas, data.run.research_seconds)


def sizes_of(data: RunData, results: Results) -> list[Size]:
    return sizes(((p.submission, p.minutes, p.pgr) for p in results.points), data.complexity)


def document(data: RunData, results: Results) -> dict[str, Any]:
    """The section as data. Seconds since the start; entropy in bits, with 90 % bands over researchers."""
    same, both = agreement(data.ideas)
    return {
        "families": families(data.ideas),
        "entropy": [_point(p) for p in entropy(data)],
        "ideas": [_idea(i) for i in data.ideas],
        "by": classers(data.ideas),
        "declared_as_ruled": {"same": same, "both": both},
        "complexity": [asdict(s) for s in sizes_of(data, results)],
    }


def _point(p: Point) -> dict[str, Any]:
    return {
        "seconds": p.time, "researchers": p.researchers, "families": p.families, "bits": round(p.bits, 4),
        "low": round(p.low, 4), "high": round(p.high, 4), "corrected": round(p.corrected, 4),
    }  # fmt: skip


def _idea(i: Idea) -> dict[str, Any]:
    return {
        "seconds": i.time, "researcher": i.researcher, "kind": i.kind, "number": i.number, "form": i.form,
        "family": i.family, "by": i.by, "classed": dict(i.classed),
    }  # fmt: skip


def families(ideas: Sequence[Idea]) -> list[dict[str, Any]]:
    """Every family that occurs, most submissions first: how many submissions and posts, by how many researchers."""
    of_family: dict[str, list[Idea]] = {name: [] for name in FAMILIES}
    for i in ideas:
        of_family[i.family].append(i)
    found = []
    for name, own in of_family.items():
        if own:
            handed_in = sum(i.kind == "submission" for i in own)
            found.append({
                "family": name, "submissions": handed_in, "posts": len(own) - handed_in,
                "researchers": len({i.researcher for i in own}),
            })  # fmt: skip
    return sorted(found, key=lambda f: (-int(f["submissions"]), -int(f["posts"])))


def sentences(data: RunData) -> list[str]:
    """What the numbers of a run say."""
    return told(data.ideas, entropy(data))


def most(researchers: int) -> float:
    """The highest entropy so many researchers can have, in bits."""
    return math.log2(max(1, min(researchers, len(FAMILIES))))


def context(data: RunData, results: Results) -> dict[str, Any]:
    """What the templates show."""
    return {
        "idea_sentences": sentences(data), "idea_families": families(data.ideas), "family_codes": CODES,
        "family_of": {(i.kind, i.number): i for i in data.ideas},
    }  # fmt: skip


# Charts


def entropy_chart(data: RunData, width: int) -> Any:
    return diversity_chart(entropy(data), width)


def diversity_chart(points: Sequence[Point], width: int) -> Any:
    """One run's own curve; None where no researcher has an idea."""
    if not points:
        return None
    own = tuple((p.time / 60, p.bits, p.low, p.high, float(p.families)) for p in points)
    return transparent(entropies([Curve("", own)], "minutes since the start", width))


def entropies(curves: Sequence[Curve], title: str, width: int = 760, height: int = 230) -> Chart:
    """Entropy against `title` with bands; the numbers along a line count the different families."""
    side = 78 if any(c.name for c in curves) else 12
    inner = width - side - 56
    end = max([p[0] for c in curves for p in c.points] + [0.1])
    top = max([MOST_BITS] + [p[3] for c in curves for p in c.points])
    axis = alt.Axis(tickCount=max(3, inner // 110), grid=False, labelFlush=False)
    x = alt.X("x:Q", title=title, scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    scale = alt.Scale(domain=[0, top * 1.06], nice=False)
    y = alt.Y("y:Q", title="entropy of families, bits", scale=scale, axis=alt.Axis(values=[0, 1, 2, 3]))
    layers: list[Chart] = []
    for i, one in enumerate(curves):
        layers += _band(one, x, y, (BEST, ALERT, *BASELINES)[i % 6], i)
    for i, one in enumerate(curves):
        layers += _counts(one, x, y, (BEST, ALERT, *BASELINES)[i % 6], i, MARKS if width > NARROW else 3)
    return alt.layer(*layers, *_names(curves, inner, height, top * 1.06)).properties(width=inner, height=height)


def _band(one: Curve, x: alt.X, y: alt.Y, colour: str, number: int) -> list[Chart]:
    rows = rows_of([{"x": p[0], "y": p[1], "low": p[2], "high": p[3]} for p in one.points])
    base = alt.Chart(rows).encode(x=x)
    band = base.mark_area(color=colour, opacity=0.14, interpolate="step-after").encode(y=alt.Y("low:Q"), y2="high:Q")
    dash = [1, 0] if number % 2 == 0 else [7, 3]
    line = base.mark_line(color=colour, strokeWidth=2.2, strokeDash=dash, interpolate="step-after").encode(y=y)
    return [band, line]


def _counts(one: Curve, x: alt.X, y: alt.Y, colour: str, number: int, marks: int) -> list[Chart]:
    """How many different families, at a few places of the line."""
    step = max(1, len(one.points) // marks)
    picked = one.points[step // 2 :: step]
    rows = rows_of([{"x": p[0], "y": p[1], "t": f"{p[4]:.3g}"} for p in picked])
    up = number % 2 == 0
    text = alt.Chart(rows).mark_text(
        color=colour, fontSize=11, fontWeight="bold", dy=-9 if up else 11, baseline="middle"
    )
    return [text.encode(x=x, y=y, text="t:N")]


def _names(curves: Sequence[Curve], inner: int, height: int, top: float) -> list[Chart]:
    named = [c for c in curves if c.name and c.points]
    places = dodge([c.points[-1][1] for c in named], 15 * top / height, 0, top)
    found = []
    for i, (one, place) in enumerate(zip(named, places, strict=True)):
        data = rows_of([{"y": place, "t": one.name}])
        text = alt.Chart(data).mark_text(align="left", color=(BEST, ALERT, *BASELINES)[i % 6], fontSize=11.5)
        found.append(text.encode(x=alt.value(inner + 7), y="y:Q", text="t:N"))
    return found


def distinct_chart(points: Sequence[Point], width: int) -> Any:
    """How many different families the researchers at work are at; None where no researcher has an idea."""
    return transparent(distinct(points, width)) if points else None


def distinct(points: Sequence[Point], width: int = 760, height: int = 150) -> Chart:
    """A step line of the families, and a thin one of the most that so many researchers can be at."""
    inner = width - 68
    end = max(points[-1].time / 60, 0.1)
    reach = len(FAMILIES)
    rows: list[dict[str, Any]] = [
        {"m": p.time / 60, "y": p.families, "most": min(reach, p.researchers),
         "tip": f"{p.families} families among {p.researchers} researchers after {p.time / 60:.1f} minutes"}
        for p in points
    ]  # fmt: skip
    base = alt.Chart(rows_of(rows)).encode(x=minutes_axis(end, inner))
    scale = alt.Scale(domain=[0, max(r["most"] for r in rows) + 1], nice=False)
    y = alt.Y("y:Q", title="families at work", scale=scale, axis=alt.Axis(tickCount=4, tickMinStep=1, format="d"))
    line = base.mark_line(color=BEST, strokeWidth=2.2, interpolate="step-after").encode(y=y)
    dots = base.mark_point(filled=True, size=34, opacity=0, color=BEST).encode(y=y)  # only to be pointed at
    ceiling = base.mark_line(color=BASELINES[3], strokeWidth=1, strokeDash=[3, 3], interpolate="step-after")
    ends = [
        (float(rows[-1]["y"]), f"{rows[-1]['y']}", BEST), (float(rows[-1]["most"]), f"{rows[-1]['most']} at most", INK)
    ]  # fmt: skip
    labels = [
        alt.Chart(rows_of([{"y": value, "t": text}]))
        .mark_text(align="right", baseline="bottom", dx=-3, dy=-3, color=colour, fontSize=11, fontWeight="bold")
        .encode(x=alt.value(inner), y="y:Q", text="t:N")
        for value, text, colour in ends[: 1 if ends[0][0] == ends[1][0] else 2]
    ]
    return alt.layer(ceiling.encode(y=alt.Y("most:Q")), line, dots, *labels).properties(width=inner, height=height)


def families_chart(data: RunData, width: int) -> Any:
    return families_over_time(data.ideas, [r.name for r in data.researchers], data.run.research_seconds / 60, width)


def families_over_time(ideas: Sequence[Idea], fleet: Sequence[str], minutes: float, width: int) -> Any:
    """One lane per researcher, coloured by the family of its latest idea; None without ideas.

    fleet: the order of the lanes; who else has ideas comes after.
    """
    proposed = [i for i in ideas if i.proposed]
    if not proposed:
        return None
    active = {i.researcher for i in proposed}
    names = [name for name in fleet if name in active]
    names += sorted(active - set(names))
    return transparent(lanes(proposed, names, minutes, width))


def lanes(ideas: Sequence[Idea], names: Sequence[str], minutes: float, width: int = 760) -> Chart:
    """Which family each researcher was at. Small ticks: its single submissions and hypotheses."""
    inner = width - (96 if width > NARROW else 70)
    end = max([minutes, *(i.time / 60 for i in ideas), 0.1])
    x = minutes_axis(end, inner)
    y = alt.Y("who:N", title=None, sort=list(names), scale=alt.Scale(domain=list(names), paddingInner=0.25))
    stretches = [s for name in names for s in _stretches([i for i in ideas if i.researcher == name], end)]
    room = 17 * end / inner  # minutes that two letters need
    rows = [
        {"who": who, "m": a, "m2": b, "family": f, "t": CODES[f] if b - a > room else ""} for who, a, b, f in stretches
    ]
    present = [f for f in CODES if any(r["family"] == f for r in rows)]
    base = alt.Chart(rows_of(rows))
    layers = []
    for family in present:
        colour, opacity = STYLES[family]
        own = base.transform_filter(alt.FieldEqualPredicate(field="family", equal=family))
        layers.append(own.mark_bar(color=colour, opacity=opacity, height=15).encode(x=x, x2="m2:Q", y=y))
        text = own.mark_text(align="left", dx=3, fontSize=10, fontWeight="bold", color=INK)
        layers.append(text.encode(x=x, y=y, text="t:N"))
    dots = alt.Chart(rows_of([{"who": i.researcher, "m": i.time / 60, "tip": _tip(i)} for i in ideas]))
    layers.append(dots.mark_tick(color=INK, thickness=1, size=21, opacity=0.45).encode(x=x, y=y))
    return alt.layer(*layers).properties(width=inner, height=max(60, 26 * len(names)))


def _tip(i: Idea) -> str:
    """What a page shows when a tick is pointed at."""
    return f"{i.form} {i.number} by {i.researcher}: {i.family}, says {SAID[i.by]}"


def _stretches(ideas: Sequence[Idea], end: float) -> Iterable[tuple[str, float, float, str]]:
    """(researcher, from, to, family) in minutes, one for each time a researcher stays at a family."""
    ordered = sorted(ideas, key=lambda i: i.time)
    start = 0
    for n in range(1, len(ordered) + 1):
        if n == len(ordered) or ordered[n].family != ordered[start].family:
            stop = end if n == len(ordered) else ordered[n].time / 60
            yield ordered[start].researcher, ordered[start].time / 60, stop, ordered[start].family
            start = n


def complexity_chart(data: RunData, results: Results, width: int) -> Any:
    return size_chart(sizes_of(data, results), width)


def size_chart(found: Sequence[Size], width: int) -> Any:
    """Code size against PGR; None where fewer than two methods are scored."""
    return transparent(complexity(found, width)) if len(found) > 1 else None


def complexity(found: Sequence[Size], width: int = 760) -> Chart:
    """Lines and syntax-tree nodes against PGR, on logarithmic scales; later methods are darker."""
    columns = 2 if width > NARROW else 1
    inner = min(330, (width - 60 * columns - 20) // columns)
    panels = [_sizes(found, "lines", "lines of code", inner), _sizes(found, "nodes", "nodes of the syntax tree", inner)]
    return alt.hconcat(*panels, spacing=30) if columns == 2 else alt.vconcat(*panels, spacing=20)


def _sizes(found: Sequence[Size], what: Literal["lines", "nodes"], title: str, inner: int) -> Chart:
    end = max(s.minutes for s in found) or 1.0
    values = [s.lines if what == "lines" else s.nodes for s in found]
    rows = [
        {"p": max(-0.3, s.pgr.mean), "n": v, "age": 0.25 + 0.65 * s.minutes / end,
         "tip": f"#{s.submission}: PGR {s.pgr.mean:.2f}, {s.lines} lines, {s.nodes} nodes"}
        for s, v in zip(found, values, strict=True)
    ]  # fmt: skip
    scale = alt.Scale(type="log", domain=[max(1, min(values) * 0.8), max(values) * 1.25], nice=False)
    y = alt.Y("n:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4, format=",d", gridColor=GRID))
    x = alt.X("p:Q", title="PGR on the feedback task", scale=alt.Scale(nice=True), axis=alt.Axis(tickCount=5))
    dots = alt.Chart(rows_of(rows)).mark_point(filled=True, size=46, color=BEST)
    shade = alt.Opacity("age:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0, 1]))
    return dots.encode(x=x, y=y, opacity=shade).properties(width=inner, height=200)
