"""Charts as plain functions from numbers to `altair.Chart`; report and pages share them.

Every PGR axis marks 0 (the teacher) and 1 (the ceiling). Colours come from `PALETTE` alone, are told apart by the
colour-blind, and are always doubled by a text label or a shape. `svg` and `png` render without network or browser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from aarlab.records import Estimate
from aarlab.reports.thinned import Scored as Scored
from aarlab.reports.thinned import new_bests, sentence, thinned

Chart = Any  # altair's plain, layered and concatenated charts share no public type that can be configured

INK, MUTED, GRID = "#1c2128", "#5b6672", "#dfe3e8"
BEST, ALERT = "#0b66b0", "#c4500c"
BASELINES = ("#a87000", "#007d5c", "#a34d86", "#6a7683")
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])

PALETTE = {  # light -> dark; the page swaps them by attribute, so one drawing serves both
    INK: "#e5e9ee", MUTED: "#9ba6b2", GRID: "#2d353e", BEST: "#63b5f4", ALERT: "#ff9053",
    "#a87000": "#eab54d", "#007d5c": "#43c79c", "#a34d86": "#e39ccb", "#6a7683": "#a9b4c0",
}  # fmt: skip

FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
NARROW = 480
FLOOR_SHOWN = -0.3
SCORES, INTERVALS = "scores", "intervals"
"""The rows of a chart over time, given once by name: altair copies and checks rows with every part that has them."""

SHORT_NAMES = {
    "weak-labels-hard": "hard labels", "weak-labels-soft": "soft labels",
    "confident-weak-labels": "confident", "zero-shot-elicitation": "zero-shot",
}  # fmt: skip
POST_SHAPES = {"result": "circle", "hypothesis": "diamond", "insight": "triangle-up", "error": "cross"}


@dataclass(frozen=True)
class Claim:
    """A claimed PGR beside a measured one. `task` is `feedback` or `record`."""

    submission: int
    claim: float
    pgr: Estimate
    task: str


@dataclass(frozen=True)
class Panel:
    """One task of `by_task`: contender -> PGR, in the order to draw."""

    title: str
    pgr: dict[str, Estimate]


@dataclass(frozen=True)
class Event:
    """Something a researcher did. `kind`: `scored`, `failed` or the kind of a post."""

    researcher: str
    minutes: float
    kind: str
    label: str
    submission: int | None = None
    parent: int | None = None
    ancestor: bool = False  # the winner, or something it builds on
    href: str = ""  # where a page goes when the mark is clicked


@dataclass(frozen=True)
class Measured:
    """One method's number on one channel, with the range that its track allows (None: no limit on that side)."""

    row: str
    value: float
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    word: str  # of the verdict on the channel


@dataclass(frozen=True)
class Channel:
    """One small range of `audits`."""

    name: str
    marks: tuple[Measured, ...]


def pgr_over_time(
    scores: Sequence[Scored], baselines: dict[str, Estimate], minutes: float, width: int = 760,
    references: Mapping[str, float] | None = None,
) -> Chart:  # fmt: skip
    """Every verified score with its interval, the fleet's best as a step line, the baselines as bands.

    references: PGRs from elsewhere on this very problem, drawn as labelled lines. Of very many scores a part is drawn
    (`thinned`), and the chart says so above; axes and the step line are those of all.
    """
    side = 128 if width > NARROW else 100
    inner, height = width - side - 52, 300 if width > NARROW else 260
    end = max([minutes, *(s.minutes for s in scores), 0.1])
    low, high = _range([s.pgr for s in scores] + list(baselines.values()))
    x = minutes_axis(end, inner)
    y = alt.Y("y:Q", title="PGR on the feedback task", scale=alt.Scale(domain=[low, high], nice=False))
    span = (low, high)
    layers = [_marks_of_scale(inner), *_bands(baselines, end, x, y, span), *_references(references or {}, inner)]
    labels = {n: (e.mean, BASELINES[i % 4]) for i, (n, e) in enumerate(baselines.items())}
    drawn = thinned(scores)
    if scores:
        layers += [_intervals(x), _dots(x, y), _best_line(scores, end, x, y, span)]
        labels = {"fleet best": (scores[-1].best, BEST), **labels}
    layers.append(_side_labels(labels, span, inner, height))
    more: dict[str, Any] = {"datasets": _score_rows(drawn, span)} if scores else {}
    if text := sentence(len(drawn), len(scores)):
        more["title"] = _remark(text, inner)
    return _finish(alt.layer(*layers, width=inner, height=height, **more))


