"""A forest plot of the reference table: one row per method, one panel per problem, PGR with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from aarlab.records import Estimate
from aarlab.reports.figures import ALERT, BEST, GRID, INK, MUTED, Chart, standalone

KINDS = {"feedback": (BEST, "circle", -4), "record": (ALERT, "diamond", 4)}
"""Colour, shape and vertical offset of each kind of task."""

NAMES = {"feedback": "feedback task (in distribution)", "record": "mean of the record tasks (out of distribution)"}
LOWEST, HIGHEST = -0.6, 1.3
ROW, WIDTH = 22, 250


@dataclass(frozen=True)
class Panel:
    """One problem: kind (`feedback`, `record`) -> method -> PGR. `reference`: the method drawn as dashed lines."""

    title: str
    pgr: dict[str, dict[str, Estimate]]
    reference: str = ""


def forest(panels: Sequence[Panel], methods: Sequence[str]) -> Chart:
    """All panels side by side, methods in this order. What lies outside the axis sits on its edge as a triangle."""
    span = _span(panels)
    parts = [_panel(p, methods, span, first=i == 0) for i, p in enumerate(panels)]
    named = next((p.reference for p in panels if p.reference), "")
    note = alt.TitleParams(
        f"Dashed: {named}. Lines: 95 % intervals." if named else "Lines: 95 % intervals.",
        anchor="start", color=MUTED, fontSize=11, fontWeight="normal", orient="bottom", offset=8,
    )  # fmt: skip
    return standalone(alt.hconcat(*parts, spacing=14, title=note))


def _span(panels: Sequence[Panel]) -> tuple[float, float]:
    """One axis for all panels: 0 and 1 and every interval, as far as `LOWEST` and `HIGHEST`."""
    every = [e for p in panels for kind in p.pgr.values() for e in kind.values()]
    low = min([-0.1, *(e.low - 0.03 for e in every)])
    return max(LOWEST, low), min(HIGHEST, max([1.1, *(e.high + 0.03 for e in every)]))


def _panel(panel: Panel, methods: Sequence[str], span: tuple[float, float], first: bool) -> Chart:
    scale = alt.Scale(domain=list(span), nice=False)
    x = alt.X("x:Q", title="PGR", scale=scale, axis=alt.Axis(tickCount=5, grid=False))
    axis = alt.Axis(
        labels=first, ticks=False, domain=False, grid=True, labelColor=INK, labelLimit=240, labelPadding=10,
        gridColor=GRID, gridOpacity=0.7,
    )  # fmt: skip
    y = alt.Y("method:N", title=None, sort=list(methods), scale=alt.Scale(domain=list(methods)), axis=axis)
    layers = [_guides(scale), *_references(panel, span, scale)]
    for kind, (colour, shape, offset) in KINDS.items():
        rows = [_mark(method, e, span) for method, e in panel.pgr.get(kind, {}).items()]
        layers += _kind([{**row, "kind": NAMES[kind]} for row in rows], x, y, colour, shape, offset)
    title = alt.TitleParams(
        panel.title, anchor="start", fontSize=13, color=INK, fontWeight="bold", dy=-6, frame="group"
    )
    return alt.layer(*layers).properties(width=WIDTH, height=ROW * max(1, len(methods)), title=title)


def _mark(method: str, e: Estimate, span: tuple[float, float]) -> dict[str, Any]:
    low, high = span
    cut = {n: min(max(v, low), high) for n, v in (("x", e.mean), ("low", e.low), ("high", e.high))}
    return {"method": method, **cut, "out": e.mean < low or e.mean > high}


def _kind(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, colour: str, shape: str, offset: int) -> list[Chart]:
    """Intervals and points of one kind of task."""
    if not rows:
        return []
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=y)
    kinds = list(NAMES.values())
    legend = alt.Legend(orient="top", direction="horizontal", title=None, columns=2, offset=22, labelLimit=400)
    shades = alt.Scale(domain=kinds, range=[c for c, _, _ in KINDS.values()])
    shapes = alt.Scale(domain=kinds, range=[s for _, s, _ in KINDS.values()])
    colour_of = alt.Color("kind:N", scale=shades, legend=legend)
    shape_of = alt.Shape("kind:N", scale=shapes, legend=legend)
    bars = base.mark_rule(strokeWidth=1.6, opacity=0.55, yOffset=offset, color=colour)
    dots = base.mark_point(filled=True, size=42, opacity=1, yOffset=offset)
    inside = dots.transform_filter("!datum.out").encode(x=x, color=colour_of, shape=shape_of)
    outside = base.transform_filter("datum.out").mark_point(
        filled=True, size=48, color=colour, shape="triangle-left", yOffset=offset, opacity=1
    )
    return [bars.encode(x=alt.X("low:Q"), x2="high:Q"), inside, outside.encode(x=x)]


def _guides(scale: alt.Scale) -> Chart:
    """The two values that every PGR means something by."""
    data = alt.InlineData(values=[{"x": 0, "t": "teacher"}, {"x": 1, "t": "ceiling"}])
    base = alt.Chart(data).encode(x=alt.X("x:Q", scale=scale))
    text = base.mark_text(dy=-7, color=MUTED, fontSize=10.5, baseline="bottom")
    return base.mark_rule(color=MUTED, strokeWidth=1.2) + text.encode(y=alt.value(0), text="t:N")


def _references(panel: Panel, span: tuple[float, float], scale: alt.Scale) -> list[Chart]:
    """The reference as a dashed line of each kind's colour."""
    charts = []
    for kind in KINDS:
        known = panel.pgr.get(kind, {}).get(panel.reference)
        if known is not None and span[0] <= (value := known.mean) <= span[1]:
            base = alt.Chart(alt.InlineData(values=[{"x": value}])).encode(x=alt.X("x:Q", scale=scale))
            charts.append(base.mark_rule(color=KINDS[kind][0], strokeDash=[4, 3], strokeWidth=1.1, opacity=0.8))
    return charts
