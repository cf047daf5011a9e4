"""Several labs in one drawing: the best so far of each over time, and their best PGRs with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from aarlab.records import Estimate
from aarlab.reports.figures import (
    ALERT,
    BASELINES,
    BEST,
    FLOOR_SHOWN,
    GRID,
    INK,
    MUTED,
    NARROW,
    Chart,
    dodge,
    minutes_axis,
    rows_of,
    short,
    transparent,
)

COLOURS = (BEST, ALERT, *BASELINES)
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])


@dataclass(frozen=True)
class Line:
    """One lab. steps: (minutes, best PGR so far), at every verified score; minutes: of research so far."""

    label: str
    steps: tuple[tuple[float, float], ...]
    minutes: float


@dataclass(frozen=True)
class Mark:
    """What one lab reached. record: None while it is sealed or was not measured; baseline: its best shown one."""

    label: str
    best: Estimate | None
    record: Estimate | None
    baseline: float | None


def over_time(lines: Sequence[Line], baselines: Mapping[str, Estimate], width: int = 760) -> Any:
    """Step lines of the fleets' best, with the shown baselines as thin ones; None where nothing is scored."""
    if not any(line.steps for line in lines):
        return None
    side = 104 if width > NARROW else 84
    inner, height = width - side - 52, 280 if width > NARROW else 240
    end = max([0.1, *(line.minutes for line in lines), *(m for line in lines for m, _ in line.steps)])
    values = [v for line in lines for _, v in line.steps] + [e.mean for e in baselines.values()]
    low, high = max(FLOOR_SHOWN, min([-0.08, *values])), min(1.6, max([1.08, *(v + 0.04 for v in values)]))
    x = minutes_axis(end, inner)
    y = alt.Y("y:Q", title="best PGR so far, feedback task", scale=alt.Scale(domain=[low, high], nice=False))
    layers = [_scale(y), *_baselines(baselines, y, low)]
    for i, line in enumerate(lines):
        layers += _steps(line, i, end, x, y, low)
    layers.append(_names(lines, y, inner, height, (low, high)))
    return transparent(alt.layer(*layers).properties(width=inner, height=height))


def _scale(y: alt.Y) -> Chart:
    data = rows_of([{"y": 0, "t": "0 = teacher"}, {"y": 1, "t": "1 = ceiling (true labels)"}])
    base = alt.Chart(data).encode(y=y)
    text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=MUTED, fontSize=11)
    return base.mark_rule(color=MUTED, strokeWidth=1) + text.encode(x=alt.value(0), text="t:N")


def _baselines(baselines: Mapping[str, Estimate], y: alt.Y, low: float) -> list[Chart]:
    if not baselines:
        return []
    rows = [{"y": max(low, e.mean), "tip": f"baseline {n}: {e.mean:.2f}"} for n, e in baselines.items()]
    name = max(baselines, key=lambda n: baselines[n].mean)
    rules = alt.Chart(rows_of(rows)).mark_rule(color=BASELINES[3], strokeWidth=1, strokeDash=[2, 4])
    best = rows_of([{"y": baselines[name].mean, "t": f"best baseline: {short(name)}"}])
    text = alt.Chart(best).mark_text(align="left", baseline="top", dx=4, dy=3, color=MUTED, fontSize=11)
    return [rules.encode(y=y), text.encode(x=alt.value(0), y=y, text="t:N")]


def _steps(line: Line, number: int, end: float, x: alt.X, y: alt.Y, low: float) -> list[Chart]:
    """A line to the end of this lab's own research; what lies under the axis runs along its edge."""
    if not line.steps:
        return []
    last = max(min(end, line.minutes), line.steps[-1][0])
    rows = [
        {"m": m, "y": max(low, v), "tip": f"{line.label}: {v:.2f} after {m:.1f} minutes"}
        for m, v in [*line.steps, (last, line.steps[-1][1])]
    ]
    base = alt.Chart(rows_of(rows)).encode(x=x, y=y)
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    drawn = base.mark_line(interpolate="step-after", color=colour, strokeWidth=2.3, strokeDash=dash)
    return [drawn, base.mark_point(filled=True, size=30, opacity=0, color=colour)]  # points only to be pointed at