def by_task(panels: Sequence[Panel], winner: str, width: int = 760) -> Chart:
    """PGR of the winner and of each baseline on every record and transfer task, with intervals."""
    columns = 1 if width <= NARROW else min(4, max(2, len(panels)))
    names = list(dict.fromkeys(n for p in panels for n in p.pgr))
    low, high = _range([e for p in panels for e in p.pgr.values()])
    low = max(2 * FLOOR_SHOWN, min([low, *(e.mean - 0.1 for p in panels for e in p.pgr.values())]))
    left, gap = (98 if columns == 1 else 90), 18
    inner = (width - left - 24 - (columns - 1) * gap) // columns
    rows = []
    for start in range(0, len(panels), columns):
        parts = [
            _panel(p, names, winner, (low, high), inner, first=i == 0)
            for i, p in enumerate(panels[start : start + columns])
        ]
        rows.append(alt.hconcat(*parts, spacing=gap))
    return _finish(alt.vconcat(*rows, spacing=22))


def claimed_against_measured(claims: Sequence[Claim], width: int = 760) -> Chart:
    """What researchers measured on the open task against what the lab measured. Below the diagonal: claimed more."""
    inner = min(width, 560) - 70
    low, high = _range([c.pgr for c in claims], extra=[c.claim for c in claims])
    span, axis = alt.Scale(domain=[low, high], nice=False), alt.Axis(tickCount=6, labelFlush=False)
    x = alt.X("c:Q", title="claimed PGR (open task)", scale=span, axis=axis)
    y = alt.Y("y:Q", title="measured PGR", scale=span, axis=axis)
    diagonal = alt.Chart(rows_of([{"c": low, "y": low}, {"c": high, "y": high}]))
    line = diagonal.mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y)
    rows = [
        {"c": _clip(c.claim, low, high), "y": _clip(c.pgr.mean, low, high), "task": c.task,
         "low": _clip(c.pgr.low, low, high), "high": _clip(c.pgr.high, low, high)}
        for c in claims
    ]  # fmt: skip
    base = alt.Chart(rows_of(rows))
    kinds, legend = ["feedback", "record"], _legend("measured on the task of")
    colour = alt.Color("task:N", scale=alt.Scale(domain=kinds, range=[BEST, ALERT]), legend=legend)
    shape = alt.Shape("task:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond"]), legend=legend)
    bars = base.mark_rule(opacity=0.35).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=42, opacity=0.85).encode(x=x, y=y, color=colour, shape=shape)
    return _finish(alt.layer(line, bars, dots).properties(width=inner, height=round(inner * 0.62)))


def activity(events: Sequence[Event], researchers: Sequence[str], minutes: float, width: int = 760) -> Chart:
    """One lane per researcher: submissions, posts, and lines from each method to the one it builds on."""
    inner = width - (96 if width > NARROW else 70)
    end = max([minutes, *(e.minutes for e in events), 0.1])
    x = minutes_axis(end, inner)
    y = alt.Y("who:N", title=None, sort=list(researchers), scale=alt.Scale(domain=list(researchers)))
    lanes = alt.Chart(rows_of([{"who": r} for r in researchers])).mark_rule(color=GRID).encode(y=y)
    kinds = ["scored", "failed", *POST_SHAPES]
    shapes = ["square", "triangle-down", *POST_SHAPES.values()]
    colours = [BEST, ALERT, *BASELINES]
    rows = [{"who": e.researcher, "m": e.minutes, "kind": e.kind} for e in events]
    present = [k for k in kinds if any(e.kind == k for e in events)]
    shape = alt.Scale(domain=present, range=[shapes[kinds.index(k)] for k in present])
    colour = alt.Scale(domain=present, range=[colours[kinds.index(k)] for k in present])
    legend = _legend(None, columns=3 if width <= NARROW else 6)
    marks = (
        alt.Chart(rows_of(rows))
        .mark_point(filled=True, size=46, opacity=0.9)
        .encode(
            x=x, y=y,
            shape=alt.Shape("kind:N", scale=shape, legend=legend),
            color=alt.Color("kind:N", scale=colour, legend=legend),
        )
    )  # fmt: skip
    layers = [lanes, *links(events, x, y), marks]
    return _finish(alt.layer(*layers).properties(width=inner, height=max(60, 26 * len(researchers))))


