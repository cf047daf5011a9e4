"""The directions study's drawings: entropy of both arms, their best PGR through time, and the pairs of repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from aarlab.reports.figures import ALERT, BEST, INK, MUTED, NARROW, Chart, rows_of, standalone, transparent
from aarlab.reports.ideas import Curve, entropies

COLOURS = {"directed": BEST, "undirected": ALERT}
DASHES = {"directed": [1, 0], "undirected": [7, 3]}
SHAPES = {"directed": "circle", "undirected": "diamond"}
HOURS = 2.0
"""Researcher-hours from which a study is drawn in hours rather than in minutes."""


def charts(found: Mapping[str, Any], width: int) -> dict[str, Chart]:
    """Every drawing that there is something for, for the study's page."""
    made = {"entropy": _entropy(found, width), "best": _best(found, width), "pairs": _pairs(found, width)}
    return {name: transparent(chart) for name, chart in made.items() if chart is not None}


def drawing(found: Mapping[str, Any], width: int = 760) -> Chart:
    """The entropy curves alone, on white, for a file."""
    chart = _entropy(found, width)
    return standalone(chart) if chart is not None else standalone(_nothing(width))


def _nothing(width: int) -> Chart:
    text = alt.Chart(rows_of([{"t": "fewer than five researchers handed anything in"}]))
    return text.mark_text(color=MUTED, fontSize=13).encode(text="t:N").properties(width=width - 60, height=120)


def _scale(found: Mapping[str, Any]) -> tuple[float, str]:
    """(factor from researcher-hours, axis title)."""
    hours = max([p["researcher_hours"] for a in found["arms"].values() for p in a["entropy"]] + [0.0])
    return (1.0, "researcher-hours") if hours >= HOURS else (60.0, "researcher-minutes")


def _entropy(found: Mapping[str, Any], width: int) -> Chart | None:
    factor, title = _scale(found)
    curves = [
        Curve(arm, tuple(
            (factor * p["researcher_hours"], p["bits"], p["low"], p["high"], p["families"]) for p in own["entropy"]
        ))
        for arm, own in found["arms"].items()
    ]  # fmt: skip
    return entropies(curves, title, width) if any(c.points for c in curves) else None


def _best(found: Mapping[str, Any], width: int) -> Chart | None:
    """Best verified PGR so far, one step line a run."""
    factor = found["plan"]["researchers"] / 3600 * _scale(found)[0]
    end = factor * found["seconds"]
    rows = []
    for arm, own in found["arms"].items():
        for run in own["best"]:
            steps = [(s["seconds"] * factor, s["pgr"]) for s in run["steps"]]
            rows += [{"arm": arm, "run": f"{arm} {run['repeat']}", "x": x, "y": max(-0.3, y)} for x, y in steps]
            if steps:
                rows.append({"arm": arm, "run": f"{arm} {run['repeat']}", "x": end, "y": max(-0.3, steps[-1][1])})
    if not rows:
        return None
    inner = width - 70
    axis = alt.Axis(grid=False, tickCount=max(3, inner // 110), labelFlush=False)
    x = alt.X("x:Q", title=_scale(found)[1], scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    y = alt.Y("y:Q", title="best PGR so far, feedback task", scale=alt.Scale(zero=False))
    lines = alt.Chart(rows_of(rows)).mark_line(interpolate="step-after", strokeWidth=1.8, opacity=0.8)
    drawn = lines.encode(x=x, y=y, detail="run:N", color=_colour(), strokeDash=_dash())
    guide = alt.Chart(rows_of([{"y": 1}])).mark_rule(color=MUTED).encode(y="y:Q")
    return alt.layer(guide, drawn).properties(width=inner, height=200)


def _pairs(found: Mapping[str, Any], width: int) -> Chart | None:
    """PGR of record of both arms, repeat by repeat, with intervals."""
    rows = [
        {"arm": r["arm"], "repeat": f"repeat {r['repeat']}", **{k: r["pgr"][k] for k in ("mean", "low", "high")}}
        for r in found["runs"]
        if r["pgr"]
    ]
    if not rows:
        return None
    inner = width - (110 if width > NARROW else 96)
    names = list(dict.fromkeys(str(r["repeat"]) for r in rows))
    x = alt.X("mean:Q", title="PGR of record", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    y = alt.Y("repeat:N", title=None, sort=names, axis=alt.Axis(ticks=False, domain=False, labelColor=INK))
    where = alt.YOffset("arm:N", sort=list(COLOURS))
    base = alt.Chart(rows_of(rows)).encode(y=y, yOffset=where, color=_colour())
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("low:Q", title="PGR of record"), x2="high:Q")
    shape = alt.Shape("arm:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=_legend())
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, shape=shape)
    return alt.layer(bars, dots).properties(width=inner, height=max(60, 46 * len(names)))


def _legend() -> alt.Legend:
    return alt.Legend(orient="top", direction="horizontal", title=None, symbolOpacity=1, offset=6)


def _colour() -> alt.Color:
    return alt.Color("arm:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())), legend=_legend())


def _dash() -> alt.StrokeDash:
    scale = alt.Scale(domain=list(DASHES), range=list(DASHES.values()))
    return alt.StrokeDash("arm:N", scale=scale, legend=_legend())