def _names(lines: Sequence[Line], y: alt.Y, inner: int, height: int, span: tuple[float, float]) -> Chart:
    known = [(i, line) for i, line in enumerate(lines) if line.steps]
    wanted = [min(max(line.steps[-1][1], span[0]), span[1]) for _, line in known]
    places = dodge(wanted, 15 * (span[1] - span[0]) / height, *span)
    charts = []
    for (i, line), place in zip(known, places, strict=True):
        data = rows_of([{"y": place, "t": f"{line.label} {line.steps[-1][1]:.2f}"}])
        text = alt.Chart(data).mark_text(align="left", color=COLOURS[i % 6], fontSize=11.5, fontWeight="bold", limit=96)
        charts.append(text.encode(x=alt.value(inner + 7), y=y, text="t:N"))
    return alt.layer(*charts)


def reached(marks: Sequence[Mark], width: int = 760) -> Any:
    """One lane per lab: the best on the feedback task, the winner on record, the best baseline; None without any."""
    estimates = [e for m in marks for e in (m.best, m.record) if e is not None]
    if not estimates:
        return None
    inner = width - (150 if width > NARROW else 96)
    low = max(2 * FLOOR_SHOWN, min([-0.05, *(e.low - 0.03 for e in estimates)]))
    high = min(1.8, max([1.05, *(e.high + 0.03 for e in estimates)]))
    kinds = {"feedback task": (BEST, "circle"), "record": (ALERT, "diamond"), "best baseline": (MUTED, "square")}
    rows = [row for m in marks for row in _rows(m, low, high)]
    names = [m.label for m in marks]
    room = width - inner - 16
    axis = alt.Axis(ticks=False, domain=False, labelColor=INK, labelLimit=room, labelPadding=8)
    y = alt.Y("who:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    place = alt.YOffset("kind:N", sort=list(kinds), scale=alt.Scale(domain=list(kinds)))
    scale = alt.Scale(domain=[low, high], nice=False)
    x = alt.X("x:Q", title="PGR", scale=scale, axis=alt.Axis(tickCount=6, labelFlush=False, gridColor=GRID))
    shown = [k for k in kinds if any(r["kind"] == k for r in rows)]
    legend = alt.Legend(orient="top", direction="horizontal", title=None, symbolOpacity=1)
    colour = alt.Color("kind:N", scale=alt.Scale(domain=shown, range=[kinds[k][0] for k in shown]), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=shown, range=[kinds[k][1] for k in shown]), legend=legend)
    base = alt.Chart(rows_of(rows)).encode(y=y, yOffset=place, color=colour)
    guides = alt.Chart(rows_of([{"x": 0}, {"x": 1}])).mark_rule(color=MUTED).encode(x=alt.X("x:Q", scale=scale))
    bars = base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    dots = base.mark_point(filled=True, size=62, opacity=1).encode(x=x, shape=shape)
    text = base.mark_text(dy=-9, fontSize=11).encode(x=x, text="t:N")
    return transparent(alt.layer(guides, bars, dots, text).properties(width=inner, height=72 * len(names)))


def _rows(mark: Mark, low: float, high: float) -> list[dict[str, Any]]:
    rows = []
    for kind, e in (("feedback task", mark.best), ("record", mark.record)):
        if e is not None:
            rows.append({
                "who": mark.label, "kind": kind, "x": min(max(e.mean, low), high), "low": max(low, e.low),
                "high": min(high, e.high), "t": f"{e.mean:.2f}",
                "tip": f"{mark.label}, {kind}: {e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]",
            })  # fmt: skip
    if mark.baseline is not None:
        at = min(max(mark.baseline, low), high)
        tip = f"{mark.label}, best baseline: {mark.baseline:.2f}"
        rows.append({"who": mark.label, "kind": "best baseline", "x": at, "low": at, "high": at,
                     "t": f"{mark.baseline:.2f}", "tip": tip})  # fmt: skip
    return rows