def audits(channels: Sequence[Channel], rows: Sequence[str], width: int = 760) -> Chart:
    """One small range per channel, one line per method: number, interval, and the allowed range shaded.

    A circle lies where the track allows it, a diamond outside, a square where the number is not judged.
    """
    labels = 96 if width <= NARROW else 170
    across = max(1, min(len(channels), (width - labels) // 108))
    inner = (width - labels) // across - 24
    parts = [channels[i : i + across] for i in range(0, len(channels), across)]
    lines = [
        alt.hconcat(*(_channel(c, rows, inner, first=i == 0) for i, c in enumerate(part)), spacing=20) for part in parts
    ]
    return _finish(alt.vconcat(*lines, spacing=18))


def _channel(channel: Channel, rows: Sequence[str], inner: int, first: bool) -> Chart:
    values = [v for m in channel.marks for v in (m.value, m.low, m.high, m.least, m.most) if v is not None]
    low, high = min([-0.1, *values]), max([1.0, *values])
    low, high = low - 0.07 * (high - low), high + 0.07 * (high - low)
    scale = alt.Scale(domain=[low, high], nice=False)
    data = [
        {"who": _row_label(m.row), "x": m.value, "low": m.value if m.low is None else m.low,
         "high": m.value if m.high is None else m.high, "least": low if m.least is None else m.least,
         "most": high if m.most is None else m.most, "t": f"{m.value:.2f}", "how": _how(m.word)}
        for m in channel.marks
    ]  # fmt: skip
    names = [_row_label(r) for r in rows]
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelColor=INK, labelLimit=160, labelPadding=8)
    y = alt.Y("who:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)
    x = alt.X("x:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, labelFlush=False, grid=False))
    base = alt.Chart(rows_of(data)).encode(y=y)
    limited = base.transform_filter("datum.how != 'free'")
    shade = limited.mark_bar(color=BASELINES[1], opacity=0.16, size=20).encode(
        x=alt.X("least:Q", scale=scale), x2="most:Q"
    )
    bars = base.mark_rule(color=INK, strokeWidth=1.6, opacity=0.55).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    kinds = {"in": (BEST, "circle"), "out": (ALERT, "diamond"), "free": (MUTED, "square")}
    dots = [
        base.transform_filter(f"datum.how == '{how}'").mark_point(filled=True, size=48, opacity=1, color=c, shape=s)
        .encode(x=x)
        for how, (c, s) in kinds.items()
    ]  # fmt: skip
    text = base.mark_text(dy=-10, fontSize=10.5, color=INK).encode(x=x, text="t:N")
    title = alt.TitleParams(channel.name, anchor="start", fontSize=11.5, color=INK, fontWeight="bold", limit=inner + 20)
    return alt.layer(shade, bars, *dots, text).properties(width=inner, height=32 * len(names), title=title)


def _row_label(row: str) -> str:
    return row if len(row) <= 26 else row[:25] + "…"


def _how(word: str) -> str:
    """How a number is drawn: inside its range, outside of it, or without one."""
    return {"as declared": "in", "not judged": "free"}.get(word, "out")


def svg(chart: Chart, prefix: str) -> str:
    """Inline SVG that scales with its container. `prefix` keeps ids of several drawings on one page apart."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    size = r'(<svg[^>]*?) width="([\d.]+)" height="[\d.]+"'
    return re.sub(size, r'\1 style="max-width: \2px"', text, count=1)


def png(chart: Chart) -> bytes:
    """The same drawing for slides and papers, on white, two pixels a point."""
    import vl_convert

    data: bytes = vl_convert.vegalite_to_png(chart.configure(**_config("white")).to_dict(validate=False), scale=2)
    return data


def standalone(chart: Chart) -> Chart:
    """A chart for a file of its own, on white."""
    return chart.configure(**_config("white"))


def transparent(chart: Chart) -> Chart:
    """A chart for the report's page, which gives the background."""
    return _finish(chart)


def short(name: str) -> str:
    """A contender's name where there is little room."""
    return SHORT_NAMES.get(name, name if len(name) <= 13 else name[:12] + "…")


def dodge(wanted: Sequence[float], room: float, low: float, high: float) -> list[float]:
    """Positions nearest to `wanted` that keep `room` between neighbours, inside [low, high] where that is possible."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    placed = list(wanted)
    last = low - room
    for i in order:
        placed[i] = last = max(placed[i], last + room)
    last = high + room
    for i in reversed(order):
        placed[i] = last = min(placed[i], last - room)
    return placed


def minutes_axis(end: float, inner: int) -> alt.X:
    axis = alt.Axis(tickCount=max(3, inner // 110), grid=False, labelFlush=False)
    return alt.X("m:Q", title="minutes since the start", scale=alt.Scale(domain=[0, end], nice=False), axis=axis)


def _range(estimates: Sequence[Estimate], extra: Sequence[float] = ()) -> tuple[float, float]:
    """A PGR axis that always holds 0 and 1; far below the teacher is cut off at `FLOOR_SHOWN`."""
    lows = [e.low for e in estimates] + list(extra)
    highs = [e.high for e in estimates] + list(extra)
    return max(FLOOR_SHOWN, min([-0.08, *(v - 0.02 for v in lows)])), min(1.6, max([1.08, *(v + 0.03 for v in highs)]))


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def rows_of(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _marks_of_scale(inner: int) -> Chart:
    """The two lines every PGR means something by."""
    data = rows_of([{"y": 0, "t": "0 = teacher"}, {"y": 1, "t": "1 = ceiling (true labels)"}])
    base = alt.Chart(data).encode(y="y:Q")
    rule = base.mark_rule(color=MUTED, strokeWidth=1)
    text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-2, color=MUTED, fontSize=11)
    return rule + text.encode(x=alt.value(0), text="t:N")


def _references(references: Mapping[str, float], inner: int) -> list[Chart]:
    """Lines at what others reached, named at their right end inside the chart."""
    if not references:
        return []
    base = alt.Chart(rows_of([{"y": v, "t": f"{name} {v:.2f}"} for name, v in references.items()])).encode(y="y:Q")
    text = base.mark_text(align="right", baseline="bottom", dx=-4, dy=-2, color=INK, fontSize=11, fontStyle="italic")
    return [base.mark_rule(color=INK, strokeWidth=1, strokeDash=[1, 3]), text.encode(x=alt.value(inner), text="t:N")]


def _bands(baselines: dict[str, Estimate], end: float, x: alt.X, y: alt.Y, span: tuple[float, float]) -> list[Chart]:
    charts = []
    for i, e in enumerate(baselines.values()):
        colour = BASELINES[i % 4]
        low, mean, high = (_clip(v, *span) for v in (e.low, e.mean, e.high))
        data = rows_of([{"m": 0, "m2": end, "y": mean, "low": low, "high": high}])
        base = alt.Chart(data).encode(x=x, x2="m2:Q")
        charts.append(base.mark_rect(color=colour, opacity=0.09).encode(y=alt.Y("low:Q"), y2="high:Q"))
        charts.append(base.mark_rule(color=colour, strokeDash=DASHES[i % 4], strokeWidth=1.3).encode(y=y))
    return charts


def _remark(text: str, inner: int) -> alt.TitleParams:
    """A sentence above a chart about what it draws."""
    return alt.TitleParams(text, anchor="start", fontSize=11, color=MUTED, fontWeight="normal", limit=inner)


def _score_rows(scores: Sequence[Scored], span: tuple[float, float]) -> dict[str, list[dict[str, Any]]]:
    """Points and their intervals: two lists, since a page lets the pointer stop at every mark with a tip."""
    return {
        SCORES: [
            {"m": s.minutes, "y": _clip(s.pgr.mean, *span), "under": s.pgr.mean < span[0], "tip": _tip(s)}
            for s in scores
        ],
        INTERVALS: [{"m": s.minutes, "low": _clip(s.pgr.low, *span), "high": _clip(s.pgr.high, *span)} for s in scores],
    }


def _intervals(x: alt.X) -> Chart:
    base = alt.Chart(alt.NamedData(INTERVALS)).mark_rule(color=INK, opacity=0.28)
    return base.encode(x=x, y=alt.Y("low:Q"), y2="high:Q")


def _dots(x: alt.X, y: alt.Y) -> Chart:
    """Points; what lies under the axis sits on its edge as a triangle that points down."""
    base = alt.Chart(alt.NamedData(SCORES)).encode(x=x, y=y)
    inside = base.transform_filter("!datum.under").mark_point(filled=True, size=26, color=INK, opacity=0.75)
    under = base.transform_filter("datum.under").mark_point(
        filled=True, size=40, color=ALERT, shape="triangle-down", yOffset=-4
    )
    return inside + under


def _tip(s: Scored) -> str:
    """What a page shows when a point is pointed at."""
    what = f"{s.name} (#{s.submission})" if s.name else f"#{s.submission}"
    return f"{what} by {s.researcher}: {s.pgr.mean:.2f} [{s.pgr.low:.2f}, {s.pgr.high:.2f}]"


def _best_line(scores: Sequence[Scored], end: float, x: alt.X, y: alt.Y, span: tuple[float, float]) -> Chart:
    steps = [(s.minutes, s.best) for s in (scores[i] for i in new_bests(scores))]
    rows = [{"m": m, "y": _clip(best, *span)} for m, best in [*steps, (end, scores[-1].best)]]
    line = alt.Chart(rows_of(rows)).mark_line(color=BEST, strokeWidth=2.4, interpolate="step-after")
    return line.encode(x=x, y=y)


def _side_labels(labels: dict[str, tuple[float, str]], span: tuple[float, float], inner: int, height: int) -> Chart:
    """Names and values at the right edge, moved apart where they would touch."""
    low, high = span
    per_pixel = (high - low) / height
    places = dodge([v for v, _ in labels.values()], 15 * per_pixel, low, high)
    charts = []
    for (name, (value, colour)), place in zip(labels.items(), places, strict=True):
        data = rows_of([{"y": place, "t": f"{value:.2f} {short(name)}"}])
        text = alt.Chart(data).mark_text(
            align="left", color=colour, fontSize=11.5, fontWeight="bold" if colour == BEST else "normal"
        )
        charts.append(text.encode(x=alt.value(inner + 7), y="y:Q", text="t:N"))
    return alt.layer(*charts)


def _panel(
    panel: Panel, names: Sequence[str], winner: str, span: tuple[float, float], inner: int, first: bool
) -> Chart:
    rows = [
        {"who": short(n), "y": _clip(e.mean, *span), "low": _clip(e.low, *span), "high": _clip(e.high, *span),
         "won": n == winner, "t": f"{e.mean:.2f}"}
        for n, e in panel.pgr.items()
    ]  # fmt: skip
    axis = alt.Axis(labels=first, ticks=False, domain=False, labelColor=INK, labelLimit=120, labelPadding=8)
    y = alt.Y("who:N", title=None, sort=[short(n) for n in names], axis=axis)
    scale = alt.Scale(domain=list(span), nice=False)
    x = alt.X("y:Q", title="PGR", scale=scale, axis=alt.Axis(tickCount=4, labelFlush=False))
    guides = alt.Chart(rows_of([{"y": 0}, {"y": 1}])).mark_rule(color=MUTED).encode(x=alt.X("y:Q"))
    colour = alt.condition("datum.won", alt.value(BEST), alt.value(MUTED))
    base = alt.Chart(rows_of(rows)).encode(y=y, color=colour)
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    dots = base.mark_point(filled=True, size=56, opacity=1).encode(x=x)
    text = base.mark_text(dy=-9, fontSize=11).encode(x=x, text="t:N")
    title = alt.TitleParams(panel.title, anchor="start", fontSize=12, color=INK, fontWeight="bold", limit=inner)
    return alt.layer(guides, bars, dots, text).properties(width=inner, height=30 * len(names), title=title)


def links(events: Sequence[Event], x: alt.X, y: alt.Y) -> list[Chart]:
    """Lines from a method to its parent; those that lead to the winner are drawn strong."""
    where = {e.submission: e for e in events if e.submission is not None and e.kind in ("scored", "failed")}
    charts = []
    for strong in (False, True):
        rows = [
            {"m": p.minutes, "m2": e.minutes, "who": p.researcher, "who2": e.researcher}
            for e in where.values()
            if e.parent is not None and (p := where.get(e.parent)) is not None and (e.ancestor and p.ancestor) == strong
        ]
        if rows:
            mark = alt.Chart(rows_of(rows)).mark_rule(
                color=BEST if strong else MUTED, strokeWidth=2.2 if strong else 0.8, opacity=0.9 if strong else 0.45
            )
            charts.append(mark.encode(x=x, x2="m2:Q", y=y, y2="who2:N"))
    return charts


def _legend(title: str | None, columns: int = 6) -> alt.Legend:
    return alt.Legend(orient="top", direction="horizontal", title=title, columns=columns, symbolOpacity=1, offset=6)


def _config(background: str) -> dict[str, Any]:
    return {
        "background": background,
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11.5,
            "titleFontWeight": "normal", "gridColor": GRID, "domainColor": GRID, "tickColor": GRID,
        },
        "legend": {
            "labelColor": INK, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
    }  # fmt: skip


def _finish(chart: Chart) -> Any:
    return chart.configure(**_config("transparent"))
