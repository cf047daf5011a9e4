"""Charts for the pages of submissions: the leaderboard as a forest plot, one method's seeds, and its audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from aarlab.records import Estimate
from aarlab.reports.figures import (
    ALERT,
    BASELINES,
    BEST,
    GRID,
    INK,
    MUTED,
    NARROW,
    Chart,
    Measured,
    rows_of,
    transparent,
)
from aarlab.reports.sentences import plus_zero

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


def profile(channels: Sequence[Measured], width: int = 760) -> Chart:
    """What one method depends on: a line for each channel (its `row`), the range that its track allows shaded.

    Every line has a scale of its own with ticks at 0 and 1, so that counts and shares stand side by side. A circle lies
    where the track allows it, a diamond outside, a square where the number is not judged.
    """
    left, right = (100, 50) if width <= NARROW else (120, 190)
    inner = width - left - right - 20
    rows = [_strip(m, wide=width > NARROW) for m in channels]
    names = [m.row for m in channels]
    axis = alt.Axis(ticks=False, domain=False, grid=False, labelColor=INK, labelLimit=left, labelPadding=8)
    y = alt.Y("who:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    base = alt.Chart(rows_of(rows)).encode(y=y)
    limits = base.transform_filter("datum.kind != 'not judged'")
    shade = limits.mark_bar(color=BASELINES[1], opacity=0.18, size=16).encode(x=_share("least"), x2="most:Q")
    ticks = [base.mark_tick(color=MUTED, size=8).encode(x=_share(at)) for at in ("zero", "one")]
    bars = base.mark_rule(color=INK, strokeWidth=1.6, opacity=0.55).encode(x=_share("low"), x2="high:Q")
    kinds = [k for k in WORDS if any(row["kind"] == k for row in rows)]
    looks = [alt.Scale(domain=kinds, range=[WORDS[k][i] for k in kinds]) for i in (0, 1)]
    dots = base.mark_point(filled=True, size=52, opacity=1).encode(
        x=_share("x"),
        color=alt.Color("kind:N", scale=looks[0], legend=_legend()),
        shape=alt.Shape("kind:N", scale=looks[1], legend=_legend()),
    )
    text = base.mark_text(align="left", color=INK, fontSize=11).encode(x=alt.value(inner + 8), text="t:N")
    return transparent(alt.layer(shade, *ticks, bars, dots, text).properties(width=inner, height=24 * len(names)))


WORDS: dict[str, tuple[str, str]] = {
    "as declared": (BEST, "circle"), "outside or in doubt": (ALERT, "diamond"), "not judged": (MUTED, "square"),
}  # fmt: skip
"""Colour and shape of a number, by what the policy says of it."""


def _share(field: str) -> alt.X:
    return alt.X(f"{field}:Q", title=None, axis=None, scale=alt.Scale(domain=[0, 1], nice=False))


def _strip(m: Measured, wide: bool) -> dict[str, Any]:
    """One line's numbers as shares of its own scale, which holds 0, 1 and everything that is measured or allowed."""
    ends = [v for v in (m.value, m.low, m.high, m.least, m.most) if v is not None]
    low, high = min([-0.1, *ends]), max([1.0, *ends])
    pad = 0.05 * (high - low)

    def at(value: float | None, default: float) -> float:
        return default if value is None else (value - low + pad) / (high - low + 2 * pad)

    middle, kind = at(m.value, 0.0), m.word if m.word in WORDS else "outside or in doubt"
    number = f"{plus_zero(m.value):.2f}"
    if m.low is not None and m.high is not None:
        number += f" [{plus_zero(m.low):.2f}, {plus_zero(m.high):.2f}]"
    allowed = "" if kind == "not judged" else f", allowed {_allowed(m)}"
    return {
        "who": m.row, "kind": kind, "x": middle, "low": at(m.low, middle), "high": at(m.high, middle),
        "least": at(m.least, 0.0), "most": at(m.most, 1.0), "zero": at(0.0, 0.0), "one": at(1.0, 1.0),
        "t": number + allowed if wide else f"{plus_zero(m.value):.2f}", "tip": f"{m.row}: {number}{allowed}",
    }  # fmt: skip


def _allowed(m: Measured) -> str:
    if m.least is None or m.most is None:
        return "any" if m.least is m.most else f"≤ {m.most:g}" if m.least is None else f"≥ {m.least:g}"
    return f"{m.least:g} to {m.most:g}"


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
