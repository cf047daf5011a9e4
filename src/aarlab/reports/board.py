"""Charts of single submissions for the pages: the leaderboard as a forest plot, and one method's seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from aarlab.records import Estimate
from aarlab.reports.figures import ALERT, BEST, GRID, INK, MUTED, NARROW, Chart, rows_of, transparent

Kind = Literal["ranked", "not ranked", "baseline"]

LOOKS: dict[str, tuple[str, str]] = {
    "ranked": (BEST, "circle"), "not ranked": (ALERT, "diamond"), "baseline": (MUTED, "square"),
}  # fmt: skip
"""Colour and shape of each kind of line."""

LOWEST, HIGHEST = -0.3, 1.6
ROW = 19


@dataclass(frozen=True)
class Line:
    """One line of a forest plot. label: no two lines share one. claim: a tick, where something was claimed.

    tip, href: what a page shows when the point is pointed at, and where a click leads.
    """

    label: str
    pgr: Estimate
    kind: Kind
    claim: float | None = None
    tip: str = ""
    href: str = ""


def board(lines: Sequence[Line], width: int = 760) -> Chart:
    """PGR with 95 % intervals, one line per method, in the order given. What lies outside the axis sits on its edge."""
    labels = 130 if width < NARROW else 190 if width == NARROW else 270
    inner = width - labels - 24
    span = _span([e.pgr for e in lines])
    scale = alt.Scale(domain=list(span), nice=False)
    x = alt.X("x:Q", title="PGR on the feedback task", scale=scale, axis=alt.Axis(tickCount=6, grid=False))
    axis = alt.Axis(
        ticks=False, domain=False, grid=True, gridColor=GRID, gridOpacity=0.6, labelColor=INK, labelLimit=labels - 14,
        labelPadding=8,
    )  # fmt: skip
    names = [e.label for e in lines]
    y = alt.Y("who:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    base = alt.Chart(rows_of([_row(e, span) for e in lines])).encode(y=y, color=_colour(lines))
    bars = base.mark_rule(strokeWidth=1.8, opacity=0.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    dots = base.mark_point(filled=True, size=46, opacity=1).encode(x=x, shape=_shape(lines))
    claims = alt.Chart(rows_of([_row(e, span) for e in lines if e.claim is not None]))
    ticks = claims.mark_tick(color=ALERT, thickness=1.6, size=10).encode(x=alt.X("claim:Q", scale=scale), y=y)
    chart = alt.layer(_guides(scale), bars, ticks, dots).properties(width=inner, height=ROW * max(1, len(lines)))
    return transparent(chart)


def seeds(
    values: Sequence[float], measured: Estimate, rivals: dict[str, Estimate] | None = None, width: int = 760
) -> Chart:
    """PGR of every seed as a dot, above their mean with its interval, above the rivals (baselines) with theirs."""
    rivals = rivals or {}
    inner = width - (110 if width <= NARROW else 190) - 24
    span = _span([measured, *rivals.values()], values)
    scale = alt.Scale(domain=list(span), nice=False)
    names = ["each seed", "mean", *rivals]
    axis = alt.Axis(ticks=False, domain=False, grid=False, labelColor=INK, labelLimit=width - inner - 30)
    y = alt.Y("who:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    x = alt.X("x:Q", title="PGR on the feedback task", scale=scale, axis=alt.Axis(tickCount=6, grid=False))
    tips = [{"who": "each seed", "x": _cut(v, span), "tip": f"seed {i}: {v:.3f}"} for i, v in enumerate(values, 1)]
    dots = alt.Chart(rows_of(tips)).mark_point(filled=True, size=60, opacity=0.7, color=BEST).encode(x=x, y=y)
    ranges = [_interval("mean", measured, span), *(_interval(n, e, span) for n, e in rivals.items())]
    base = alt.Chart(rows_of(ranges)).encode(y=y)
    colour = alt.condition("datum.who == 'mean'", alt.value(BEST), alt.value(MUTED))
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", color=colour
    )  # fmt: skip
    means = base.mark_point(filled=True, size=56, opacity=1, shape="diamond").encode(x=x, color=colour)
    chart = alt.layer(_guides(scale), bars, means, dots).properties(width=inner, height=26 * len(names))
    return transparent(chart)


def _interval(name: str, e: Estimate, span: tuple[float, float]) -> dict[str, Any]:
    cut = {k: _cut(v, span) for k, v in (("x", e.mean), ("low", e.low), ("high", e.high))}
    return {"who": name, **cut, "tip": f"{name}: {e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]"}


def _row(line: Line, span: tuple[float, float]) -> dict[str, Any]:
    cut = {k: _cut(v, span) for k, v in (("x", line.pgr.mean), ("low", line.pgr.low), ("high", line.pgr.high))}
    claim = {} if line.claim is None else {"claim": _cut(line.claim, span)}
    return {"who": line.label, "kind": line.kind, **cut, **claim, "tip": line.tip, "href": line.href}


def _span(estimates: Sequence[Estimate], more: Sequence[float] = ()) -> tuple[float, float]:
    """An axis that holds 0 and 1, and all else as far as LOWEST and HIGHEST."""
    low = min([-0.08, *(e.low - 0.03 for e in estimates), *(v - 0.03 for v in more)])
    high = max([1.08, *(e.high + 0.03 for e in estimates), *(v + 0.03 for v in more)])
    return max(LOWEST, low), min(HIGHEST, high)


def _cut(value: float, span: tuple[float, float]) -> float:
    return min(max(value, span[0]), span[1])


def _colour(lines: Sequence[Line]) -> alt.Color:
    kinds = _kinds(lines)
    return alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[LOOKS[k][0] for k in kinds]), legend=_legend())


def _shape(lines: Sequence[Line]) -> alt.Shape:
    kinds = _kinds(lines)
    return alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=[LOOKS[k][1] for k in kinds]), legend=_legend())


def _kinds(lines: Sequence[Line]) -> list[str]:
    return [k for k in LOOKS if any(e.kind == k for e in lines)]


def _legend() -> alt.Legend:
    return alt.Legend(orient="top", direction="horizontal", title=None, offset=18, symbolOpacity=1)


def _guides(scale: alt.Scale) -> Chart:
    """The two values that every PGR means something by."""
    data = rows_of([{"x": 0, "t": "0 = teacher"}, {"x": 1, "t": "1 = ceiling"}])
    base = alt.Chart(data).encode(x=alt.X("x:Q", scale=scale))
    text = base.mark_text(dy=-4, color=MUTED, fontSize=10.5, baseline="bottom")
    return base.mark_rule(color=MUTED, strokeWidth=1) + text.encode(y=alt.value(0), text="t:N")
